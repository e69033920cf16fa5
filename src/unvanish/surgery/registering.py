"""Layers and tensors that a module holds and does not own, made its children and parameters."""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from unvanish.errors import CannotCut
from unvanish.surgery.edits import Edit
from unvanish.surgery.places import module_at, parent_of


def register(model: nn.Module, edit: Edit) -> None:
    """Let the modules at ``where`` own what they hold in an attribute: ``("blocks.layers",)``.

    A list or tuple of modules becomes an ``nn.ModuleList``, a dictionary an ``nn.ModuleDict``, a
    tensor that requires grad an ``nn.Parameter``: the same modules with the same values, under the
    attribute's name.

    Raises:
        CannotCut: the attribute holds something else.
    """
    for path in edit.where:
        parent, name = parent_of(path)
        holder = module_at(model, parent)
        made = registered(vars(holder).get(name))
        if made is None:
            raise CannotCut(f"{path} holds no layers in a plain list or dictionary.")
        del vars(holder)[name]
        setattr(holder, name, made)


def registered(value: Any) -> nn.Module | nn.Parameter | None:
    """What torch registers in the place of a value; ``None``: there is no such thing.

    >>> registered([nn.Linear(2, 2), [nn.ReLU()]])
    ModuleList(
      (0): Linear(in_features=2, out_features=2, bias=True)
      (1): ModuleList(
        (0): ReLU()
      )
    )
    >>> registered([nn.ReLU(), 3]) is None
    True
    """
    if isinstance(value, nn.Module):
        return value
    if isinstance(value, Tensor):
        own = value.is_leaf and value.requires_grad and type(value) is Tensor
        return nn.Parameter(value.detach()) if own else None
    if type(value) is dict:
        named = cast(Mapping[Any, Any], value)
        fit = all(isinstance(key, str) and key and "." not in key for key in named)
        children = {key: registered(inner) for key, inner in named.items()} if fit else {}
        found = {key: one for key, one in children.items() if isinstance(one, nn.Module)}
        free = not any(hasattr(nn.ModuleDict, key) for key in found)  # of a method: no child's name
        return nn.ModuleDict(found) if found and free and len(found) == len(named) else None
    if type(value) not in (list, tuple):
        return None
    listed = [registered(inner) for inner in cast(list[Any], value)]
    modules = [one for one in listed if isinstance(one, nn.Module)]
    return nn.ModuleList(modules) if modules and len(modules) == len(listed) else None


def kind_of(made: nn.Module | nn.Parameter) -> str:
    """The dotted name of what a value is wrapped in."""
    return f"torch.nn.{type(made).__name__}"
