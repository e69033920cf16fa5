"""Arm: one side of a comparison, and copies of it for every seed."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from unvanish.errors import BadInput, UnvanishError
from unvanish.preserve import seeded
from unvanish.probe.observe import unwrapped
from unvanish.surgery.controls import Controls
from unvanish.surgery.edits import Edit
from unvanish.training.optimizer_copy import OptimizerFactory, copied_optimizer
from unvanish.trial.redraw import redraw

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
            BadInput: the model cannot be copied, or the optimizer is none over its parameters.
        """
        model = unwrapped(self.model)[0]
        if seed and self.edits and control is not None and remake is not None:
            base = copied_model(unwrapped(control.model)[0], control.label)
            redraw(base, seed)
            twin = remake(base, self.edits, seed)
        else:
            twin = copied_model(model, self.label)
            if seed:
                redraw(twin, seed)
        with seeded(seed):
            optimizer = self._optimizer_for(model, twin)
        if seed:
            _forget(optimizer, model, twin)
        return twin, optimizer

    def _optimizer_for(self, model: nn.Module, twin: nn.Module) -> torch.optim.Optimizer:
        if isinstance(self.optimizer, torch.optim.Optimizer):
            own = {id(p) for p in model.parameters()}
            held = [p for group in self.optimizer.param_groups for p in group["params"]]
            strange = sum(id(p) not in own for p in held)
            if strange:
                raise BadInput(
                    f"optimizer: {strange} of its {len(held)} tensors are no parameters of "
                    f"{self.label or 'the model'}: pass an optimizer over that model's parameters, "
                    "or a factory params -> Optimizer."
                )
        try:
            return copied_optimizer(self.optimizer, model, twin)
        except UnvanishError:
            raise
        except Exception as error:
            raise BadInput(f"optimizer cannot be copied: {error}.") from error


def _forget(optimizer: torch.optim.Optimizer, model: nn.Module, twin: nn.Module) -> None:
    """Momentum belongs to the values it was gathered at: drawn again, a parameter has none."""
    for old, new in zip(model.parameters(), twin.parameters(), strict=False):
        if not torch.equal(old.detach(), new.detach()):
            optimizer.state.pop(new, None)


def copied_model(model: nn.Module, label: str = "") -> nn.Module:
    """A copy without gradients.

    Raises:
        BadInput: copy.deepcopy refuses it.
    """
    try:
        twin = copy.deepcopy(model)
    except Exception as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise BadInput(
            f"{label or 'the model'} cannot be copied: {said[0].rstrip('.')}: a trial works on copies; "
            "keep tensors with a graph, locks and open files out of its attributes."
        ) from error
    for parameter in twin.parameters():
        parameter.grad = None
    return twin
