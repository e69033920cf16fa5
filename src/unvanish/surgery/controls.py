"""What a training step does besides backward and step: clipping, clearing, loss scaling, warm-up."""

import math
from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from unvanish.clipping import percentile, unit_factors, unit_norms, whole_norm
from unvanish.errors import BadInput
from unvanish.surgery.edits import Edit, Scalar


class Controls:
    """The ``step`` edits as one object that a training loop calls twice a step.

    ===================  =====================================================================
    option               what is done
    ===================  =====================================================================
    ``zero_grad``        gradients are cleared before the backward pass
    ``loss_scale``       the loss times this factor; gradients divided by it (unless ``unscale``
                         is false) before anything else looks at them; a step with NaN or Inf
                         in them is left out
    ``clip_percentile``  the global norm is brought down to this percentile of all norms so
                         far, this one included (AutoClip: Seetharaman et al. 2020,
                         arXiv:2007.14469)
    ``clip_adaptive``    each output row's gradient is brought down to this share of the row's
                         weight norm, at least 1e-3 (AGC: Brock et al. 2021, arXiv:2102.06171);
                         ``clip_adaptive_leave`` names parameters or modules to leave alone,
                         with commas between (the paper leaves the last layer)
    ``clip_norm``        the global norm is brought down to this (Pascanu et al. 2013)
    ``warm_up``          the learning rates rise in equal parts over so many steps
    ===================  =====================================================================

    Clipping is done in this order. A loop with controls::

        loss = controls.before_backward(loss, optimizer)
        loss.backward()
        if controls.before_step(model, optimizer, step):
            optimizer.step()

    Called as ``controls(model, optimizer)`` it counts the steps itself. Gradients are divided by
    the scale only where :meth:`before_backward` has multiplied the loss by it.
    """

    def __init__(self, options: Mapping[str, Scalar]) -> None:
        for name in options:
            if name not in _OPTIONS:
                raise BadInput(f"{name!r} is nothing a step does: {', '.join(sorted(_OPTIONS))}.")
        self.options = dict(options)
        self.clip_norm = _positive(options, "clip_norm")
        self.clip_adaptive = _positive(options, "clip_adaptive")
        self.clip_percentile = _positive(options, "clip_percentile", most=100)
        self.loss_scale = _positive(options, "loss_scale")
        self.warm_up = _positive(options, "warm_up")
        self.zero_grad = bool(options.get("zero_grad", False))
        self.unscale = bool(options.get("unscale", True))
        left = options.get("clip_adaptive_leave") or ""
        self._left = tuple(name.strip() for name in str(left).split(",") if name.strip())
        self.norms: list[float] = []
        """Global gradient norms before clipping, one a step, where a percentile is asked for."""
        self._rates: dict[int, tuple[float, float]] = {}
        self._scaled = False
        self._steps = 0

    @classmethod
    def from_edits(cls, edits: Iterable[Edit]) -> "Controls":
        """The controls that these edits ask for; of one option, the last edit holds.

        Raises:
            BadInput: an option is unknown or its value impossible.
        """
        options: dict[str, Scalar] = {}
        for edit in edits:
            if edit.action == "step":
                options.update(edit.options)
        return cls(options)

    def before_backward(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> Tensor:
        """Clear gradients if that is asked for; the loss to call ``backward`` on."""
        if self.zero_grad:
            optimizer.zero_grad()
        self._scaled = self.loss_scale is not None
        return loss if self.loss_scale is None else loss * self.loss_scale

    def __call__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
        """:meth:`before_step`, the steps counted from the first call on."""
        self._steps += 1
        return self.before_step(model, optimizer, self._steps - 1)

    @torch.no_grad()
    def before_step(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> bool:
        """Gradients and rates as they should be for this step (counted from 0); whether to take it."""
        gradients = _gradients(optimizer)
        if self.loss_scale is not None and self._scaled:
            self._scaled = False
            for gradient in gradients if self.unscale else ():
                gradient.div_(self.loss_scale)
            if not all(bool(torch.isfinite(gradient).all()) for gradient in gradients):
                return False
        if self.clip_percentile is not None:
            self.norms.append(whole_norm(gradients))
            _shrink(gradients, percentile(sorted(self.norms), self.clip_percentile))
        if self.clip_adaptive is not None:
            self._clip_rows(model, optimizer, self.clip_adaptive)
        if self.clip_norm is not None:
            _shrink(gradients, self.clip_norm)
        if self.warm_up is not None:
            self._warm(optimizer, min(1.0, (step + 1) / self.warm_up))
        return True

    def _clip_rows(self, model: nn.Module, optimizer: torch.optim.Optimizer, share: float) -> None:
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            left = any(name == own or name.startswith(f"{own}.") for own in self._left)
            if gradient is None or gradient.is_sparse or left or id(parameter) not in stepped:
                continue
            gradient.mul_(unit_factors(unit_norms(gradient), unit_norms(parameter), share))

    def _warm(self, optimizer: torch.optim.Optimizer, factor: float) -> None:
        for place, group in enumerate(optimizer.param_groups):
            # A rate that somebody else has set since is the new one to rise to.
            full, ours = self._rates.get(place, (None, None))
            rate = float(group["lr"])
            full = rate if full is None or rate != ours else full
            group["lr"] = full * factor
            self._rates[place] = full, float(group["lr"])


_OPTIONS = frozenset(
    """zero_grad loss_scale clip_percentile clip_adaptive clip_adaptive_leave clip_norm warm_up unscale
    """.split()
)


def _gradients(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    found = [
        p.grad for group in optimizer.param_groups for p in cast(list[Tensor], group["params"])
    ]
    return [gradient for gradient in found if gradient is not None]


def _shrink(gradients: list[Tensor], most: float) -> None:
    norm = whole_norm(gradients)
    if norm > most:
        for gradient in gradients:
            gradient.mul_(most / norm)


def _positive(options: Mapping[str, Scalar], name: str, most: float = math.inf) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        above = "" if most == math.inf else f" and at most {most:g}"
        raise BadInput(f"{name} must be a number above 0{above}, not {value!r}.")
    if not math.isfinite(value):
        raise BadInput(f"{name} must be finite, not {value!r}.")
    return float(value)
