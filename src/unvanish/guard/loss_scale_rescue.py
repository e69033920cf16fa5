"""A loss scale that has collapsed is held, and brought back when the steps are finite again."""

from unvanish.guard.policy import Moment, ScaleUpdate
from unvanish.guard.settings import count, number


class LossScaleRescue:
    """Hold a collapsing loss scale at a floor, say what it means, and restore it afterwards.

    A dynamic loss scaler (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2) halves its scale at
    every non-finite step and doubles it after 2000 finite ones. A run of NaN batches, which no
    scale can help, drives it to 1e-13 within a minute; then nearly all half-precision gradients
    underflow to zero, and it would take a hundred thousand good steps to return. At a scale of 1 the
    backward pass is the one without scaling: what is non-finite there is not the scale's doing.

    So the scale is never let below ``floor``. Reaching it is said, with what it means: the NaN is
    born upstream (in the data, the forward pass, the loss), and no scale will help. At the
    first finite step afterwards the scale goes back to the highest at which a step was
    taken before the fall; if that is too high, the scaler halves it as ever, and the next time
    half of it is tried.

    When it harms: gradients that overflow half precision even at a scale of 1 (norms of 65504 and
    more without scaling) do need a smaller one. Then every step is left out and said; scale the loss
    down instead, or use bfloat16.

    Args:
        floor: 1.
        most: returns in a training; after that the scale is only held.
    """

    name = "loss-scale-rescue"

    def __init__(self, floor: float = 1.0, most: int = 20) -> None:
        self.floor = number(self.name, "floor", floor)
        self.most = count(self.name, "most", most)
        self.returns = 0
        """Times the scale was brought back."""
        self._scale: float | None = None
        self._peak = 0.0
        self._row = 0
        self._held = False
        self._setting = False
        self._fallback = 0.0
        """Where to return to if no step was taken since the last return: half of that."""

    def before_step(self, moment: Moment) -> None: ...

    def after_step(self, moment: Moment) -> None: ...

    def after_update(self, update: ScaleUpdate) -> None:
        """Read the scale that the scaler has come to; hold or restore it.

        This waits for the device, as every GradScaler does in its step.
        """
        if self._setting or not update.scaler.is_enabled():
            return
        scale = float(update.scaler.get_scale())
        before, self._scale = self._scale, scale
        if before is None:
            self._fallback = scale
            return
        if scale < before:
            self._row += 1
            if scale < self.floor:
                self._hold(update)
            return
        self._row = 0
        if self._held:
            self._restore(update)
        else:
            self._peak = max(self._peak, before)

    def close(self) -> None: ...

    def _hold(self, update: ScaleUpdate) -> None:
        self._set(update, self.floor)
        if self._held:
            return
        self._held = True
        update.say(
            self.name,
            f"the loss scale fell to {self.floor:g} and is held there: {self._row} steps in a row were "
            "not finite, and at this scale that is not the scale's doing. Something upstream makes a "
            "NaN or Inf: the data, the forward pass or the loss; unvanish.diagnose finds the first",
            {"scale": self.floor, "skipped_in_a_row": self._row, "scale_before": self._peak},
        )

    def _restore(self, update: ScaleUpdate) -> None:
        self._held = False
        wanted = self._peak or self._fallback
        if wanted <= self.floor or self.returns >= self.most:
            return
        self.returns += 1
        self._fallback, self._peak = wanted / 2, 0.0
        self._set(update, wanted)
        words = (
            f"steps are finite again: the loss scale goes back from {self.floor:g} to {wanted:g}"
        )
        update.say(self.name, words, {"scale": wanted})

    def _set(self, update: ScaleUpdate, scale: float) -> None:
        # The scaler's own update is what calls this policy: this one is no news to it.
        self._setting = True
        try:
            update.scaler.update(float(scale))
        finally:
            self._setting = False
        self._scale = float(scale)
