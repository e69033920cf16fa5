"""The learning rate goes back when the loss diverges, and returns when it has calmed down."""

import math
from collections.abc import Iterable
from typing import Any

from unvanish.errors import BadInput
from unvanish.guard.policy import Moment
from unvanish.guard.reach import Reach
from unvanish.guard.reduced_rate import ReducedRate
from unvanish.guard.settings import count, number
from unvanish.guard.trend import LossTrend


class RateBackOff:
    """Multiply the learning rate when the loss diverges, and return it gradually.

    The old rule of thumb of every handbook (Goodfellow, Bengio, Courville 2016, section 11.4.1:
    above the best rate the training error rises), made automatic like the "bold driver"
    (Vogl et al. 1988; Battiti 1989), but on medians of a stochastic loss (:class:`LossTrend`). The rate is
    lowered inside the step only: a scheduler and a checkpoint see the user's own.

    What it cannot do: repair weights that a diverging step has already thrown away. A rate thirty
    times too high has ruined plain SGD before three losses can agree; that needs
    :class:`RollBack`, which lowers the rate too. Where the loss is no measure of progress (a GAN, many
    kinds of reinforcement learning) leave it off.

    Args:
        factor: of the first cut; 0.5.
        hold: steps for which the lower rate is held; 50.
        back: steps in which it returns; 100.
        lowest: the rate is never multiplied by less than this; 1/256.
        alarms: names of alarms at whose onset the rate is cut too.
        patience: steps after which a loss that stays up counts as usual. Then the policy lets go: the
            task has changed, or the weights are lost.
    """

    name = "rate-back-off"

    def __init__(
        self,
        factor: float = 0.5,
        hold: int = 50,
        back: int = 100,
        lowest: float = 1 / 256,
        alarms: Iterable[str] = ("step-too-large",),
        patience: int = 200,
    ) -> None:
        if isinstance(alarms, str):
            raise BadInput(f"{self.name}: alarms must be a list of names, not the text {alarms!r}.")
        self.alarms = tuple(alarms)
        self.patience = count(self.name, "patience", patience)
        self._rate = ReducedRate(
            number(self.name, "factor", factor, most=1 - 1e-9),
            count(self.name, "hold", hold),
            count(self.name, "back", back),
            number(self.name, "lowest", lowest, most=1),
        )
        self._trend = LossTrend()
        self._reach = Reach(self.name, by_loss=True)
        self._last_cut_at = math.inf

    def before_step(self, moment: Moment) -> None:
        if not self._reach.covers(moment):
            return
        rate = highest_rate(moment.optimizer)
        why = self._why(moment)
        if why is not None:
            before = self._rate.factor
            self._rate.cut(rate)
            self._trend.judge_anew()
            evidence = {"factor": self._rate.factor, "before": before}
            words = f"{why}: learning rate times {self._rate.factor:.3g}"
            moment.say(self.name, words, evidence)
        reduced = self._rate.factor < 1
        factor = self._rate.advance(rate)
        if reduced and factor >= 1:
            moment.say(self.name, "the learning rate is the user's own again", {"factor": 1.0})
        moment.rate_factor *= factor

    def _why(self, moment: Moment) -> str | None:
        raised = [a.name for a in moment.alarms if a.kind == "alarm" and a.name in self.alarms]
        loss = moment.loss
        if loss is None:
            self._reach.once(moment, "sees no loss: only alarms can make it act")
        elif math.isfinite(loss) and self._trend.feed(loss) and self._still_rising():
            level, _ = self._trend.level()
            self._last_cut_at = self._trend.now
            return f"the loss diverges ({self._trend.now:.3g} after {level:.3g})"
        if self._trend.outside > self.patience:
            self._let_go(moment)
        return f"alarm {raised[0]}" if raised else None

    def _still_rising(self) -> bool:
        """Whether a further cut is called for: not while the loss is already coming down."""
        if self._rate.at_lowest:
            return False
        return self._rate.factor >= 1 or self._trend.now >= self._last_cut_at

    def _let_go(self, moment: Moment) -> None:
        self._trend.restart()
        self._last_cut_at = math.inf
        moment.say(
            self.name,
            f"the loss has stayed up for {self.patience} steps: taken as usual from here on. "
            "If the weights are lost, a lower rate does not bring them back (roll-back does)",
        )

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None: ...


def highest_rate(optimizer: Any) -> float:
    """The largest learning rate of all groups, as the user set it."""
    rates = [float(group["lr"]) for group in optimizer.param_groups if "lr" in group]
    return max(rates, default=0.0)
