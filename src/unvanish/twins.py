"""Copies of a model, as ``copy.deepcopy`` makes them, in a fraction of its time.

Every module holds two dozen attributes, most of them empty containers for hooks, and
``copy.deepcopy`` takes each module apart by way of pickle. Modules that are copied attribute by
attribute anyway, as nearly all are, can be made directly; the rest goes through ``copy.deepcopy``.
"""

import copy
import copyreg
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar, cast

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Model = TypeVar("Model", bound=nn.Module)

_EMPTY: Final = (dict, OrderedDict, set)
_ATOMS: Final = (type(None), bool, int, float, str)


def twin_of(model: Model, known: dict[int, Any] | None = None) -> Model:
    """A deep copy of a model; tied parts stay tied in it.

    A result of a computation that the model keeps as an attribute (its last features, the weight
    that an old ``weight_norm`` makes) is a plain value in the copy.

    Args:
        model: the model.
        known: filled with what became of each object, by its id, as in ``copy.deepcopy``.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    >>> twin = twin_of(net)
    >>> twin[0].weight is net[0].weight, bool((twin[0].weight == net[0].weight).all())
    (False, True)
    """
    given = {} if known is None else known
    before = dict(given)
    try:
        return _copied(model, given)
    except RuntimeError:  # torch copies leaves only, and says so late
        given.clear()
        given.update(before)
        with _WithoutGraph():
            return _copied(model, given)


def _copied(model: Model, known: dict[int, Any]) -> Model:
    modules = list(model.modules())
    if all(_is_plain(kind) for kind in {type(module) for module in modules}):
        for module in modules:
            known[id(module)] = object.__new__(type(module))
        for module in reversed(modules):  # what is inside first
            _fill(known[id(module)], module, known)
    return copy.deepcopy(model, known)


class _WithoutGraph(TorchFunctionMode):
    """Copies the value of a tensor that has a graph behind it, which ``copy.deepcopy`` refuses."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and args[0].grad_fn is not None:
            tensor, known = args
            known[id(tensor)] = made = tensor.detach().clone()
            return made
        return func(*args, **(kwargs or {}))


def carry_hooks(model: nn.Module, twin: nn.Module) -> None:
    """Give a copy's parameters the hooks on gradients that torch leaves behind: masks, clamps.

    A copy that trains without them is another net. What runs when a gradient has been gathered
    (an optimizer inside the backward pass) stays where it is: it moves the parameters of the model.
    """
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        hooks: Mapping[int, Any] | None = getattr(mine, "_backward_hooks", None)
        if theirs.requires_grad and not getattr(theirs, "_backward_hooks", None):
            for hook in list((hooks or {}).values()):
                theirs.register_hook(hook)


def _is_plain(kind: type[nn.Module]) -> bool:
    """Whether its copies are made empty and handed their state, as ``object`` has it."""
    inherited = (
        kind.__new__ is object.__new__
        and kind.__reduce__ is object.__reduce__
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind not in copyreg.dispatch_table
    )
    own = ("__deepcopy__", "__getnewargs__", "__getnewargs_ex__", "__slots__")
    return inherited and not any(hasattr(kind, name) for name in own)


def _fill(twin: nn.Module, module: nn.Module, known: dict[int, Any]) -> None:
    given: Any = cast(Any, module).__getstate__()
    if type(given) is not dict:
        twin.__setstate__(copy.deepcopy(given, known))
        return
    state: dict[str, Any] = {}
    for name, value in cast(dict[str, Any], given).items():
        kind = type(value)
        if kind in _ATOMS:
            state[name] = value
        elif kind in _EMPTY and not value and id(value) not in known:
            state[name] = known[id(value)] = kind()
        else:
            state[name] = copy.deepcopy(value, known)
    twin.__setstate__(state)
