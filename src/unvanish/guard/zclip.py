"""The norm of the whole gradient, brought down where it is an outlier among the recent ones."""

import math

from unvanish.guard import gradients
from unvanish.guard.policy import Moment
from unvanish.guard.reach import Reach
from unvanish.guard.settings import count, number


class ZClip:
    """Bring the whole gradient down where its norm is an outlier by its z-score.

    Kumar, Owen, Chowdhury, Güra 2025 (arXiv:2504.02507), section 3: μ and σ² are exponential means
    of the norm and of its squared distance from μ; with z = (|g| - μ) / σ,

        |g| ← μ + (z_most² / z) · σ    where z > z_most,

    so that the further out, the stronger. The clipped norm is what enters the means: a spike does
    not teach the policy that spikes are usual. But for the same reason the means cannot follow norms
    that have risen for good (μ moves by 3 % of what is left over of the excess, and σ
    shrinks): the published rule then clips every step from there on. Here, when ``warm_up`` steps in a
    row were clipped, that is no spike, and their own norms make μ and σ anew. Non-finite gradients
    are neither clipped nor remembered. The fixed limit of 1 that the authors' program applies besides
    is left out: it is another method, and acts at every step of many healthy trainings.

    When it harms: norms are no normal distribution, and healthy steps are shortened, most of all
    where the norm rises from a plateau. It cannot hold back a rise that lasts, and is
    blind in its warm-up: a spike there raises σ for a long time.

    Args:
        z_most: 2.5, the paper's best of 2 to 3.
        decay: α of the exponential means, 0.97 in the paper.
        warm_up: steps whose norms make the first μ and σ, 25 in the paper; nothing is clipped in them.
    """

    name = "zclip"

    def __init__(self, z_most: float = 2.5, decay: float = 0.97, warm_up: int = 25) -> None:
        self.z_most = number(self.name, "z_most", z_most)
        self.decay = number(self.name, "decay", decay, most=1 - 1e-9)
        self.warm_up = count(self.name, "warm_up", warm_up, least=2)
        self._reach = Reach(self.name)
        self._first: list[float] = []
        self._row: list[float] = []
        self._mean = math.nan
        self._variance = math.nan

    def before_step(self, moment: Moment) -> None:
        if moment.skip or not self._reach.covers(moment):
            return
        norm = gradients.whole_norm(moment)
        if not math.isfinite(norm):
            return
        if len(self._first) < self.warm_up:
            self._start(norm)
            return
        deviation = math.sqrt(self._variance)
        # A float's rounding as the smallest spread: equal norms are no proof that none ever differs.
        z = (norm - self._mean) / max(deviation, 1e-6 * self._mean, 1e-38)
        if z > self.z_most:
            limit = self._mean + self.z_most**2 / z * deviation
            gradients.shrink(moment, limit / norm)
            words = (
                f"gradient norm {norm:.3g} is {z:.3g} deviations out: brought down to {limit:.3g}"
            )
            moment.say(self.name, words, {"norm": norm, "limit": limit, "z": z})
            self._row.append(norm)
            if len(self._row) == self.warm_up:
                self._learn(self._row)
                self._row = []
                return
            norm = limit
        else:
            self._row = []
        self._mean = self.decay * self._mean + (1 - self.decay) * norm
        apart = (norm - self._mean) ** 2
        self._variance = self.decay * self._variance + (1 - self.decay) * apart

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None: ...

    def _start(self, norm: float) -> None:
        self._first.append(norm)
        if len(self._first) == self.warm_up:
            self._learn(self._first)

    def _learn(self, norms: list[float]) -> None:
        self._mean = math.fsum(norms) / len(norms)
        self._variance = math.fsum((x - self._mean) ** 2 for x in norms) / len(norms)
