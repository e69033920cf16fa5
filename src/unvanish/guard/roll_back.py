"""Back to the last good state when the training has diverged, and on from there more slowly."""

import copy
import math
from pathlib import Path

import torch

from unvanish.guard import gradients, snapshot
from unvanish.guard.buffers import BufferCopies
from unvanish.guard.policy import Moment
from unvanish.guard.rate_back_off import highest_rate
from unvanish.guard.reach import Reach
from unvanish.guard.reduced_rate import ReducedRate
from unvanish.guard.settings import count, number
from unvanish.guard.shelf import Shelf
from unvanish.guard.trend import LossTrend


class RollBack:
    """Keep the last good states, and return to one when the loss diverges or weights are not finite.

    What people do by hand with large models: restart from a checkpoint before the spike and pass
    over the batches that led to it (Chowdhery et al. 2022, arXiv:2204.02311, section 5.1; Zhang et al.
    2022, arXiv:2205.01068, section 2.5, who lower the learning rate as well). Here in the running process, in
    place: parameters, buffers (where the model is known), the optimizer's state and the loss
    scale. The data goes on, so the same batches are not met again; random state, schedulers and
    averaged copies of the weights (EMA) are left as they are.

    A state is good if the loss that was just computed with it is a usual one and its gradients are
    finite. Divergence is that of :class:`LossTrend`; the step in which it is seen is left out, as its
    gradients belong to the lost weights, and the rate is cut (:class:`ReducedRate`). Where two
    returns to a state have failed the next goes to the older one. A batch with non-finite gradients
    while the weights are finite and the loss was a usual one is left out, three times in a row
    at most; with a loss scaler that is the scaler's business.

    When it harms: the loss of a GAN or of reinforcement learning may rise for good reasons. A task that
    changes by plan (a curriculum, new data) looks like divergence: after ``most`` returns the policy lets
    go and says so.

    Args:
        every: steps between two copies. A copy costs about as much as writing the weights and the
            optimizer's state once; on an accelerator it waits for the device.
        keep: good states held; 2.
        most: returns in a training; 10.
        factor: of the first cut of the learning rate, held for ``hold`` steps and returned in ``back``.
        limit_bytes: of all states together; 2 GiB. Fewer are kept where they do not fit, none
            where not even one does, and that is said.
        folder: keep them in files there instead of in memory; removed at the end.
    """

    name = "roll-back"

    def __init__(
        self,
        every: int = 50,
        keep: int = 2,
        most: int = 10,
        factor: float = 0.5,
        hold: int = 50,
        back: int = 100,
        limit_bytes: int = 2 * 2**30,
        folder: str | Path | None = None,
    ) -> None:
        self.every = count(self.name, "every", every)
        self.most = count(self.name, "most", most)
        self.limit_bytes = count(self.name, "limit_bytes", limit_bytes)
        self.returns = 0
        """Times a state was put back."""
        self._rate = ReducedRate(
            number(self.name, "factor", factor, most=1),
            count(self.name, "hold", hold),
            count(self.name, "back", back),
            1 / 256,
        )
        self._shelf = Shelf(
            count(self.name, "keep", keep), None if folder is None else Path(folder)
        )
        self._trend = LossTrend()
        self._reach = Reach(self.name, by_loss=True)
        self._trends: dict[int, LossTrend] = {}
        self._taken_at: int | None = None
        self._buffers = BufferCopies()
        self._failed = 0
        self._well = True
        self._row = 0
        self._scale: dict[str, object] | None = None

    def before_step(self, moment: Moment) -> None:
        if not self._reach.covers(moment):
            return
        if moment.model is None:
            self._reach.once(moment, "does not know the model: its buffers are not part of a state")
        spoilt = gradients.nonfinite(moment)
        why = self._why(moment, spoilt)
        if why is not None:
            self._return(moment, why)
        elif spoilt:
            self._leave_out(moment, spoilt)
        elif not moment.skip:
            self._row = 0
            self._buffers.remember(moment.model)
            self._keep(moment)
        moment.rate_factor *= self._rate.advance(highest_rate(moment.optimizer))

    def after_step(self, moment: Moment) -> None:
        if self._scale is not None:
            moment.scaler.load_state_dict(self._scale)
            self._scale = None

    def close(self) -> None:
        self._shelf.clear()
        self._buffers = BufferCopies()

    def _why(self, moment: Moment, spoilt: tuple[str, ...]) -> str | None:
        """Why to go back, if that is called for."""
        loss = moment.loss
        if spoilt or (loss is not None and not math.isfinite(loss)):
            scaled = gradients.loss_scaler(moment) is not None
            if spoilt and not scaled and (self._row >= _ROW or not self._well):
                return f"gradients of {len(spoilt)} parameters are not finite, nor was it a single batch"
            own = gradients.stepped(moment)
            lost = [n for n, p in own.items() if not bool(torch.isfinite(p).all())]
            return f"weights of {len(lost)} parameters are not finite" if lost else None
        if loss is not None:
            diverged = self._trend.feed(loss)
            self._well = self._trend.within(loss)
            if diverged:
                level, _ = self._trend.level()
                return f"the loss diverges ({self._trend.now:.3g} after {level:.3g})"
        return None

    def _leave_out(self, moment: Moment, spoilt: tuple[str, ...]) -> None:
        if moment.skip or gradients.loss_scaler(moment) is not None or self._row >= _ROW:
            return
        self._row += 1
        moment.skip = True
        mended, _ = self._buffers.mend(moment.model)
        evidence = {"in_a_row": self._row, "buffers_restored": len(mended)}
        words = "step left out: its gradients are not finite, the weights are"
        moment.say(self.name, words, evidence, spoilt)

    def _keep(self, moment: Moment) -> None:
        due = self._taken_at is None or moment.step - self._taken_at >= self.every
        usual = moment.loss is None or self._trend.within(moment.loss)
        if not due or not usual or self._trend.outside:
            return
        size = snapshot.size_of(moment)
        room = self.limit_bytes // max(1, size)
        if room < 1:
            self._reach.once(
                moment,
                f"keeps nothing: a state takes {size / 2**30:.2f} GiB, limit_bytes allows "
                f"{self.limit_bytes / 2**30:.2f}",
            )
            return
        self._taken_at = moment.step
        if self._trend.ready and not any(trend.ready for trend in self._trends.values()):
            self._shelf.clear()  # a state whose loss was not judged yet gives way to one that was
        try:
            self._shelf.put(snapshot.take(moment), room)
            self._trends[moment.step] = copy.deepcopy(self._trend)
            self._failed = 0
        except OSError as error:
            self._reach.once(moment, f"could not write a state: {error}")

    def _return(self, moment: Moment, why: str) -> None:
        if self.returns >= self.most:
            self._reach.once(moment, f"lets go after {self.most} returns: {why}")
            return
        if self._failed >= _TRIES:
            self._shelf.drop_newest()
            self._failed = 0
        state = self._shelf.newest()
        if state is None:
            self._reach.once(moment, f"{why}, and there is no good state to return to")
            return
        unfit = snapshot.put_back(state, moment)
        self._scale = state.scaler if gradients.loss_scaler(moment) is not None else None
        self._failed += 1
        self._row, self._well = 0, True
        self.returns += 1
        self._taken_at = moment.step
        # What was usual then is usual again: an older state has a higher loss.
        self._trend = copy.deepcopy(self._trends[state.step])
        self._trend.judge_anew()
        self._rate.cut(highest_rate(moment.optimizer))
        moment.skip = True
        words = f"{why}: back to step {state.step}, learning rate times {self._rate.factor:.3g}"
        if unfit:
            words += f"; {len(unfit)} tensors have another shape now and are as they were"
        evidence = {
            "to_step": state.step,
            "steps_lost": moment.step - state.step,
            "factor": self._rate.factor,
        }
        moment.say(self.name, words, evidence, unfit)


_ROW = 3
"""Non-finite steps in a row that are only left out."""
_TRIES = 2
"""Returns to the same state, each at a lower rate, before an older one is tried."""
