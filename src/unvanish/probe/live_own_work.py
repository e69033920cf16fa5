"""Our own work in somebody's running training: timed, and none of its failures passed on."""

import time
from types import TracebackType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from unvanish.probe.live import LiveLook


class OwnWork:
    """Our own work: timed, unseen by function modes, and what it raises ends the look only."""

    __slots__ = ("_look", "_quiet", "_started")

    def __init__(self, look: "LiveLook") -> None:
        self._look, self._quiet = look, torch._C.DisableTorchFunction()
        self._started: float | None = None

    def __enter__(self) -> None:
        if not self._look.working:  # work inside of work is timed already
            self._look.working = True
            self._started = time.perf_counter()
        self._quiet.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._quiet.__exit__(kind, error, traceback)
        if self._started is not None:
            self._look.working = False
            self._look.seconds += time.perf_counter() - self._started
        if not isinstance(error, Exception):
            return False
        said = (str(error).strip().splitlines() or [""])[0]
        self._look.stop(f"the look itself failed: {said} ({kind.__name__ if kind else ''})")
        return True
