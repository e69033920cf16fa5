"""Detector and Sign: what an alarm is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from unvanish.alarms.moment import Moment
from unvanish.cards import Card


class Absence(Enum):
    """Why there is no sign: it was looked for and is away, or this step could not tell."""

    AWAY = "away"
    UNSEEN = "unseen"


AWAY, UNSEEN = Absence.AWAY, Absence.UNSEEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """A condition that is met now. ``onset`` is the step it began at, as far as can be told."""

    severity: str
    where: tuple[str, ...]
    onset: int
    evidence: Mapping[str, float] = field(default_factory=dict[str, float])
    detail: str = ""


class Watcher(Protocol):
    """The state of one detector over one training; asked once a step."""

    def see(self, moment: Moment) -> Sign | Absence: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """One entry of the list: the card of the finding it names, and how it is watched for.

    ``explains`` lists findings that are this one's consequences when they begin later.
    ``always`` detectors are also asked at steps that were skipped or whose numbers are not finite.
    """

    card: Card
    watcher: Callable[[], Watcher]
    explains: tuple[str, ...] = ()
    always: bool = False


class Run:
    """For how many judged steps in a row a condition has been met, and since which step."""

    def __init__(self) -> None:
        self.length = 0
        self.since = -1

    def count(self, met: bool, step: int) -> int:
        """One more judged step; the length of the run that it ends with."""
        if not met:
            self.length = 0
        else:
            self.since = self.since if self.length else step
            self.length += 1
        return self.length
