"""What follows from what: one alarm for one fault, and a note for each of its consequences."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from unvanish.alarms.detector import Detector
from unvanish.causes import CAUSES
from unvanish.recording import Event


class Consequences:
    """Which finding explains which: the causes of the diagnosis, and more where it was seen to happen.

    ``causes`` maps the name of each alarm that follows from another one to the name of that one.
    """

    def __init__(self, detectors: Iterable[Detector]) -> None:
        self._explains = {cause.card.name: cause.explains for cause in CAUSES}
        self._explains |= {detector.card.name: detector.explains for detector in detectors}
        self.causes: dict[str, str] = {}

    def explains(self, cause: str, name: str) -> bool:
        """Whether the one finding explains the other."""
        return name in self._explains.get(cause, ())

    def cause_of(self, name: str, onset: int, known: Mapping[str, int]) -> str | None:
        """Of what is known, with its onset, the earliest that explains a finding that began now."""
        because = [
            other
            for other, began in known.items()
            if self.explains(other, name)
            and other != name
            and began <= onset
            # Of two that explain each other the one that began first is the cause.
            and not (self.explains(name, other) and began == onset)
        ]
        return min(because, key=lambda other: known[other]) if because else None

    def settle(self, alarm: Event, onset: int, known: Mapping[str, int]) -> Event:
        """The alarm as it is to be raised: a note that names its cause, where one is known."""
        self.causes.pop(alarm.name, None)
        cause = self.cause_of(alarm.name, onset, known)
        return alarm if cause is None else self.follow(alarm, cause, known[cause])

    def follow(self, alarm: Event, cause: str, onset: int) -> Event:
        """The alarm as a consequence of another one."""
        self.causes[alarm.name] = cause
        return replace(
            alarm,
            severity="note",
            evidence={**alarm.evidence, "because_onset": float(onset)},
            detail=f"follows from {cause} (step {onset}): {alarm.detail}",
        )

    def explained(self, alarm: Event, name: str, onset: int | None) -> Event:
        """An alarm that stands, where what explains it was found later, and since when that is."""
        if alarm.name in self.causes or (onset is not None and onset > alarm.since):
            return alarm
        if onset is not None:
            return self.follow(alarm, name, onset)
        self.causes[alarm.name] = name
        return replace(alarm, detail=f"because of {name}: {alarm.detail}")
