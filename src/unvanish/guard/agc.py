"""Adaptive gradient clipping: each unit's gradient in proportion to its weights."""

from collections.abc import Iterable

import torch
from torch import Tensor

from unvanish.clipping import unit_factors, unit_norms
from unvanish.errors import BadInput
from unvanish.guard.gradients import stepped
from unvanish.guard.policy import Moment
from unvanish.guard.reach import Reach
from unvanish.guard.settings import number


class AGC:
    """Bring down the gradient of each unit to a share of the norm of its weights.

    Brock, De, Smith, Simonyan 2021 (arXiv:2102.06171), equation 3: for unit (output row) ``i``,

        G_i ← share · max(|W_i|, 1e-3) / |G_i| · G_i    where |G_i| / max(|W_i|, 1e-3) > share.

    With plain SGD this bounds the relative change of each unit by ``share`` times the learning
    rate, whatever the loss does. A whole vector (a bias, a gain) is one unit; of a sparse gradient each
    row that occurs is one. The last layer is left alone, as in the paper.

    When it harms: weights that start at zero count as 1e-3 and hardly move at a share of 0.01
    (zero-initialised branches, LoRA's B); with a small batch and SGD a share of 0.01 acts at most
    steps and is a lower learning rate. Adam divides by the size of past gradients: a
    limit that always acts is then without effect, one that acts on spikes still has its own.

    Args:
        share: λ. The paper finds 0.01 best for batches of 4096 and SGD, and larger values (0.02 to
            0.08) for smaller batches, which are noisier.
        leave: names of parameters or modules to leave alone. By default the module that holds the
            last parameter of two dimensions or more, in the order of registration; pass an
            empty list to leave none.
    """

    name = "agc"

    def __init__(self, share: float = 0.01, leave: Iterable[str] | None = None) -> None:
        self.share = number(self.name, "share", share)
        if isinstance(leave, str):
            raise BadInput(f"{self.name}: leave must be a list of names, not the text {leave!r}.")
        self.leave = None if leave is None else tuple(leave)
        self._reach = Reach(self.name)

    @torch.no_grad()
    def before_step(self, moment: Moment) -> None:
        if moment.skip or not self._reach.covers(moment):
            return
        factors = self._factors(moment)
        # Smallest and number of those below one, of all tensors in one transfer.
        found = _fetched([f for f, _ in factors.values()])
        cut = {n: number for n, number in zip(factors, found, strict=True) if number[1] > 0}
        for name in cut:
            factor, rows = factors[name]
            _multiply(moment.parameters[name].grad, factor, rows)
            moment.touched = True
        if cut:
            units = sum(number[1] for number in cut.values())
            smallest = min(number[0] for number in cut.values())
            words = (
                f"gradients of {units:.0f} units brought down to {self.share:g} of their weights"
            )
            moment.say(self.name, words, {"units": units, "smallest_factor": smallest}, cut)

    def _factors(self, moment: Moment) -> dict[str, tuple[Tensor, Tensor | None]]:
        """For each gradient the factor of each unit, and which rows those are if sparse."""
        leave = _last_layer(moment) if self.leave is None else self.leave
        factors: dict[str, tuple[Tensor, Tensor | None]] = {}
        for name, parameter in stepped(moment).items():
            gradient = parameter.grad
            left = any(name == own or name.startswith(f"{own}.") for own in leave)
            if gradient is None or left or gradient.numel() == 0:
                continue
            rows = None
            weight: Tensor = parameter
            if gradient.is_sparse:
                if gradient.sparse_dim() != 1:
                    self._reach.once(
                        moment, f"leaves {name} alone: its sparse gradient has no rows"
                    )
                    continue
                gradient = gradient.coalesce()
                rows = gradient.indices()[0]
                weight, gradient = parameter[rows], gradient.values()
            norm = unit_norms(gradient) / moment.loss_scale
            factors[name] = unit_factors(norm, unit_norms(weight), self.share), rows
        return factors

    def after_step(self, moment: Moment) -> None: ...

    def close(self) -> None: ...


def _fetched(factors: list[Tensor]) -> list[list[float]]:
    pairs = [
        torch.stack([factor.min(), (factor < 1).sum().to(factor.dtype)]).float()
        if factor.numel()
        else torch.tensor([1.0, 0.0], device=factor.device)
        for factor in factors
    ]
    if len({pair.device for pair in pairs}) > 1:
        pairs = [pair.cpu() for pair in pairs]
    return torch.stack(pairs).tolist() if pairs else []


def _multiply(gradient: Tensor | None, factor: Tensor, rows: Tensor | None) -> None:
    if gradient is None:
        return
    if rows is None:
        gradient.mul_(factor)
        return
    # In place and entry by entry: the same row may occur several times in an uncoalesced gradient.
    place = torch.searchsorted(rows, gradient._indices()[0].contiguous())
    gradient._values().mul_(factor[place])


def _last_layer(moment: Moment) -> tuple[str, ...]:
    matrices = [name for name, p in stepped(moment).items() if p.dim() > 1]
    if not matrices:
        return ()
    module, _, _ = matrices[-1].rpartition(".")
    return (module or matrices[-1],)
