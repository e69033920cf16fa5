"""A step whose gradients are not finite is left out."""

from unvanish.errors import TrainingStopped
from unvanish.guard import gradients
from unvanish.guard.buffers import BufferCopies
from unvanish.guard.policy import Moment
from unvanish.guard.reach import Reach
from unvanish.guard.settings import count


class SkipNonfinite:
    """Leave out every step with a NaN or an Inf in a gradient, and stop if they do not end.

    One such step makes the weights, and Adam's moments, NaN for good. What a loss scaler does for
    half precision (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2) is right for any
    training, as long as it is rare: a batch with a NaN in it, one division by zero. The buffers
    that the forward pass of that batch has spoilt (running statistics of normalisation) are put
    back to what they were at the last good step, where the model is known.

    With a loss scaler the policy does nothing: the scaler leaves such steps out itself, and
    some are normal.

    Args:
        most: steps in a row that may be left out. The next one raises :class:`TrainingStopped`,
            with the weights as the last good step left them: a training that is silently skipped
            for ever is a training that nobody notices to be dead. 20, because a scaler needs 16
            skips from its initial scale to 1, and nothing benign takes longer.
    """

    name = "skip-nonfinite"

    def __init__(self, most: int = 20) -> None:
        self.most = count(self.name, "most", most)
        self.skipped = 0
        """Steps left out so far."""
        self._row = 0
        self._reach = Reach(self.name)
        self._buffers = BufferCopies()

    def before_step(self, moment: Moment) -> None:
        if moment.skip or not self._reach.covers(moment):
            return
        if gradients.loss_scaler(moment) is not None:
            self._reach.once(moment, "leaves non-finite steps to the loss scaler, which skips them")
            return
        where = gradients.nonfinite(moment)
        if not where:
            self._row = 0
            self._buffers.remember(moment.model)
            return
        self._row += 1
        self.skipped += 1
        moment.skip = True
        mended, lost = self._buffers.mend(moment.model)
        evidence = {"in_a_row": self._row, "tensors": len(where), "buffers_restored": len(mended)}
        words = f"step left out: gradients of {len(where)} parameters are not finite"
        if lost:
            words += f"; no good copy of {', '.join(lost)}, which the forward pass made non-finite"
        moment.say(self.name, words, evidence, where)
        if self._row > self.most:
            raise TrainingStopped(
                f"The gradient was not finite in {self._row} steps in a row, the first of them "
                f"{where[0]!r}; nothing was learned in them. The weights are those of the last good "
                "step. Look for the first non-finite tensor with unvanish.diagnose(model, batch, loss)."
            )

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None:
        self._buffers = BufferCopies()
