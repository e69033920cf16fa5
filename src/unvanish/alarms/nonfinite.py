"""UV502 nonfinite-backward, UV501 nonfinite-forward: a step taken with NaN or Inf."""

import math

from unvanish.alarms.detector import AWAY, UNSEEN, Absence, Detector, Sign
from unvanish.alarms.moment import Moment
from unvanish.alarms.standing import PATIENCE
from unvanish.causes import nonfinite_backward, nonfinite_forward
from unvanish.recording import StepReading


class _Forward:
    """A loss that is not a number, in a step that was taken.

    Where the gradients are finite all the same (a loss of minus log zero has a finite slope in
    the logits), the weights are not poisoned: a note.
    """

    def see(self, moment: Moment) -> Sign | Absence:
        if moment.skipped:
            return UNSEEN
        loss = moment.scalar("loss")
        if "loss" not in moment.reading.scalars or math.isfinite(loss):
            return AWAY
        bad = moment.columns.nonfinite
        severity = "broken" if bad.any() else "note"
        where = moment.columns.named(bad, backwards=True) or ("(loss)",)
        said = "NaN" if math.isnan(loss) else "infinite"
        return Sign(
            severity=severity,
            where=where,
            onset=moment.step,
            evidence={"tensors": float(bad.sum())},
            detail=f"the loss is {said}",
        )


class _Backward:
    """A gradient that is not finite, in a step that was taken.

    A skipped one is a loss scaler probing or a guard at work. From where it arises NaN spreads
    towards the input, so the last tensor in the order of the model is named first.
    """

    def see(self, moment: Moment) -> Sign | Absence:
        if moment.skipped:
            return UNSEEN
        bad = moment.columns.nonfinite
        if not bad.any():
            return AWAY
        if not math.isfinite(moment.reading.scalars.get("loss", 0.0)):
            return UNSEEN  # nonfinite-forward says more
        return Sign(
            severity="broken",
            where=moment.columns.named(bad, backwards=True),
            onset=moment.step,
            evidence={"parameters": float(bad.sum())},
            detail=f"the gradients of {int(bad.sum())} tensors are NaN or Inf and were used",
        )


class BadLoss:
    """Since which step the loss is no number: also where those steps are skipped.

    A loss scaler skips all of them and goes down by and by, so that the alarm comes much later.
    """

    def __init__(self) -> None:
        self.since: int | None = None
        self._finite = 0

    def see(self, reading: StepReading) -> None:
        """Take one step into account; a step without a loss tells nothing."""
        if "loss" not in reading.scalars:
            return
        if not math.isfinite(reading.scalars["loss"]):
            self.since = reading.step if self.since is None else self.since
            self._finite = 0
            return
        self._finite += 1
        if self._finite >= PATIENCE:
            self.since = None


FORWARD = Detector(
    card=nonfinite_forward.CARD,
    watcher=_Forward,
    explains=nonfinite_forward.CAUSE.explains,
    always=True,
)
BACKWARD = Detector(
    card=nonfinite_backward.CARD,
    watcher=_Backward,
    # The weights it poisoned make the loss of the next step NaN.
    explains=(*nonfinite_backward.CAUSE.explains, "nonfinite-forward"),
    always=True,
)
