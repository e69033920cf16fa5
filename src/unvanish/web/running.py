"""Running a page on loopback until somebody stops it."""

import contextlib
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable
from types import FrameType

import uvicorn

from unvanish.errors import BadInput
from unvanish.web.application import Page


def serve(
    page: Page, *, ready: Callable[[str], None], port: int = 0, open_browser: bool = True
) -> None:
    """Serve until Ctrl-C or a signal to end.

    Args:
        page: what to serve.
        ready: called once with the address when it answers.
        port: 0: a free one.
        open_browser: show it to whoever sits here.

    Raises:
        BadInput: the port is taken, or may not be used.
    """
    with contextlib.closing(_bound(port)) as listening:
        address = page.address(listening.getsockname()[1])

        def started() -> None:
            ready(address)
            if open_browser:
                # Some systems have only one that runs in the terminal and comes back when it is left.
                threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

        config = uvicorn.Config(
            page.application,
            log_config=None,
            log_level="critical",  # faults of ours are said by the gate
            access_log=False,
            ws="none",
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        with contextlib.suppress(KeyboardInterrupt):
            _Server(config, page, started).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it is there, and tells open streams when it is about to go."""

    def __init__(self, config: uvicorn.Config, page: Page, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._page = page
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._page.state.stopping = True
        super().handle_exit(sig, frame)
        # What uvicorn remembers it raises again at its end; a request to stop is no failure here.
        if sig in (signal.SIGINT, signal.SIGTERM):
            self._captured_signals.clear()


def _bound(port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # On Windows this flag lets another program take the same port; elsewhere it does not.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.set_inheritable(True)
    except (OSError, OverflowError) as error:
        listening.close()
        raise BadInput(
            f"--port: {port} cannot be used ({error}); name another one, or none for a free one."
        ) from error
    return listening
