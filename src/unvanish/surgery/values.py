"""Edits of values: other initial values, scaled and filled parameters, attributes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish import init
from unvanish.batches import Forward, Loss
from unvanish.errors import BadInput, CannotCut
from unvanish.surgery.edits import Edit, Scalar
from unvanish.surgery.places import module_at, parameters_at

METHODS: Mapping[str, Callable[..., Any]] = {
    "critical_": init.critical_,
    "lsuv_": init.lsuv_,
    "xavier_": init.xavier_,
    "he_": init.he_,
    "orthogonal_": init.orthogonal_,
    "fixup_": init.fixup_,
}
_GATES = {nn.LSTM: 4, nn.LSTMCell: 4, nn.GRU: 3, nn.GRUCell: 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What an edit may run the model on. ``batch`` is ``None`` where nothing was given."""

    batch: Any
    loss: Loss | None
    forward: Forward | None
    seed: int


def initialise(model: nn.Module, edit: Edit, situation: Situation) -> None:
    """New values by one of :mod:`unvanish.init`; ``where`` or ``only`` says for which modules.

    Raises:
        BadInput: there is no such method, or no batch to look at.
    """
    options = dict(edit.options)
    name = str(options.pop("method", "critical_"))
    if name not in METHODS:
        raise BadInput(f"no method {name!r} of initialisation: {', '.join(METHODS)}.")
    if situation.batch is None or (situation.loss is None and situation.forward is None):
        raise BadInput(f"{name} looks at a batch: pass batch= and loss= (or forward=).")
    only = _names(options.pop("only", None)) or edit.where or None
    batch = situation.batch
    METHODS[name](
        model,
        tuple(cast(list[Any], batch)) if isinstance(batch, list) else batch,  # a list is batches
        situation.loss,
        situation.forward,
        only=only,
        leave=_names(options.pop("leave", None)),
        seed=situation.seed,
        **cast(dict[str, Any], options),
    )


@torch.no_grad()
def scale(model: nn.Module, edit: Edit) -> None:
    """Multiply parameters by options["factor"]; a module's name stands for all its parameters."""
    factor = edit.options.get("factor")
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not math.isfinite(factor):
        raise BadInput(f"a scale needs a finite factor, not {factor!r}.")
    for parameter in _parameters(model, edit).values():
        parameter.mul_(factor)


@torch.no_grad()
def fill(model: nn.Module, edit: Edit) -> None:
    """Set parameters to one number, or the biases of gates to what keeps them open.

    ``{"value": 0.0}``; of LSTM and GRU modules ``{"gate": "forget", "value": 1.0}`` (Jozefowicz et
    al. 2015: of a GRU the update gate, which keeps the state where it is open), or
    ``{"gate": "chrono", "steps": T}``: log U(1, T - 1), an LSTM's input gates the negative (Tallec
    and Ollivier 2018, arXiv:1804.11188, equation 16).

    Raises:
        CannotCut: the module has no such gates.
    """
    gate = edit.options.get("gate")
    if gate is None:
        value = _number(edit.options, "value")
        for parameter in _parameters(model, edit).values():
            parameter.fill_(value)
        return
    if gate not in ("forget", "chrono"):
        raise BadInput(f"gate must be forget or chrono, not {gate!r}.")
    for path in edit.where:
        module = module_at(model, path)
        gates = next((n for kind, n in _GATES.items() if isinstance(module, kind)), None)
        named = dict(module.named_parameters(recurse=False))
        biases = [name for name in named if name.startswith("bias_ih")]
        if gates is None or not biases:
            raise CannotCut(f"{path} is no LSTM or GRU with biases: it has no gates to set.")
        for name in biases:
            _open(named[name], named[name.replace("_ih", "_hh")], gates, edit.options)


def _open(bias: Tensor, other: Tensor, gates: int, options: Mapping[str, Scalar]) -> None:
    size = len(bias) // gates
    keep = slice(size, 2 * size)  # torch's order: input, FORGET, cell, output; reset, UPDATE, new
    other[keep] = 0.0
    if options["gate"] == "forget":
        bias[keep] = _number(options, "value")
        return
    steps = _number(options, "steps")
    if steps < 3:
        raise BadInput(f"chrono gates need three time steps or more, not {steps:g}.")
    lives = torch.empty_like(bias[keep], dtype=torch.float64).uniform_(1, steps - 1).log_()
    bias[keep] = lives.to(bias.dtype)
    if gates == 4:
        other[:size] = 0.0
        bias[:size] = -lives.to(bias.dtype)


def set_attributes(model: nn.Module, edit: Edit) -> None:
    """Attributes of modules (``eps``, ``momentum``, ``p``, ``norm_first``, ...) or parameters.

    ``requires_grad`` and ``training`` of a module hold for all that is inside; a parameter has
    ``requires_grad`` alone.

    Raises:
        CannotCut: there is no such attribute, or it is a tensor, a module or a method.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for path in edit.where:
        for name, value in edit.options.items():
            if path in parameters:
                if name != "requires_grad":
                    raise CannotCut(f"{path} is a parameter: requires_grad is all that can be set.")
                parameters[path].requires_grad_(bool(value))
            else:
                _set(model, path, name, value)


def _set(model: nn.Module, path: str, name: str, value: Scalar) -> None:
    module = module_at(model, path)
    if name == "requires_grad":
        module.requires_grad_(bool(value))
        return
    if name == "training":
        module.train(bool(value))
        return
    known = getattr(module, name, module)
    if isinstance(known, Tensor | nn.Module) or callable(known) or name.startswith("__"):
        raise CannotCut(f"{type(module).__name__} at {path or 'the root'} has no setting {name!r}.")
    setattr(module, name, value)
    if name == "norm_first":
        _without_nested_tensors(model, module)


def _without_nested_tensors(model: nn.Module, layer: nn.Module) -> None:
    """TransformerEncoder decides when it is built that its layers may take nested tensors."""
    for holder in model.modules():
        if isinstance(holder, nn.TransformerEncoder) and layer in list(holder.layers):
            holder.use_nested_tensor = False


def _parameters(model: nn.Module, edit: Edit) -> dict[int, nn.Parameter]:
    found = [p for path in edit.where for p in parameters_at(model, path).values()]
    return {id(parameter): parameter for parameter in found}


def _number(options: Mapping[str, Scalar], name: str) -> float:
    value = options.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"this edit needs a finite number {name}, not {value!r}.")
    return float(value)


def _names(given: Scalar) -> tuple[str, ...]:
    return (
        tuple(name.strip() for name in given.split(",")) if isinstance(given, str) and given else ()
    )
