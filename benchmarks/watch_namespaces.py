"""A network of several machines on one: namespaces joined by a bridge, one process in each.

Every namespace has an address and a TCP stack of its own, and what its process sends passes a pair
of virtual links. The bridge stands in a namespace of its own, too, so that nothing of the machine's
own network is touched. Needs Linux, iproute2 and root; whatever was made is removed at the end, also
after an error or Ctrl-C, and what a killed run has left by the next one.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

PREFIX = "unvanish-"
LINK, PORT = "eth0", 29500
"""The link inside of each namespace; the port at which the first process waits for the others."""
PATIENCE = 10.0
"""Seconds that a process has to end after it was asked to, before it is killed."""


class Refused(RuntimeError):
    """Namespaces cannot be made here; says why in one sentence."""


def ip(*words: str) -> str:
    """Run ``ip`` with these words; what it printed.

    Raises:
        Refused: it did not do it.
    """
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Refused(
            f"network namespaces cannot be made here (ip {' '.join(words)}: {said}): "
            "run this as root, where the kernel allows it."
        )
    return done.stdout


def why_not() -> str | None:
    """Why namespaces cannot be made here; ``None`` where they can."""
    try:
        with Namespaces(1):
            return None
    except Refused as refused:
        return str(refused)


class Namespaces:
    """``count`` namespaces, each with an address: 10.77.0.1, 10.77.0.2, ... Use it as a context."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._prefix = f"{PREFIX}{os.getpid()}-"
        self._running: list[subprocess.Popen[Any]] = []
        self._terminated: Any = None

    def __enter__(self) -> "Namespaces":
        if sys.platform != "linux" or shutil.which("ip") is None:
            raise Refused("network namespaces need Linux and the command ip (iproute2).")
        if os.geteuid() != 0:
            raise Refused("network namespaces cannot be made here: run this as root.")
        with contextlib.suppress(ValueError):  # not the main thread: then nobody can be told
            self._terminated = signal.signal(signal.SIGTERM, _end)
        try:
            remove(left_behind())
            self._make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def name(self, number: int | str) -> str:
        """Of one namespace; ``hub`` is where the bridge stands."""
        return f"{self._prefix}{number}"

    def address(self, number: int) -> str:
        """Of the link in one namespace."""
        return f"10.77.0.{number + 1}"

    def _make(self) -> None:
        hub = self.name("hub")
        ip("netns", "add", hub)
        ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        ip("-n", hub, "link", "set", "bridge", "up")
        for number in range(self.count):
            own, port = self.name(number), f"port{number}"
            ip("netns", "add", own)
            pair = ("type", "veth", "peer", "name", port, "netns", hub)
            ip("link", "add", LINK, "netns", own, *pair)
            ip("-n", hub, "link", "set", port, "master", "bridge", "up")
            ip("-n", own, "addr", "add", f"{self.address(number)}/24", "dev", LINK)
            for link in ("lo", LINK):
                ip("-n", own, "link", "set", link, "up")

    def start(self, command: Sequence[str], **options: Any) -> list[subprocess.Popen[Any]]:
        """Run a command in every namespace, as one process of a training of all of them.

        ``options`` are those of :class:`subprocess.Popen`; each may be a list, one for each process.
        """
        started: list[subprocess.Popen[Any]] = []
        for number in range(self.count):
            own = {key: v[number] if isinstance(v, list) else v for key, v in options.items()}
            own["env"] = {**(own.get("env") or os.environ), **self._environment(number)}
            inside = ["ip", "netns", "exec", self.name(number), *command]
            started.append(subprocess.Popen(inside, start_new_session=True, **own))
            self._running.append(started[-1])
        return started

    def _environment(self, number: int) -> dict[str, str]:
        return {
            "RANK": str(number),
            "WORLD_SIZE": str(self.count),
            "LOCAL_RANK": "0",
            "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": self.address(0),
            "MASTER_PORT": str(PORT),
            "GLOO_SOCKET_IFNAME": LINK,
            "OMP_NUM_THREADS": "1",
        }

    def run(self, command: Sequence[str]) -> None:
        """Run a command in every namespace until it is over in all.

        Raises:
            subprocess.CalledProcessError: one of them failed; the others were ended.
        """
        started = self.start(command)
        while any(one.poll() is None for one in started):
            if any(one.returncode for one in started):
                break
            time.sleep(0.05)
        for one in started:
            if one.returncode:
                raise subprocess.CalledProcessError(one.returncode, one.args)

    def close(self) -> None:
        """End what still runs, and remove every namespace with the links in it."""
        for one in self._running:
            if one.poll() is None:
                one.terminate()
        until = time.monotonic() + PATIENCE
        for one in self._running:
            try:
                one.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        self._running.clear()
        remove([name for name in existing() if name.startswith(self._prefix)])
        if self._terminated is not None:
            signal.signal(signal.SIGTERM, self._terminated)
            self._terminated = None


def existing() -> list[str]:
    """The names of all namespaces of this machine."""
    return [line.split()[0] for line in ip("netns", "list").splitlines() if line.strip()]


def left_behind() -> list[str]:
    """Those that a run made which is no more."""
    owners = {name: name.removeprefix(PREFIX).split("-")[0] for name in existing()}
    return [
        name
        for name, owner in owners.items()
        if name.startswith(PREFIX) and owner.isdigit() and not Path("/proc", owner).exists()
    ]


def remove(names: Sequence[str]) -> None:
    """Remove namespaces; one that cannot be removed does not keep the others."""
    for name in names:
        with contextlib.suppress(Refused):
            ip("netns", "del", name)


def bytes_sent() -> int:
    """What has left this namespace by its link so far."""
    table = Path("/proc/net/dev")
    if not table.exists():
        return 0
    rows = [line.split(":") for line in table.read_text().splitlines() if ":" in line]
    return next((int(numbers.split()[8]) for name, numbers in rows if name.strip() == LINK), 0)


def _end(number: int, _frame: Any) -> None:
    raise SystemExit(128 + number)
