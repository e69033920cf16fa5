"""A recording in short: which alarms stand, what was done, how the gradient lies over the depth."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from unvanish.recording.endings import Ending
from unvanish.recording.records import Event, begun

SEVERITIES: Final = ("broken", "harmful", "note", "")
"""The worst first; an alarm may have none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm; ``over`` is the step at which it was cleared, ``None`` while it stands."""

    name: str
    severity: str
    step: int
    over: int | None
    where: tuple[str, ...]
    evidence: Mapping[str, float]
    detail: str

    @property
    def since(self) -> int:
        """The step that it began at, see :func:`unvanish.recording.records.begun`."""
        return begun(self.evidence, self.step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What one policy of a guard did: how often, from which step to which, and the last of it."""

    policy: str
    count: int
    first: int
    last: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """One block of tensors at the first and the last steps; ``None`` where it was not read.

    ``gradient_rms`` and ``update_to_weight`` are of all entries of the block together (medians over
    steps), ``zeros`` is the share of its gradient's entries that are exactly zero. A gradient
    without a finite entry has an rms of NaN.
    """

    block: str
    tensors: int
    gradient_rms: tuple[float | None, float | None]
    update_to_weight: tuple[float | None, float | None]
    zeros: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What ``unvanish show`` prints; plain records.

    ``look_findings`` are what the last deep look (at step ``look``) found and no alarm says;
    ``look_serious`` are the names of all that it found but notes, whether or not an alarm says it.
    ``endings`` are the processes that ended early. ``watch_share`` is the share of the time from
    step to step that went into watching.
    """

    path: str
    started: str
    finished: bool
    bytes: int
    steps: int
    first_step: int | None
    last_step: int | None
    seconds: float | None
    tensors: int
    conditions: Mapping[str, Any]
    alarms: tuple[Alarm, ...]
    look: int | None
    look_findings: tuple[Alarm, ...]
    look_serious: tuple[str, ...]
    actions: tuple[Actions, ...]
    notes: tuple[Event, ...]
    endings: tuple[Ending, ...]
    profile: tuple[ProfileRow, ...]
    loss: tuple[float, float] | None
    watch_share: float | None
    watch_milliseconds: float | None
    step_milliseconds: float | None
    thinned: Mapping[str, int]
    lost: Mapping[str, int]

    @property
    def standing(self) -> tuple[Alarm, ...]:
        """What is wrong now, the most serious first, notes left out."""
        found = [alarm for alarm in (*self.alarms, *self.look_findings) if alarm.over is None]
        serious = [alarm for alarm in found if alarm.severity != "note"]
        return tuple(sorted(serious, key=lambda alarm: SEVERITIES.index(alarm.severity)))

    @property
    def healthy(self) -> bool:
        """No alarm stands, and the last deep look found nothing serious."""
        return not self.standing

    def plain(self) -> dict[str, Any]:
        """As what JSON can hold."""
        shown = asdict(self) | {"notes": [event.plain() for event in self.notes]}
        return {"healthy": self.healthy, **shown}
