"""What the recordings of several processes say of each other: replicas that part, who met what."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unvanish.errors import BadInput
from unvanish.recording.parts import common
from unvanish.recording.queries import Steps
from unvanish.recording.reader import Recording
from unvanish.recording.records import Event
from unvanish.recording.statistics import HISTOGRAM_BINS

AGREES = 1e-4
"""Relative difference of two norms of the same gradient that rounding explains, and no more."""


def values_of(recording: Recording, statistic: str, name: str) -> tuple[Steps, NDArray[Any]]:
    """What a process wrote of a tensor: nothing, where it was killed before it wrote any of it."""
    try:
        return recording.values(statistic, name)
    except BadInput:
        if statistic in recording.statistics:
            raise
    shape = (0, HISTOGRAM_BINS) if statistic.endswith("histogram") else (0,)
    return np.zeros(0, np.int64), np.zeros(shape, np.float32)


def agree_at_first(one: Recording, other: Recording, name: str) -> bool:
    """Whether two processes began with the same tensor, as far as its size tells."""
    here, there = (values_of(each, "weight_rms", name) for each in (one, other))
    if not len(here[1]) or not len(there[1]):
        return True
    return bool(np.isclose(here[1][0], there[1][0], rtol=AGREES))


def parted(replicas: list[tuple[int, Recording]], name: str) -> list[Event]:
    """The first step from which a replica's gradient is another than that of most."""
    read = [values_of(recording, "gradient_l2", name) for _, recording in replicas]
    steps = common([at for at, _ in read])
    if not len(steps):
        return []
    table = np.array([values[np.isin(at, steps)] for at, values in read], np.float64)
    middle = np.median(table, axis=0)
    apart = np.abs(table - middle) > AGREES * np.maximum(np.abs(middle), 1e-30)
    events: list[Event] = []
    for (number, _), row, values in zip(replicas, apart, table, strict=True):
        # For good: a single step may differ where a process was left out of it.
        if not row[-1] or (len(replicas) == 2 and number == replicas[0][0]):
            continue
        at = int(np.flatnonzero(~row)[-1] + 1) if not row.all() else 0
        events.append(
            Event(
                kind="alarm",
                name="replica-diverged",
                step=int(steps[at]),
                seconds=0.0,
                severity="broken",
                where=(name,),
                evidence={"rank": float(number), "ratio": float(values[at] / (middle[at] or 1.0))},
                detail=f"the gradient of rank {number} is no longer that of the other replicas",
            )
        )
    return events


def stopped(numbered: list[tuple[int, Recording]]) -> Iterable[Event]:
    """Processes that wrote nothing any more when the others still did."""
    last = [int(one.steps[-1]) if len(one.steps) else -1 for _, one in numbered]
    for (number, recording), step in zip(numbered, last, strict=True):
        if step < max(last) - 1 and not recording.finished:
            yield Event(
                kind="note",
                name="rank-stopped",
                step=step,
                seconds=float(recording.seconds[-1]) if len(recording.seconds) else 0.0,
                evidence={"rank": float(number)},
                detail=f"rank {number} wrote nothing after step {step}",
            )


def over_at_last(met: list[tuple[Event, list[int]]]) -> Iterable[tuple[Event, list[int]]]:
    """The events without those that say "over" while the same alarm stands in another process."""
    standing: dict[str, set[int]] = {}
    for event, ranks in met:
        held = standing.setdefault(event.name, set())
        if event.kind == "alarm":
            held.update(ranks)
        elif event.kind == "cleared":
            held.difference_update(ranks)
            if held:
                continue
        yield event, ranks


def of_ranks(event: Event, ranks: list[int], world: int) -> Event:
    """The event, with the processes named where not all have met it."""
    if len(ranks) == world:
        return event
    listed = ", ".join(str(rank) for rank in ranks)
    word = "rank" if len(ranks) == 1 else "ranks"
    return replace(
        event,
        evidence={**event.evidence, "rank": float(ranks[0])},
        detail=f"on {word} {listed}: {event.detail}".rstrip(": "),
    )
