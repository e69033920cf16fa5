"""A module with parts put before, behind or around it: all its own names stay as they are."""

import copy
import functools
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, cast, get_args

from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.derived import Derived, derived_class
from unvanish.nn.skip import OwnChildren, SkipSequential, keep_inputs, skipping_class

Place = Literal["before", "behind", "around"]


class Extended(Derived):
    """What :func:`extend_` makes of a module: parts are called before, behind or around it.

    The parts are children with names of their own, called in the order in which they came: the
    first is nearest to the module. The first argument is the signal; of an output of several
    parts the first is it (attention, recurrent nets, also with packed sequences).
    """

    _extensions: list[tuple[Place, str]]

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """The module's own forward, with its extensions."""
        return self._within(len(self._extensions), arguments, named)

    def _within(self, level: int, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if level == 0:
            return cast(Any, super()).forward(*arguments, **named)
        place, name = self._extensions[level - 1]
        part = self._modules[name]
        assert part is not None
        if place == "before":
            arguments, named = _with_signal(part, arguments, named)
            return self._within(level - 1, arguments, named)
        made = self._within(level - 1, arguments, named)
        if place == "behind":
            return _changed(made, part)
        signal = _signal(arguments[0] if arguments else next(iter(named.values()), None))
        return _changed(made, functools.partial(part, signal))


def extend_(module: nn.Module, part: nn.Module, place: Place, name: str) -> str:
    """Put a part before, behind or around a module, in place; returns the name it has there.

    Args:
        module: any module that has a forward; its class is derived from, its object stays.
        part: a module of one tensor; for ``"around"`` a :class:`Skip`.
        place: where the part goes, outside of what was put there earlier.
        name: what the part is called if the module has nothing of this name; else with a number.

    Raises:
        BadInput: the module is a container that is never called, the part is no module, or there
            is no such place.

    >>> import torch
    >>> layer = nn.Linear(4, 4)
    >>> extend_(layer, nn.LayerNorm(4), "behind", "norm"), list(layer.state_dict())
    ('norm', ['weight', 'bias', 'norm.weight', 'norm.bias'])
    """
    if isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
        raise BadInput(f"{type(module).__name__} is never called: extend what is in it")
    if not isinstance(cast(object, part), nn.Module):
        raise BadInput(f"part must be a module, not {part!r}")
    if place not in get_args(Place):
        raise BadInput(f"place must be one of {', '.join(get_args(Place))}, not {place!r}")
    if not isinstance(module, Extended):
        module.__class__ = extended_class(type(module))
        cast(Extended, module)._extensions = []
    if place == "around":
        keep_inputs(module)
    free, number = name, 2
    while hasattr(module, free):
        free, number = f"{name}_{number}", number + 1
    module.add_module(free, part)
    extended = cast(Extended, module)
    extended._extensions = [*extended._extensions, (place, free)]
    return free


def skip_sequential_(sequential: nn.Sequential) -> SkipSequential:
    """Make a Sequential one with skips, in place: the object, its children and names stay."""
    if not isinstance(sequential, SkipSequential):
        cast(nn.Module, sequential).__class__ = inside_extension(type(sequential), skipping_class)
    return cast(SkipSequential, sequential)


def extended_class(base: type[nn.Module]) -> type[nn.Module]:
    """The class that :func:`extend_` gives to a module of class ``base``."""
    mixins = (OwnChildren,) if issubclass(base, nn.Sequential) else ()
    return derived_class(extended_class, (), base, (Extended, *mixins), f"Extended{base.__name__}")


def inside_extension(
    base: type[nn.Module], change: Callable[[type[nn.Module]], type[nn.Module]]
) -> type[nn.Module]:
    """A class changed below its extensions, which stay outermost."""
    if not issubclass(base, Extended):
        return change(base)
    inner, steps = base._lineage
    for maker, arguments in steps:
        inner = inner if maker is extended_class else maker(inner, *arguments)
    return extended_class(change(inner))


def _with_signal(
    part: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if arguments:
        return (_changed(arguments[0], part), *arguments[1:]), named
    if not named:
        raise BadInput("a module that is called without arguments has no signal to work on")
    first = next(iter(named))
    return arguments, {**named, first: _changed(named[first], part)}


def _signal(value: Any) -> Any:
    while isinstance(value, tuple) and value:
        value = cast(tuple[Any, ...], value)[0]
    return value


def _changed(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """The value with its first tensor changed: of tuples, packed sequences, mappings."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and value and isinstance(_signal(value), Tensor):
        parts = cast(tuple[Any, ...], value)
        rest = (_changed(parts[0], change), *parts[1:])
        return type(value)(*rest) if hasattr(value, "_fields") else rest
    if isinstance(value, MutableMapping):
        fields = cast(MutableMapping[Any, Any], copy.copy(value))
        first = next(iter(fields), None)
        if isinstance(fields.get(first), Tensor):
            fields[first] = change(fields[first])
            return fields
    raise BadInput(
        f"{type(value).__name__} holds no tensor first: nothing can be put before, behind or "
        "around it; extend what is inside"
    )
