"""A few snapshots, in memory or in files, never more than so many and so many bytes."""

import contextlib
import os
import tempfile
from collections import deque
from pathlib import Path

import torch

from unvanish.guard.snapshot import Snapshot


class Shelf:
    """The last few snapshots. In files they are read back with ``weights_only=True``.

    Only files that this object wrote are ever read, and :meth:`clear` removes them.

    Args:
        keep: how many at most; the oldest goes first.
        folder: where to write them; None keeps them in memory.
    """

    def __init__(self, keep: int, folder: Path | None) -> None:
        self._keep = keep
        self._home = folder
        self._held: deque[Snapshot | Path] = deque()
        self._made = 0

    def __len__(self) -> int:
        return len(self._held)

    def put(self, snapshot: Snapshot, room: int) -> None:
        """Add one, and let the oldest go beyond ``keep`` or ``room`` (how many fit in the bytes).

        Raises:
            OSError: the file cannot be written; the older ones are still there.
        """
        self._held.append(snapshot if self._home is None else self._written(snapshot, self._home))
        while len(self._held) > max(1, min(self._keep, room)):
            self._remove(self._held.popleft())

    def newest(self) -> Snapshot | None:
        """The newest snapshot that can be read."""
        while self._held:
            held = self._held[-1]
            if isinstance(held, Snapshot):
                return held
            with contextlib.suppress(OSError, RuntimeError):
                return Snapshot(**torch.load(held, weights_only=True))
            self._remove(self._held.pop())
        return None

    def drop_newest(self) -> None:
        """Let the newest go, unless it is the only one."""
        if len(self._held) > 1:
            self._remove(self._held.pop())

    def clear(self) -> None:
        """Let all go; files are removed."""
        while self._held:
            self._remove(self._held.pop())

    def _written(self, snapshot: Snapshot, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        # Beside its place first: a file with the final name is always a whole one.
        handle, draft = tempfile.mkstemp(dir=folder, prefix="unvanish-state-", suffix=".part")
        os.close(handle)
        try:
            torch.save(snapshot.plain(), draft)
            return Path(draft).replace(Path(draft).with_suffix(".pt"))
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def _remove(self, held: Snapshot | Path) -> None:
        if isinstance(held, Path):
            with contextlib.suppress(OSError):
                held.unlink()
