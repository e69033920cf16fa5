"""From a recording to its summary, in one reading."""

from collections.abc import Mapping, Sequence
from math import nan, prod
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.blocks import Blocks
from unvanish.recording.endings import endings
from unvanish.recording.records import Event
from unvanish.recording.summary import SEVERITIES, Actions, Alarm, ProfileRow, Summary

if TYPE_CHECKING:
    from unvanish.recording.reader import Recording

ROWS: Final = 30
STEPS: Final = 10
"""The first and the last so many readings that a profile is the median of."""
Pair = tuple[float | None, float | None]


def summarise(recording: "Recording") -> Summary:
    """Read a recording through once.

    Raises:
        BadInput: it is damaged.
    """
    with recording.snapshot():
        events, steps = recording.events, recording.steps
        alarms = alarms_of(events)
        look, serious = _look(recording)
        seconds = recording.seconds
        share, watch, step = _cost(recording)
        return Summary(
            path=str(recording.path),
            started=recording.started,
            finished=recording.finished,
            bytes=recording.path.stat().st_size,
            steps=len(steps),
            first_step=int(steps[0]) if len(steps) else None,
            last_step=int(steps[-1]) if len(steps) else None,
            seconds=float(seconds[-1] - seconds[0]) if len(seconds) else None,
            tensors=len(recording.tensors),
            conditions=recording.conditions,
            alarms=alarms,
            look=look,
            look_findings=tuple(one for one in serious if one.name not in _said(alarms, look)),
            look_serious=tuple(one.name for one in serious),
            actions=actions_of(events),
            notes=tuple(event for event in events if event.kind == "note"),
            endings=endings(recording.ranks),
            profile=_profile(recording),
            loss=_loss(recording),
            watch_share=share,
            watch_milliseconds=watch,
            step_milliseconds=step,
            thinned=recording.thinned,
            lost=recording.lost,
        )


def alarms_of(events: Sequence[Event]) -> tuple[Alarm, ...]:
    """The alarms among the events, each with the step at which it was over."""
    raised: list[tuple[Event, int | None]] = []
    for event in events:
        if event.kind == "alarm":
            raised.append((event, None))
        elif event.kind == "cleared":
            raised = [
                (alarm, event.step if over is None and alarm.name == event.name else over)
                for alarm, over in raised
            ]
    return tuple(
        Alarm(
            name=alarm.name,
            severity=alarm.severity if alarm.severity in SEVERITIES else "",
            step=alarm.step,
            over=over,
            where=alarm.where,
            evidence=alarm.evidence,
            detail=alarm.detail,
        )
        for alarm, over in raised
    )


def _said(alarms: tuple[Alarm, ...], look: int | None) -> set[str]:
    """Names of what alarms say of the last look's time: they stand, or they ended after it.

    A note that says what it follows from says nothing any more when that is over, and it is not.
    """
    return {
        alarm.name
        for alarm in alarms
        if (alarm.over is None and not _left(alarm, alarms))
        or (alarm.over is not None and look is not None and alarm.over >= look)
    }


def _left(alarm: Alarm, alarms: tuple[Alarm, ...]) -> bool:
    """Whether all that an alarm can follow from, by the step it began at, is over."""
    began = alarm.evidence.get("because_onset")
    causes = [other for other in alarms if other.since == began and other.name != alarm.name]
    return bool(causes) and all(cause.over is not None for cause in causes)


def _look(recording: "Recording") -> tuple[int | None, tuple[Alarm, ...]]:
    """The step of the last deep look, and what it found but notes."""
    looks = recording.looks
    if not len(looks):
        return None, ()
    step = int(looks[-1])
    found: list[Alarm] = []
    for finding in cast(list[Any], recording.look(step).get("findings", [])):
        name, severity = str(finding.get("name", "")), str(finding.get("severity", ""))
        if severity in ("broken", "harmful"):
            evidence = cast(Mapping[str, Any], finding.get("evidence") or {})
            found.append(
                Alarm(
                    name=name,
                    severity=severity,
                    step=step,
                    over=None,
                    where=tuple(map(str, finding.get("where") or ())),
                    evidence={key: float(number) for key, number in evidence.items()},
                    detail=str(finding.get("detail") or ""),
                )
            )
    return step, tuple(found)


