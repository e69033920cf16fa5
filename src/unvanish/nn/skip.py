"""Gated skips without a branch of their own: around stretches of a Sequential, children as they were."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.derived import Derived, derived_class
from unvanish.nn.gated_residual import GatedResidual, Kind


class Skip(GatedResidual):
    """The gate of a skip alone, without its branch: ``skip(x, f(x))``.

    Kinds, gates and projection are those of :class:`unvanish.nn.GatedResidual`, of which this is
    what is left when the branch stays where it was; it is for :func:`unvanish.nn.extend_` and
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
            keep_inputs(self._given()[child])
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


def skipping_class(base: type[nn.Module]) -> type[nn.Module]:
    """The class with skips for a Sequential of class ``base``."""
    if base is nn.Sequential:
        return SkipSequential
    return derived_class(skipping_class, (), base, (SkipSequential,), f"Skip{base.__name__}")


def keep_inputs(module: nn.Module) -> None:
    """Set ``inplace`` to False on all modules within: a skip needs what came in."""
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.__dict__["inplace"] = False
