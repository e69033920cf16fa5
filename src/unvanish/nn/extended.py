"""A module with parts put before, behind or around it: all its own names stay as they are."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Literal, cast

from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.derived import Derived, derived_class
from unvanish.nn.gated_residual import GatedResidual, Kind

Place = Literal["before", "behind", "around"]


class Skip(GatedResidual):
    """The gate of a skip alone, without its branch: ``skip(x, f(x))``.

    Kinds, gates and projection are those of :class:`unvanish.nn.GatedResidual`, of which this is
    what is left when the branch stays where it was; it is for :func:`extend_` and
    :class:`SkipSequential`.
    """

    def __init__(
        self,
        kind: Kind = "rezero",
        *,
        channels: int | None = None,
        channel_axis: int = -1,
        depth: int | None = None,
        gate_start: float | None = None,
        projection: nn.Module | None = None,
    ) -> None:
        super().__init__(
            nn.Identity(),
            kind,
            channels=channels,
            channel_axis=channel_axis,
            depth=depth,
            gate_start=gate_start,
            projection=projection,
        )
        del self.branch

    def forward(self, x: Tensor, made: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """``x + gate * made``, or what the kind says."""
        return self.join(x, made)


class Extended(Derived):
    """What :func:`extend_` makes of a module: parts are called before, behind or around it.

    The parts are children with names of their own, called in the order in which they came: the
    first is nearest to the module. The first argument is the signal; of an output of several
    parts the first is it (attention, recurrent nets).
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
        signal = arguments[0] if arguments else next(iter(named.values()))
        return _changed(made, functools.partial(part, signal))


class OwnChildren(nn.Sequential):
    """A Sequential that counts and runs the children it was given, not the parts added to it."""

    def _given(self) -> dict[str, nn.Module]:
        added = {name for _, name in self.__dict__.get("_extensions", ())} | {"skips"}
        return {name: child for name, child in self._modules.items() if name not in added and child}

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._given().values())

    def __len__(self) -> int:
        return len(self._given())

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self._given().items())[index]))
        return list(self)[index]


class SkipSequential(OwnChildren, Derived):  # pyright: ignore[reportIncompatibleVariableOverride]
    """``torch.nn.Sequential`` with gated skips around stretches of its children.

    The children keep their names, so that a ``state_dict`` of the plain Sequential loads into it
    (``strict=False``: the gates are new). With ``rezero`` it computes exactly what the plain one
    makes of the skip alone: the stretch is the identity until its gate opens.

    What writes into its own input would spoil the skip: ``inplace`` of every module in a stretch is
    set to False. It harms where a child's own code writes into its input (``x.relu_()``).

    >>> import torch
    >>> net = SkipSequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))
    >>> net.add_skip("0", "2", Skip("rezero"))
    '0_to_2'
    >>> x = torch.randn(2, 4)
    >>> bool((net(x) == x).all()), len(net), sorted(net.state_dict())[-1]
    (True, 3, 'skips.0_to_2.gate')
    """

    def add_skip(self, first: str, last: str, skip: Skip) -> str:
        """Lead the input of one child around to the output of a later one; its name in ``skips``.

        Raises:
            BadInput: there is no such stretch.
        """
        names = list(self._given())
        if not (first in names and last in names and names.index(first) <= names.index(last)):
            raise BadInput(f"{first!r} to {last!r} is no stretch of children: there are {names}")
        stretches = self._stretches()
        if "skips" not in self._modules:
            self.skips = nn.ModuleDict()
        for child in names[names.index(first) : names.index(last) + 1]:
            _keep_inputs(self._given()[child])
        name, number = f"{first}_to_{last}", 2
        while name in stretches:
            name, number = f"{first}_to_{last}_{number}", number + 1
        self.skips[name] = skip
        self._skipped = {**stretches, name: (first, last)}
        return name

    def _stretches(self) -> dict[str, tuple[str, str]]:
        return self.__dict__.get("_skipped", {})

    def forward(self, input: Any) -> Any:
        """All children in order, with the skips around them."""
        stretches = self._stretches()
        held: dict[str, Any] = {}
        for name, child in self._given().items():
            held |= {skip: input for skip, ends in stretches.items() if ends[0] == name}
            input = child(input)
            # The stretch that began last lies innermost.
            for skip in [key for key in reversed(held) if stretches[key][1] == name]:
                input = self.skips[skip](held.pop(skip), input)
        return input


def extend_(module: nn.Module, part: nn.Module, place: Place, name: str) -> str:
    """Put a part before, behind or around a module, in place; returns the name it has there.

    Args:
        module: any module that has a forward; its class is derived from, its object stays.
        part: a module of one tensor; for ``"around"`` a :class:`Skip`.
        place: where the part goes, outside of what was put there earlier.
        name: what the part is called if the module has nothing of this name; else with a number.

    Raises:
        BadInput: the module is a container that is never called.

    >>> import torch
    >>> layer = nn.Linear(4, 4)
    >>> extend_(layer, nn.LayerNorm(4), "behind", "norm"), list(layer.state_dict())
    ('norm', ['weight', 'bias', 'norm.weight', 'norm.bias'])
    """
    if isinstance(module, nn.ModuleList | nn.ModuleDict | nn.ParameterList | nn.ParameterDict):
        raise BadInput(f"{type(module).__name__} is never called: extend what is in it")
    if not isinstance(module, Extended):
        module.__class__ = extended_class(type(module))
        cast(Extended, module)._extensions = []
    if place == "around":
        _keep_inputs(module)
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


def skipping_class(base: type[nn.Module]) -> type[nn.Module]:
    """The class that :func:`skip_sequential_` gives to a Sequential of class ``base``."""
    if base is nn.Sequential:
        return SkipSequential
    return derived_class(skipping_class, (), base, (SkipSequential,), f"Skip{base.__name__}")


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


def _keep_inputs(module: nn.Module) -> None:
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.__dict__["inplace"] = False


def _with_signal(
    part: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if arguments:
        return (part(arguments[0]), *arguments[1:]), named
    if not named:
        raise BadInput("a module that is called without arguments has no signal to work on")
    first = next(iter(named))
    return arguments, {**named, first: part(named[first])}


def _changed(made: Any, change: Any) -> Any:
    if isinstance(made, Tensor):
        return change(made)
    if isinstance(made, tuple) and made and isinstance(made[0], Tensor):
        parts = cast(tuple[Any, ...], made)
        rest = (change(parts[0]), *parts[1:])
        return type(made)(*rest) if hasattr(made, "_fields") else rest
    raise BadInput(
        f"the output is {type(made).__name__}: nothing can be put behind or around what gives "
        "no tensor first; extend what is inside of it"
    )
