"""Worker processes for long jobs: few, each with one job, ended when nobody wants the job any more."""

import asyncio
import contextlib
import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final

from unvanish.languages import gettext as _
from unvanish.recording.layout import to_json

SECONDS: Final = 330.0
"""The most that one job may take, a hung one included."""
WAITING: Final = 6
"""Jobs that may wait for their turn."""
LOOK: Final = 0.04
WAIT: Final = 0.5
SILENCE: Final = 1.0
"""Seconds: between looks at a worker, at the line, and between signs of life."""


class Workman:
    """One process and what it says."""

    def __init__(self) -> None:
        home = str(Path(__file__).resolve().parents[2])
        paths = [home, *filter(None, [os.environ.get("PYTHONPATH", "")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "unvanish.lab.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        self._said: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def give(self, job: Mapping[str, Any]) -> None:
        """Hand over a job."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died: what it says next is that it ended
            self._process.stdin.write(to_json(job) + "\n")
            self._process.stdin.flush()

    def heard(self) -> list[dict[str, Any]]:
        """What it said since the last call."""
        found: list[dict[str, Any]] = []
        with contextlib.suppress(queue.Empty):
            while True:
                found.append(self._said.get_nowait())
        return found

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError, OSError):  # closed while it was read
            for line in self._process.stdout:
                self._said.put(json.loads(line))
        self._said.put({"died": True})


class Crew:
    """So many workers at most; jobs wait in line, and the line is short.

    Args:
        size: how many jobs may run at once.
    """

    def __init__(self, size: int = 2) -> None:
        self._size = size
        self._idle: list[Workman] = []
        self._busy: set[Workman] = set()
        self._line: list[int] = []
        self._tickets = itertools.count()
        self._lock = threading.Lock()
        self._closed = False

    def prepare(self) -> None:
        """Start a worker, so that the first job need not wait for it."""
        with self._lock:
            if not self._closed and not self._idle and len(self._busy) < self._size:
                self._idle.append(Workman())

    @property
    def running(self) -> int:
        """Jobs that run now."""
        return len(self._busy)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            self._closed = True
            for workman in [*self._idle, *self._busy]:
                workman.end()
            self._idle.clear()

    async def do(self, job: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any] | None]:
        """The messages of a job; before them ``{"waiting": place}`` while others are first.

        Who closes this iterator ends the job. ``{"failed": sentence}`` where it came to nothing;
        ``None`` after a second of silence, so that who listens notices when nobody does any more.
        """
        ticket = next(self._tickets)
        if len(self._line) >= WAITING:
            yield {"failed": _("Too many are waiting for a training: try again in a minute.")}
            return
        self._line.append(ticket)
        workman: Workman | None = None
        try:
            while (workman := self._taken(ticket)) is None:
                yield {"waiting": self._line.index(ticket) + 1}
                await asyncio.sleep(WAIT)
            workman.give(job)
            async for message in self._told(workman):
                yield message
        finally:
            if ticket in self._line:
                self._line.remove(ticket)
            if workman is not None:
                self._leave(workman)

    def _taken(self, ticket: int) -> Workman | None:
        with self._lock:
            if self._line[0] != ticket or len(self._busy) >= self._size:
                return None
            self._line.remove(ticket)
            waiting = [one for one in self._idle if one.alive]
            workman = waiting[0] if waiting else Workman()
            self._idle = [one for one in waiting if one is not workman]
            self._busy.add(workman)
            return workman

    async def _told(self, workman: Workman) -> AsyncGenerator[dict[str, Any] | None]:
        spoke = time.monotonic()
        until = spoke + SECONDS
        while True:
            for message in workman.heard():
                spoke = time.monotonic()
                if "died" in message:
                    yield {"failed": _("The worker ended without an answer: try a smaller net.")}
                    return
                if "end" in message:
                    self._free(workman)
                    return
                yield message
            if time.monotonic() > until:
                yield {"failed": _("This took too long and was ended: try a smaller net.")}
                return
            if time.monotonic() - spoke > SILENCE:
                spoke = time.monotonic()
                yield None
            await asyncio.sleep(LOOK)

    def _free(self, workman: Workman) -> None:
        with self._lock:
            self._busy.discard(workman)
            self._idle.append(workman)

    def _leave(self, workman: Workman) -> None:
        """What did not come to its end is ended, and a fresh worker gets ready."""
        with self._lock:
            if workman not in self._busy:
                return
            self._busy.discard(workman)
            workman.end()
        self.prepare()