def actions_of(events: Sequence[Event]) -> tuple[Actions, ...]:
    """What each policy of a guard did, all its acts in one record."""
    by_policy: dict[str, list[Event]] = {}
    for event in events:
        if event.kind == "action":
            by_policy.setdefault(event.name, []).append(event)
    return tuple(
        Actions(
            policy=name,
            count=len(acts),
            first=acts[0].step,
            last=acts[-1].step,
            detail=acts[-1].detail,
        )
        for name, acts in by_policy.items()
    )


def _profile(recording: "Recording") -> tuple[ProfileRow, ...]:
    entries = recording.entries
    blocks = Blocks(entries, ROWS)
    first, last = (_medians(recording, blocks, late) for late in (False, True))

    def pair(statistic: str, row: int) -> Pair:
        return _known(first, statistic, row), _known(last, statistic, row)

    def gradient(found: Mapping[str, NDArray[np.float64]], row: int) -> float | None:
        rms = _known(found, "gradient_rms", row)
        return nan if rms is None and _known(found, "gradient_nonfinite", row) else rms

    rows = [
        ProfileRow(
            block=block.name,
            tensors=len(block.columns),
            gradient_rms=(gradient(first, row), gradient(last, row)),
            update_to_weight=pair("update_to_weight", row),
            zeros=pair("gradient_zero_share", row),
        )
        for row, block in enumerate(blocks.blocks)
    ]
    return tuple(row for row in rows if row.gradient_rms != (None, None))


def _known(found: Mapping[str, NDArray[np.float64]], statistic: str, row: int) -> float | None:
    value = float(found[statistic][row]) if statistic in found else float("nan")
    return value if np.isfinite(value) else None


def _medians(
    recording: "Recording", blocks: Blocks, late: bool
) -> dict[str, NDArray[np.float64]]:  # fmt: skip
    """Of each statistic, the blocks' medians over the first or the last readings of it."""
    found: dict[str, NDArray[np.float64]] = {}
    known = recording.statistics
    wanted = (
        "gradient_rms",
        "gradient_nonfinite",
        "gradient_zeros",
        "weight_rms",
        "update_to_weight",
    )
    read: dict[int, dict[str, NDArray[np.float32]]] = {}
    for statistic in [name for name in wanted if name in known]:
        steps = recording.steps_of(statistic)
        chosen = steps[-STEPS:] if late else steps[:STEPS]
        if len(chosen):
            table = recording.matrix(statistic, int(chosen[0]), int(chosen[-1]))
            for step, row in zip(*table, strict=True):
                read.setdefault(int(step), {})[statistic] = row
    each = [blocks.of(_with_a_size(values, recording)) for values in read.values()]
    for statistic in {name for one in each for name in one}:
        stacked = np.stack([one[statistic] for one in each if statistic in one])
        there = ~np.isnan(stacked).all(axis=0)
        medians = np.full(stacked.shape[1], np.nan)
        medians[there] = np.nanmedian(stacked[:, there], axis=0)
        found[statistic] = medians
    return found


def _with_a_size(
    values: dict[str, NDArray[np.float32]], recording: "Recording"
) -> dict[str, NDArray[np.float32]]:
    """The values of one step, where a gradient without a finite entry has no size: it is not zero."""
    bad, rms = values.get("gradient_nonfinite"), values.get("gradient_rms")
    if bad is None or rms is None or not (bad > 0).any():
        return values
    sizes = np.array([max(prod(entry.shape), 1) for entry in recording.entries], dtype=np.float64)
    kept = rms.copy()
    kept[bad >= sizes[: len(bad)]] = np.nan
    return {**values, "gradient_rms": kept}


def _loss(recording: "Recording") -> tuple[float, float] | None:
    if "loss" not in recording.scalar_names:
        return None
    _, losses = recording.scalars("loss")
    most = max(1, min(STEPS, len(losses) // 2))
    return float(np.median(losses[:most])), float(np.median(losses[-most:]))


def _cost(recording: "Recording") -> tuple[float | None, float | None, float | None]:
    """Share of time spent watching, and median milliseconds of watching and of a whole step."""
    if not {"watch_seconds", "step_seconds"} <= set(recording.scalar_names):
        return None, None, None
    watch, step = (recording.scalars(name)[1] for name in ("watch_seconds", "step_seconds"))
    watch, step = watch[np.isfinite(watch)], step[np.isfinite(step)]
    if not len(watch) or not len(step) or not step.sum():
        return None, None, None
    share = float(watch.sum() / step.sum())
    return share, float(np.median(watch) * 1e3), float(np.median(step) * 1e3)
