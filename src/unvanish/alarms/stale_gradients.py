"""UV710 stale-gradients: each backward pass adds to what the last step used already."""

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Run, Sign
from unvanish.alarms.moment import Moment
from unvanish.causes import stale_gradients

FEWEST = 3
"""Steps in a row. One may be meant: a batch that goes on where the last one ended."""


class _Stale:
    """Steps whose backward passes never found gradients empty, or other than the last step left them.

    That is seen at the tensors themselves when a backward pass begins, and is no estimate: what is
    cleared, scaled or replaced in between is another tensor, or another version of the same one.
    """

    def __init__(self) -> None:
        self._run = Run()

    def see(self, moment: Moment) -> Sign | Absence:
        scalars = moment.reading.scalars
        if not scalars.get("backwards"):
            return UNSEEN
        if self._run.count(bool(scalars.get("stale")), moment.step) < FEWEST:
            return UNSEEN if self._run.length else AWAY
        columns = moment.columns
        return Sign(
            severity="harmful",
            where=columns.named(columns.matrix & columns.reached),
            onset=self._run.since,
            evidence={"tensors": float(columns.reached.sum())},
            detail="each step uses the sum of all gradients since then: nothing clears them",
        )


DETECTOR = Detector(
    card=stale_gradients.CARD, watcher=_Stale, explains=stale_gradients.CAUSE.explains
)
