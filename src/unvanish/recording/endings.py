"""Which processes of a training ended otherwise than by its end: raised, or without a word."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from unvanish.recording.reader import Recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one process ended early.

    ``rank`` is ``None`` where it trained alone. ``error`` is what it raised, at ``step``; empty: its
    recording was never closed, and ``step`` is the last one in it (``None``: there is none).
    """

    rank: int | None
    step: int | None
    error: str


def endings(ranks: Sequence["Recording"]) -> tuple[Ending, ...]:
    """Those that ended early, in the order of their steps.

    A recording that is not closed may still be written: it counts where its process is known to be
    gone, or where nothing is known of it and another of the same training has ended.
    """
    raised = [_raised(recording) for recording in ranks]
    open_ = [not recording.finished for recording in ranks]
    living = [_lives(recording) if open_[i] else False for i, recording in enumerate(ranks)]
    over = any(lives is False for lives in living)
    found: list[tuple[float, float, Ending]] = []
    for place, recording in enumerate(ranks):
        rank = _rank(recording, place) if _several(recording, ranks) else None
        error = raised[place]
        last = recording.last_step
        if error is not None:
            at = _clock(recording, error[1])
            found.append((error[0], at, Ending(rank=rank, step=error[0], error=error[2])))
        elif open_[place] and (living[place] is False or (living[place] is None and over)):
            # It was in the step behind the last that it wrote.
            step = 0 if last is None else last + 1
            seconds = recording.seconds
            at = _clock(recording, float(seconds[-1]) if len(seconds) else 0.0)
            found.append((step, at, Ending(rank=rank, step=last, error="")))
    return tuple(ending for _, _, ending in sorted(found, key=lambda one: one[:2]))


def machine() -> str:
    """What tells this machine's processes from those of others; in a container, from its host's."""
    try:
        return f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return platform.node()


def _lives(recording: "Recording") -> bool | None:
    """Whether the process that wrote it is there; ``None`` where that cannot be told from here."""
    process = recording.process
    if process is None or recording.machine != machine() or os.name == "nt":
        return None  # on Windows, asking after a process by a signal would end it
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True


def _raised(recording: "Recording") -> tuple[int, float, str] | None:
    notes = [event for event in recording.events if event.name == "training-raised"]
    return (notes[-1].step, notes[-1].seconds, notes[-1].detail) if notes else None


def _several(recording: "Recording", ranks: Sequence["Recording"]) -> bool:
    return len(ranks) > 1 or int(recording.conditions.get("world", 1)) > 1


def _rank(recording: "Recording", place: int) -> int:
    return int(recording.conditions.get("rank", place))


def _clock(recording: "Recording", seconds: float) -> float:
    """When that was by the computers' clocks; each process counts its seconds from its own start."""
    try:
        return datetime.fromisoformat(recording.started).timestamp() + seconds
    except ValueError:
        return seconds
