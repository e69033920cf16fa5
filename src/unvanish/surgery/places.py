"""Places in a model: the modules and parameters that an edit names, and what lies around them."""

from collections.abc import Iterator
from typing import Any, cast

from torch import Tensor, nn

from unvanish.errors import CannotCut


def module_at(model: nn.Module, path: str) -> nn.Module:
    """The module at a dotted path; ``""`` is the model.

    Raises:
        CannotCut: there is none.
    """
    try:
        return model.get_submodule(path)
    except AttributeError:
        near = _nearest(path, [name for name, _ in model.named_modules() if name])
        raise CannotCut(f"{path!r} is no module of the model{near}.") from None


def parameters_at(model: nn.Module, path: str) -> dict[str, nn.Parameter]:
    """The parameter of this name, or all parameters of the module of this name; tied ones once.

    Raises:
        CannotCut: the model has neither.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    if path in named:
        return {path: named[path]}
    modules = dict(model.named_modules(remove_duplicate=False))
    if path not in modules:
        raise CannotCut(f"{path!r} is no parameter or module of the model{_nearest(path, named)}.")
    prefix = f"{path}." if path else ""
    return {prefix + name: value for name, value in modules[path].named_parameters()}


def parent_of(path: str) -> tuple[str, str]:
    """The path of the module that holds this one, and the name it has there."""
    parent, _, name = path.rpartition(".")
    return parent, name


def exchange(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put a module in every place where another one is: children, attributes, lists of modules."""
    for holder in list(model.modules()):
        for name, child in list(holder._modules.items()):
            if child is old:
                holder._modules[name] = new
        for name, value in list(vars(holder).items()):
            if name not in ("_modules", "_parameters", "_buffers"):
                vars(holder)[name] = _exchanged(value, old, new)


def _exchanged(value: Any, old: nn.Module, new: nn.Module) -> Any:
    if value is old:
        return new
    if isinstance(value, list):
        listed = cast(list[Any], value)
        listed[:] = [new if item is old else item for item in listed]
    elif type(value) is dict:
        mapping = cast(dict[Any, Any], value)
        mapping.update({key: new for key, item in mapping.items() if item is old})
    elif type(value) is tuple:
        return tuple(new if item is old else item for item in cast(tuple[Any, ...], value))
    return value


def fitted(model: nn.Module, path: str, part: nn.Module, training: bool) -> nn.Module:
    """A new part with the dtype, the device and the mode of its surroundings.

    The dtype is that of the module at ``path``, or of the nearest floating parameter before it,
    or else behind it.
    """
    kin = _kin(model, path)
    if kin is not None:
        part = part.to(device=kin.device, dtype=kin.dtype)
    return part.train(training)


def _kin(model: nn.Module, path: str) -> Tensor | None:
    before: Tensor | None = None
    reached = False
    for name, module in model.named_modules(remove_duplicate=False):
        inside = name == path or name.startswith(f"{path}.") or not path
        reached = reached or inside
        for parameter in module.parameters(recurse=False):
            if parameter.is_floating_point():
                if reached and (inside or before is None):
                    return parameter
                before = before if reached else parameter
    return before


def stop_shortcuts(model: nn.Module, path: str) -> None:
    """Keep torch's transformer layers from reading weights past the modules that hold them.

    Their fused path in eval mode computes with the weights alone: parts put behind a linear layer
    would be left out silently. It is only taken where ``activation_relu_or_gelu`` says so.
    """
    for name in _ancestors(path):
        holder = model.get_submodule(name)
        if isinstance(holder, nn.TransformerEncoderLayer):
            holder.activation_relu_or_gelu = 0
        if isinstance(holder, nn.TransformerEncoder):
            holder.use_nested_tensor = False


def reads_past(model: nn.Module, path: str) -> str | None:
    """Who computes with the weights of this module without calling it, if torch is known to."""
    parent, name = parent_of(path)
    holder = model.get_submodule(parent) if path else None
    if isinstance(holder, nn.MultiheadAttention) and name == "out_proj":
        return "torch.nn.MultiheadAttention reads its weight and never calls it"
    return None


def _ancestors(path: str) -> Iterator[str]:
    parts = path.split(".") if path else []
    yield from (".".join(parts[:length]) for length in range(len(parts) + 1))


def _nearest(path: str, names: Any) -> str:
    last = path.rpartition(".")[2]
    close = [name for name in names if name.rpartition(".")[2] == last][:3]
    return f" (there is {', '.join(close)})" if close else ""
