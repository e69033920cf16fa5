"""Replace a module by another one, wherever it stands; recurrent nets by gated ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from unvanish.errors import BadInput, CannotCut
from unvanish.surgery.edits import Edit, Part, Scalar
from unvanish.surgery.places import exchange, fitted, module_at, parent_of, stop_shortcuts

_HOOKS = (
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_is_full_backward_hook",
)


def replace(model: nn.Module, edit: Edit) -> nn.Module:
    """The model with the modules at ``where`` replaced; a new object where it was all replaced.

    One instance that stands at several places gives way at all of them. A function that a module
    holds as an attribute (``self.act = F.relu``) can be replaced, too.

    Raises:
        CannotCut: there is no such module.
    """
    if edit.part is None:
        raise BadInput("a replacement needs a part.")
    functions = [path for path in edit.where if _holds_function(model, path)]
    for path in functions:
        parent, name = parent_of(path)
        holder = module_at(model, parent)
        part = fitted(model, path, edit.part.build(), holder.training)
        stop_shortcuts(model, parent)
        setattr(holder, name, part)
    places = {path: module_at(model, path) for path in edit.where if path not in functions}
    first = {id(module): path for path, module in reversed(places.items())}
    for path, old in places.items():
        if first[id(old)] != path:
            continue
        new = fitted(model, path, edit.part.build(), old.training)
        inherit(old, new)
        if old is model:
            model = new
            continue
        stop_shortcuts(model, path)
        exchange(model, old, new)
    return model


@torch.no_grad()
def inherit(old: nn.Module, new: nn.Module) -> None:
    """Give a new module the hooks of the old one, and its parameters of the same name and shape.

    They are the very same parameters: tied ones stay tied, an optimizer's state stays theirs.
    """
    mine = dict(new.named_parameters(remove_duplicate=False))
    for name, parameter in old.named_parameters(remove_duplicate=False):
        if name in mine and mine[name].shape == parameter.shape:
            path, last = parent_of(name)
            new.get_submodule(path)._parameters[last] = parameter
    buffers = dict(new.named_buffers(remove_duplicate=False))
    for name, buffer in old.named_buffers(remove_duplicate=False):
        if name in buffers and buffers[name].shape == buffer.shape:
            buffers[name].copy_(buffer)
    for hooks in _HOOKS:
        if vars(old).get(hooks):
            vars(new)[hooks] = vars(old)[hooks]
    if isinstance(new, nn.RNNBase):
        new._init_flat_weights()


def recurrent_part(module: nn.Module, kind: str) -> Part:
    """The gated net that can stand where a simple one stands: ``"LSTM"`` or ``"GRU"``.

    Sizes, layers, directions, dropout and layout are those of the module. An LSTM in the place of
    an ``nn.RNN`` gives one state tensor, as an RNN does (:class:`unvanish.nn.LSTMLikeRNN`).

    Raises:
        CannotCut: the module is no simple recurrent net, or an ``nn.RNNCell`` for which an LSTM is
            wanted: its loop hands on one tensor, and an LSTM needs two.

    >>> part = recurrent_part(nn.RNN(3, 8, batch_first=True), "LSTM")
    >>> part.type, part.arguments["batch_first"]
    ('unvanish.nn.LSTMLikeRNN', True)
    """
    if kind not in ("LSTM", "GRU"):
        raise BadInput(f"kind must be LSTM or GRU, not {kind!r}.")
    if isinstance(module, nn.RNNCell) and kind == "GRU":
        names: Mapping[str, Any] = vars(module)
        return Part(
            type="torch.nn.GRUCell",
            arguments={name: names[name] for name in ("input_size", "hidden_size", "bias")},
        )
    if not isinstance(module, nn.RNN):
        raise CannotCut(
            f"{type(module).__name__} cannot be replaced by {kind} with the same interface: that "
            "is done for torch.nn.RNN, and for torch.nn.RNNCell by GRU."
        )
    arguments: dict[str, Scalar | Part] = {
        "input_size": module.input_size,
        "hidden_size": module.hidden_size,
        "num_layers": module.num_layers,
        "bias": module.bias,
        "batch_first": module.batch_first,
        "dropout": float(module.dropout),
        "bidirectional": module.bidirectional,
    }
    return Part(
        type="torch.nn.GRU" if kind == "GRU" else "unvanish.nn.LSTMLikeRNN", arguments=arguments
    )


def _holds_function(model: nn.Module, path: str) -> bool:
    parent, name = parent_of(path)
    try:
        holder = model.get_submodule(parent)
    except AttributeError:
        return False
    value = vars(holder).get(name)
    return callable(value) and not isinstance(value, nn.Module)
