"""How Python source names what lies in a model: ``model.blocks[3].norm.weight``."""

from collections.abc import Iterable, Sequence

from torch import nn


def place(root: str, model: nn.Module, name: str) -> str:
    """A module or parameter by its dotted name, below what the source calls the model.

    >>> place("net", nn.Sequential(nn.Linear(2, 2)), "0.weight")
    'net[0].weight'
    """
    written, holder = root, model
    for part in name.split(".") if name else ():
        children = holder._modules
        if isinstance(holder, nn.Sequential | nn.ModuleList) and part in children:
            if part == str(list(children).index(part)) and type(holder).__module__[:5] == "torch":
                written += f"[{part}]"
            else:
                written += f".get_submodule({part!r})"
        elif isinstance(holder, nn.ModuleDict) and part in children:
            written += f'["{part}"]'
        elif part.isidentifier():
            written += f".{part}"
        else:
            written += f".get_submodule({part!r})"
        child = children.get(part)
        holder = child if child is not None else nn.Module()
    return written


def parameters_in(model: nn.Module, names: Iterable[str]) -> list[str]:
    """The names of the parameters that these names of parameters and modules stand for."""
    known = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    return [
        name for name in known if any(name == n or not n or name.startswith(f"{n}.") for n in names)
    ]


def owner_of(model: nn.Module, names: Sequence[str]) -> str | None:
    """The module that holds exactly these parameters; None where no single one does."""
    wanted = set(names)
    for name, module in reversed(list(model.named_modules())):
        prefix = f"{name}." if name else ""
        held = {prefix + n for n, _ in module.named_parameters(remove_duplicate=False)}
        if held and held == wanted:
            return name
    return None
