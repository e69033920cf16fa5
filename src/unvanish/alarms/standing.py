"""One detector at work: its alarm while it stands, and for how long its condition has been away."""

from unvanish.alarms.detector import AWAY, Absence, Detector, Sign, Watcher
from unvanish.recording import Event

PATIENCE = 50
"""Judged steps that a condition must be away for. Doubled each time it comes back: what comes and
goes for ever is told a number of times that grows with the logarithm of the steps only."""


class Standing:
    """The state of one detector, the alarm that it has raised, and when that is over."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.watcher: Watcher = detector.watcher()
        self.alarm: Event | None = None
        self.away = 0
        self.patience = PATIENCE

    @property
    def name(self) -> str:
        return self.detector.card.name

    def over(self, absence: Absence) -> bool:
        """Whether the condition has been away for long enough; one more step of it is counted."""
        self.away += absence is AWAY
        if self.away < self.patience:
            return False
        self.away, self.patience = 0, 2 * self.patience
        return True

    def outgrown(self, sign: Sign, left: bool) -> bool:
        """Whether what was told as a note is a fault by now.

        A consequence stays its cause's, unless it is ``left``: its cause is over, and it is not.
        """
        alarm = self.alarm
        if alarm is None or sign.severity == "note" or alarm.severity != "note":
            return False
        return left or "because_onset" not in alarm.evidence
