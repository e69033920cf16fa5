"""What an optimizer is set to do, and with which parameters of the model: read, never stepped."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.training.plain_tensors import plain_tensors, unregistered_names

PROPORTIONAL = frozenset(("SGD", "ASGD"))
"""Optimizers whose step is proportional to the gradient. Others divide a constant away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterGroup:
    """One parameter group. A figure is ``None`` where the optimizer has no such option.

    ``initial_lr`` is written by learning-rate schedulers: the rate that they scale. ``momentum``
    and ``betas`` are as given; ``parameters`` are the model's names of its tensors.
    """

    lr: float | None
    initial_lr: float | None
    weight_decay: float | None
    eps: float | None
    momentum: float | None
    betas: tuple[float, ...]
    maximize: bool
    parameters: tuple[str, ...]

    @property
    def scheduled(self) -> bool:
        """Whether a scheduler holds the rate below a rate that it will return to, or came from."""
        return self.initial_lr is not None and self.lr is not None and self.lr < self.initial_lr


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerReading:
    """An optimizer seen from one model.

    ``missing`` are trainable parameters of the model in no group, ``duplicated`` those that are
    listed more than once, ``foreign`` counts tensors in the groups that are not the model's,
    ``elsewhere`` those of ``missing`` that another optimizer of the same training step holds.
    ``of_loss`` are trainable parameters of a loss module that none of them holds. Of the tensors
    that the model keeps without registering them, ``unregistered`` are those that one of them
    steps, ``plain`` those that are no parameters at all and that none of them holds.
    """

    name: str
    groups: tuple[ParameterGroup, ...]
    missing: tuple[str, ...]
    duplicated: tuple[str, ...]
    foreign: int
    elsewhere: tuple[str, ...] = ()
    of_loss: tuple[str, ...] = ()
    unregistered: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()

    def group_of(self, name: str) -> ParameterGroup | None:
        """The first group that holds the parameter of this name."""
        return next((group for group in self.groups if name in group.parameters), None)


def read_optimizer(
    optimizer: torch.optim.Optimizer,
    model: nn.Module,
    others: Iterable[torch.optim.Optimizer] = (),
    loss: object = None,
) -> OptimizerReading:
    """Read an optimizer's groups by the model's own parameter names; ``others`` step beside it.

    A ``loss`` that is a module may have parameters of its own (the class centres of a margin loss).

    >>> net = torch.nn.Linear(2, 2)
    >>> read_optimizer(torch.optim.SGD([net.weight], 0.1), net).missing
    ('bias',)
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimizer.param_groups
    every = [group for one in (optimizer, *others) for group in one.param_groups]
    held = [id(tensor) for group in groups for tensor in cast(list[Tensor], group["params"])]
    listed = set(held)
    known = {id(tensor) for group in every for tensor in group["params"]}
    aside = known - listed
    stepped = {id(t) for group in every if _has_rate(group) for t in group["params"]}
    beside = loss.named_parameters() if isinstance(loss, nn.Module) else ()
    twice = {identity for identity in listed if held.count(identity) > 1}
    return OptimizerReading(
        name=type(optimizer).__name__,
        groups=tuple(_group(group, names) for group in groups),
        missing=tuple(
            name
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and id(parameter) not in listed
        ),
        duplicated=tuple(name for identity, name in names.items() if identity in twice),
        foreign=len(listed - names.keys()),
        elsewhere=tuple(n for key, n in names.items() if key in aside),
        of_loss=tuple(
            name
            for name, parameter in beside
            if parameter.requires_grad and id(parameter) not in known and id(parameter) not in names
        ),
        unregistered=unregistered_names(model, stepped),
        plain=tuple(name for name, t in plain_tensors(model).items() if id(t) not in known),
    )


def _has_rate(group: dict[str, Any]) -> bool:
    """Whether it steps, or will once a scheduler lets it."""
    return group.get("lr") != 0 or bool(group.get("initial_lr"))


def _group(group: dict[str, Any], names: dict[int, str]) -> ParameterGroup:
    betas = group.get("betas")
    held = (names.get(id(tensor)) for tensor in cast(list[Tensor], group["params"]))
    return ParameterGroup(
        lr=_number(group.get("lr")),
        initial_lr=_number(group.get("initial_lr")),
        weight_decay=_number(group.get("weight_decay")),
        eps=_number(group.get("eps")),
        momentum=_number(group.get("momentum")),
        betas=tuple(
            value
            for beta in (cast(tuple[Any, ...], betas) if isinstance(betas, tuple | list) else ())
            if (value := _number(beta)) is not None
        ),
        maximize=group.get("maximize") is True,
        parameters=tuple(dict.fromkeys(name for name in held if name is not None)),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Tensor):
        return None
    if isinstance(value, Tensor) and value.numel() != 1:
        return None
    return float(value)
