"""Layers whose gradient is far too small or too large beside the others are brought to them."""

import math
import statistics

import torch

from unvanish.clipping import l2_norm
from unvanish.guard import gradients
from unvanish.guard.policy import Moment
from unvanish.guard.reach import Reach
from unvanish.guard.settings import count, number


class LayerBalance:
    """Keep the relative gradient of every weight matrix within a band around that of the others.

    For each parameter of two dimensions or more, r = |g| / |w|, the ratio that LARS divides by
    (You, Gitman, Ginsburg 2017, arXiv:1708.03888, equation 3; Yu et al. 2017, arXiv:1707.04822,
    normalise block by block). LARS makes all r equal at every step; here a layer is left alone while
    its r lies within ``band`` times (or one ``band``-th of) the upper quartile m of all layers. One
    that has left the band is brought to m, until it is back within a third of the band by itself:

        g ← g · c,   c = m / r̄,   c ≤ most,

    with r̄ the exponential mean of r, so that noise does not move c. The upper quartile, because
    where gradients vanish most layers are starved, and the few near the loss are the measure.
    A bias follows the matrix of its own module.

    What it does to plain SGD and momentum: the layers that a vanishing gradient starves get steps
    of a useful size. The step stays a descent direction for small rates: each layer's part is
    only made longer. What it does to Adam and its like: little. They divide each entry by
    the size of its own past, so a constant factor cancels, and so does c. What remains is ε, and
    a gradient that falls faster than their memory (Adam's second moment: a thousand steps) forgets: then
    c makes up for it. Muon and Lion, which keep no size at all, do not notice.

    When it harms: a layer that *should* have a small gradient gets noise, larger. So it is with
    a zero-initialised branch, LoRA's factors, fine-tuning in which the early layers are nearly
    right, weights before a normalisation, embeddings that few batches touch, a layer that has converged.
    Gradients that underflowed carry no direction to enlarge; exact zeros stay zeros. It is a crutch
    for a training that cannot be changed; unvanish.treat finds the cause.

    Args:
        band: how far from the upper quartile is still left alone. 30: one and a half decades to
            either side. The four healthy networks of the benchmark stay within 1.3.
        most: no gradient is enlarged more than this.
        decay: of the mean of each ratio.
        warm_up: steps in which the ratios are only read.
    """

    name = "layer-balance"

    def __init__(
        self, band: float = 30.0, most: float = 1e4, decay: float = 0.9, warm_up: int = 10
    ) -> None:
        self.band = number(self.name, "band", band, above=1)
        self.most = number(self.name, "most", most, above=1)
        self.decay = number(self.name, "decay", decay, most=1 - 1e-9)
        self.warm_up = count(self.name, "warm_up", warm_up)
        self._reach = Reach(self.name)
        self._ratios: dict[str, float] = {}
        self._weights: dict[str, float] = {}
        self._outside: set[str] = set()
        self._steps = 0
        self._said: frozenset[str] = frozenset()

    def before_step(self, moment: Moment) -> None:
        if moment.skip or not self._reach.covers(moment) or gradients.nonfinite(moment):
            return
        self._read(moment)
        self._steps += 1
        if self._steps < self.warm_up or len(self._ratios) < 3:
            return
        factors = self._factors()
        if factors:
            self._multiply(moment, factors)
        self._speak(moment, factors)

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None: ...

    def _read(self, moment: Moment) -> None:
        read = gradients.norms(moment)
        if self._steps % _REFRESH == 0:
            self._weights = {
                name: float(l2_norm(p.detach()))
                for name, p in gradients.stepped(moment).items()
                if p.dim() > 1
            }
        for name, weight in self._weights.items():
            ratio = read.get(name, 0.0) / weight if weight > 0 else 0.0
            if ratio > 0:  # none, and exactly zero: there is nothing to enlarge
                before = self._ratios.get(name, ratio)
                # In decades: one batch with a large gradient is not to rule the mean.
                mixed = self.decay * math.log(before) + (1 - self.decay) * math.log(ratio)
                self._ratios[name] = math.exp(mixed)

    def _factors(self) -> dict[str, float]:
        upper = statistics.quantiles(self._ratios.values(), n=4, method="inclusive")[2]
        for name, ratio in self._ratios.items():
            apart = max(ratio / upper, upper / ratio)
            if apart > self.band or apart < self.band / 3:
                (self._outside.add if apart > self.band else self._outside.discard)(name)
        return {name: min(upper / self._ratios[name], self.most) for name in self._outside}

    @torch.no_grad()
    def _multiply(self, moment: Moment, factors: dict[str, float]) -> None:
        owners = {_module(name): c for name, c in factors.items()}
        for name, gradient in gradients.present(moment).items():
            own = factors.get(name)
            if own is None and moment.parameters[name].dim() < 2:
                own = owners.get(_module(name))
            if own is not None:
                gradient.mul_(min(own, _room(gradient)))
        moment.touched = True

    def _speak(self, moment: Moment, factors: dict[str, float]) -> None:
        """Once for each set of layers: what is done at every step is said when it changes."""
        if frozenset(factors) == self._said:
            return
        self._said = frozenset(factors)
        if not factors:
            moment.say(self.name, "all layers are within the band again: nothing is multiplied")
            return
        smallest, largest = min(factors.values()), max(factors.values())
        words = (
            f"gradients of {len(factors)} of {len(self._ratios)} weight matrices multiplied by "
            f"{smallest:.3g} to {largest:.3g}, at every step until said otherwise"
        )
        evidence = {"layers": len(factors), "smallest_factor": smallest, "largest_factor": largest}
        moment.say(self.name, words, evidence, factors)


_REFRESH = 20
"""Steps between two readings of the weights' norms, which change slowly."""


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _room(gradient: torch.Tensor) -> float:
    """How much larger half-precision entries may become without overflow."""
    if gradient.dtype != torch.float16 or gradient.numel() == 0:
        return math.inf
    entries = gradient.coalesce().values() if gradient.is_sparse else gradient
    largest = float(entries.abs().max())
    return 0.5 * torch.finfo(torch.float16).max / largest if largest > 0 else math.inf
