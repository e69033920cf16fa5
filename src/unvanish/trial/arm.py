"""Arm: one side of a comparison, and copies of it for every seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from unvanish.errors import BadInput, UnvanishError
from unvanish.probe.compiled import unwrapped
from unvanish.randomness import seeded
from unvanish.surgery.controls import Controls
from unvanish.surgery.edits import Edit
from unvanish.training.optimizer_copy import OptimizerFactory, copied_optimizer
from unvanish.trial.redraw import redraw
from unvanish.twins import carry_hooks, twin_of

Control = Callable[[nn.Module, torch.optim.Optimizer], Any]
"""Called with model and optimizer before each step, when the gradients are there: clipping."""
Remake = Callable[[nn.Module, Sequence[Edit], int], nn.Module]
"""Edits made again on another model under a seed."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A model and how it is trained. Only copies of its parts are ever changed.

    Args:
        model: as it starts under seed 0.
        optimizer: over the parameters of ``model``, or a factory; ``None``: Adam.
        controls: what a step does besides backward and step (:class:`unvanish.surgery.Controls`), or a
            function called before each optimizer step; copied for each run, so that it may remember.
        edits: what made the model out of the control's. Under other seeds they are made again on
            another draw of the control; without edits the model's own weights are drawn again.
        label: what it is called in reports.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None
    controls: Controls | Control | None = None
    edits: Sequence[Edit] = ()
    label: str = ""

    def draw(
        self, seed: int, control: "Arm | None" = None, remake: Remake | None = None
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """A copy of model and optimizer under a seed: seed 0 is the model as it is.

        Args:
            seed: of the draw.
            control: whose model the edits are made on.
            remake: makes them; without it, or without edits, the model's own weights are drawn again.

        Raises:
            BadInput: the model or the optimizer cannot be copied.
        """
        model = unwrapped(self.model)[0]
        mates: dict[int, Any] = {}
        if seed and self.edits and control is not None and remake is not None:
            base = copied_model(unwrapped(control.model)[0], control.label)
            redraw(base, seed)
            twin = remake(base, self.edits, seed)
        else:
            twin = copied_model(model, self.label, mates)
            if seed:
                redraw(twin, seed)
        with seeded(seed):
            optimizer = self._optimizer_for(model, twin, mates)
        if seed:
            _forget(optimizer, model, twin)
        return twin, optimizer

    def _optimizer_for(
        self, model: nn.Module, twin: nn.Module, mates: Mapping[int, Any]
    ) -> torch.optim.Optimizer:
        """The optimizer over the twin. What it holds of other models stays a stranger there."""
        try:
            if not isinstance(self.optimizer, torch.optim.Optimizer):
                if not any(p.requires_grad for p in twin.parameters()):
                    return torch.optim.SGD([torch.zeros((), requires_grad=True)])  # moves nothing
                return copied_optimizer(self.optimizer, model, twin)
            if not mates:
                return copied_optimizer(self.optimizer, model, twin)
            # Parameters of modules that are not registered were copied along with the model too.
            held = [p for group in self.optimizer.param_groups for p in group["params"]]
            known = [p for p in held if isinstance(p, nn.Parameter) and id(p) in mates]
            there = nn.ParameterList([mates[id(p)] for p in known])
            return copied_optimizer(self.optimizer, nn.ParameterList(known), there)
        except UnvanishError:
            raise
        except Exception as error:
            raise BadInput(f"optimizer cannot be copied: {error}.") from error


def _forget(optimizer: torch.optim.Optimizer, model: nn.Module, twin: nn.Module) -> None:
    """Momentum belongs to the values it was gathered at: drawn again, a parameter has none."""
    for old, new in zip(model.parameters(), twin.parameters(), strict=False):
        if not torch.equal(old.detach(), new.detach()):
            optimizer.state.pop(new, None)


def copied_model(
    model: nn.Module, label: str = "", mates: dict[int, Any] | None = None
) -> nn.Module:
    """A copy without gradients; ``mates`` is filled with what became of each object, by its id.

    Raises:
        BadInput: copy.deepcopy refuses what it holds.
    """
    try:
        twin = twin_of(model, mates)
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInput(
            f"{label or 'the model'} cannot be copied: {said[0].rstrip('.')}: a trial works on copies; "
            "keep locks and open files out of its attributes."
        ) from error
    for parameter in twin.parameters():
        parameter.grad = None
    carry_hooks(model, twin)
    return twin
