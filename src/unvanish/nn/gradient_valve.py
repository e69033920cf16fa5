"""Keep the gradient's growth or decay through a block within bounds, and say by how much.

The gradient that training then sees is not the gradient of the loss. Nothing here is silent: the
scale that was applied comes back beside the gradient, as the gradient of ``meter``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput

Per = Literal["sample", "batch"]


@dataclass(frozen=True, slots=True)
class ValveReport:
    """What a valve did since the last report.

    ``passes`` counts gradients that came through (samples, where the valve works on each),
    ``changed`` those it rescaled. ``decades`` is the mean over all passes of log10 of the scale:
    add it back (with its sign turned) to get the true gradient's size.
    """

    passes: int
    changed: int
    decades: float


def _square(gradient: Tensor, per_sample: bool) -> Tensor:
    """Squared norm, over all or for each sample (axis 0), in float32 at least."""
    gradient = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
    return gradient.square().flatten(1).sum(1) if per_sample else gradient.square().sum()


class _Exit(torch.autograd.Function):
    """Identity at the end of a block; its backward sends the squared norm it meets to ``token``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(made: Tensor, token: Tensor, per_sample: bool) -> Tensor:
        return made.view_as(made)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.per_sample = inputs[2]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        return gradient, _square(gradient, ctx.per_sample), None


class _Entry(torch.autograd.Function):
    """Identity at the start of a block, with a zero ``token`` to carry the norm met at its end.

    Its backward holds norm(here) / norm(end) within the bounds; ``meter`` gets [passes, changed,
    sum of log10(scale)] as its gradient.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, meter: Tensor, low: float, high: float, per_sample: bool
    ) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(x.dtype, torch.float32)
        token = x.new_zeros(x.shape[:1] if per_sample else (), dtype=wide)
        return x.view_as(x), token

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, meter, ctx.low, ctx.high, ctx.per_sample = inputs
        ctx.meter_dtype = meter.dtype

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        gradient, end = gradients
        here = _square(gradient, ctx.per_sample)
        usable = (here > 0) & (end > 0) & torch.isfinite(here) & torch.isfinite(end)
        one = torch.ones_like(here)
        # Safe in the branch not taken as well: a second backward goes through both.
        ratio = torch.where(usable, here, one).sqrt() / torch.where(usable, end, one).sqrt()
        scale = ratio.clamp(ctx.low, ctx.high) / ratio
        changed = (ratio < ctx.low) | (ratio > ctx.high)
        scale = torch.where(usable & changed, scale, one)
        note = torch.stack((one.sum(), (usable & changed).to(one.dtype).sum(), scale.log10().sum()))
        shaped = scale.reshape(-1, *[1] * (gradient.ndim - 1)) if ctx.per_sample else scale
        passed = gradient * shaped.to(gradient.dtype)
        return passed, note.to(ctx.meter_dtype).detach(), None, None, None


class _Scale(torch.autograd.Function):
    """Identity; its backward multiplies by a constant and notes it in ``meter``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, meter: Tensor, factor: float) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        _, meter, ctx.factor = inputs
        ctx.meter_dtype = meter.dtype

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        decades = math.log10(ctx.factor)
        note = torch.tensor((1.0, float(ctx.factor != 1), decades), dtype=ctx.meter_dtype)
        return gradient * ctx.factor, note.to(gradient.device), None


class GradientValve(nn.Module):
    """A block whose gradient leaves it neither much larger nor much smaller than it came.

    Forward: exactly ``block(x)``. Backward: the gradient that leaves towards the input is rescaled
    where its norm over that of the gradient that arrived lies outside ``bounds``, to the nearer
    bound; inside, it is passed on untouched (event-triggered). A ratio is asked, not a size: the
    scale of the loss does not matter. The gradients of the block's own parameters are not touched
    (they see what arrived at the block's end). Without a block and with ``factor``, the gradient
    is multiplied by that constant.

    Every call of backward adds to ``meter.grad``; :meth:`report` reads it in decades and clears
    it. ``meter`` is no parameter: optimizers, ``zero_grad`` and the ``state_dict`` pass it by.

    Args:
        block: any module of one tensor into one tensor; ``None`` with ``factor``.
        bounds: lowest and highest ratio that is let through; (1, 1) is constant renormalisation
            at every step (backward gradient normalisation, Cabana 2021, arXiv:2106.09475).
        per: "batch" keeps the direction of the batch's gradient; "sample" (axis 0) does not.
        factor: a constant, positive, in place of bounds.

    It harms, and knowingly: the direction of the whole gradient is no longer that of the loss
    (layers are weighted anew; with "sample", samples too), so that line searches, second-order
    methods and gradient checks are misled; and whoever diagnoses the gradient must take the valve
    out first, or read its report. It does not mend a net: one whose *forward* signal is collapsed or
    chaotic gets gradients of the right size that say nothing, and Adam rescales each tensor anyway
    (measured in ``docs/nn.md``: within two points either
    way). It contains a gradient that overflows.

    >>> halving = nn.Linear(8, 8, bias=False)
    >>> _ = nn.init.eye_(halving.weight).data.mul_(0.5)
    >>> valve = GradientValve(halving, bounds=(0.9, 1.1))
    >>> x = torch.randn(4, 8, requires_grad=True)
    >>> valve(x).sum().backward()
    >>> valve.report(), x.grad[0, :2]  # doctest: +ELLIPSIS
    (ValveReport(passes=1, changed=1, decades=0.255...), tensor([0.9000, 0.9000]))
    """

    meter: Tensor

    def __init__(
        self,
        block: nn.Module | None = None,
        *,
        bounds: tuple[float, float] = (0.5, 2.0),
        per: Per = "batch",
        factor: float | None = None,
    ) -> None:
        super().__init__()
        if (block is None) == (factor is None):
            raise BadInput("pass a block to watch over, or a constant factor, and not both")
        if factor is not None and not 0 < factor < math.inf:
            raise BadInput(f"factor must be finite and positive, not {factor!r}")
        if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] < math.inf:
            raise BadInput(f"bounds must be two positive numbers in order, not {bounds!r}")
        if per not in get_args(Per):
            raise BadInput(f"per must be sample or batch, not {per!r}")
        self.block, self.bounds, self.per, self.factor = block, bounds, per, factor
        self.register_buffer("meter", torch.zeros(3).requires_grad_(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the block makes of ``x``."""
        if self.block is None:
            return _apply(_Scale, x, self.meter, self.factor)
        per_sample = self.per == "sample"
        inner, token = _apply(_Entry, x, self.meter, *self.bounds, per_sample)
        made = self.block(inner)
        if per_sample and made.shape[:1] != x.shape[:1]:
            raise BadInput('per="sample" asks for a block that keeps axis 0 of its input')
        return _apply(_Exit, made, token, per_sample)

    def report(self) -> ValveReport:
        """What was done since the last report; starts anew."""
        noted = self.meter.grad
        self.meter.grad = None
        if noted is None:
            return ValveReport(0, 0, 0.0)
        passes, changed, decades = noted.tolist()
        return ValveReport(round(passes), round(changed), decades / max(passes, 1.0))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "GradientValve":
        """Moves the meter, too, and keeps it a leaf (and in float32, whatever the model's)."""
        super()._apply(fn, recurse)
        self.meter = torch.zeros(3, device=self.meter.device).requires_grad_()
        return self

    def extra_repr(self) -> str:
        if self.factor is not None:
            return f"factor={self.factor}"
        return f"bounds={self.bounds}, per={self.per}"


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    return function.apply(*arguments)
