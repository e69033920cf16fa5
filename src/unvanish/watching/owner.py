"""Which model an optimizer trains, found among all that lives."""

import gc
import weakref
from collections.abc import Iterable
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

Kind = TypeVar("Kind")


def owner_of(optimizer: torch.optim.Optimizer, forgotten: Iterable[Tensor] = ()) -> nn.Module:
    """The outermost living module that owns all parameters of an optimizer and trains no others.

    What is frozen around them (the base of an adapter, a backbone) belongs to the same model, and so
    do ``forgotten`` parameters. Where no single module owns all, the largest owners side by side, in
    a module that is never called.
    """
    wanted = _held_by(optimizer)
    ours = wanted | {id(parameter) for parameter in forgotten}
    owned: list[tuple[int, int, nn.Module]] = []
    for module in _living(nn.Module):
        own = {id(parameter) for parameter in module.parameters()}
        if own & wanted:
            others = {id(p) for p in module.parameters() if p.requires_grad} - ours
            owned.append((len(own & wanted), len(others) + len(own & wanted), module))
    if not owned:
        return nn.ParameterList()
    most = max(covers for covers, _, _ in owned)
    if most == len(wanted):
        # Of those that own no more than they must the outermost: it is the one that is called.
        size = min(size for covers, size, _ in owned if covers == most)
        smallest = [m for covers, s, m in owned if covers == most and s == size]
        return max(smallest, key=lambda module: sum(1 for _ in module.modules()))
    return _side_by_side(sorted(owned, key=lambda one: (-one[0], one[1])), wanted)


def _side_by_side(owned: list[tuple[int, int, nn.Module]], wanted: set[int]) -> nn.Module:
    left = set(wanted)
    together: dict[str, nn.Module] = {}
    for _, _, module in owned:
        own = {id(parameter) for parameter in module.parameters()}
        if own & left:
            name = type(module).__name__.lower()
            taken = sum(1 for key in together if key.rstrip("0123456789") == name)
            together[f"{name}{taken + 1}" if taken else name] = module
            left -= own
    return nn.ModuleDict(together)


def forgotten_by(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Parameters with a gradient, beside those of an optimizer in one model, that none holds."""
    wanted = _held_by(optimizer)
    held = {key for one in _living(torch.optim.Optimizer) for key in _held_by(one)}
    found: dict[int, Tensor] = {}
    for module in _living(nn.Module):
        own = {id(parameter): parameter for parameter in module.parameters()}
        if wanted <= own.keys():
            left = {key: p for key, p in own.items() if key not in held and p.grad is not None}
            found.update(left)
    return list(found.values())


class Doubt:
    """Whether gradients that nobody steps with are of this training, or an earlier one left them.

    Made at one step, asked at the next: what an earlier training left has not changed.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, forgotten: list[Tensor]) -> None:
        self._optimizer = weakref.ref(optimizer)
        self.forgotten = forgotten
        self._one = min(forgotten, key=lambda parameter: parameter.numel())
        self._gradient = self._one.grad
        self._version = self._gradient._version if self._gradient is not None else 0

    def is_about(self, optimizer: torch.optim.Optimizer) -> bool:
        """Whether it was this optimizer's."""
        return self._optimizer() is optimizer

    def confirmed(self) -> bool:
        """Whether another gradient came since."""
        now = self._one.grad
        if now is None or (now is self._gradient and now._version == self._version):
            return False
        return now.is_sparse or bool(now.any())  # cleared with the rest, and never written again


def _held_by(optimizer: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimizer.param_groups for p in cast(list[Tensor], group["params"])}


def _living(kind: type[Kind]) -> list[Kind]:
    """Every object of a kind that was made to its end."""
    needed = "_parameters" if issubclass(kind, nn.Module) else "param_groups"
    found: list[Kind] = []
    for thing in gc.get_objects():
        # type() and not isinstance(): lazy proxies answer isinstance by importing what they stand for.
        if issubclass(type(thing), kind) and needed in thing.__dict__:
            found.append(thing)
    return found
