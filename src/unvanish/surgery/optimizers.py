"""The user's optimizer over the treated model, with the edits that concern it."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput, CannotCut
from unvanish.probe.compiled import unwrapped
from unvanish.surgery.edits import Edit, Scalar
from unvanish.surgery.places import parameters_at
from unvanish.training.optimizer_copy import (
    OptimizerFactory,
    check_optimizer,
    complete,
    copied_optimizer,
)


def carried(
    optimizer: torch.optim.Optimizer | OptimizerFactory | None,
    model: nn.Module,
    treated: nn.Module,
    edits: Iterable[Edit] = (),
) -> torch.optim.Optimizer:
    """The optimizer for a treated model: same class, groups and options, state where it still holds.

    The state (moments, step counts) of a parameter goes along where name, shape and every value
    are the same in both models; where surgery gave new values, it starts over. A parameter that is
    new joins the group of its nearest kin: the parameter of the old net with the same name, else
    the one that shares most of its dotted name, preferring one of its own kind (matrices, or
    vectors and scalars), as that is how weight decay is usually kept off norms and biases. It
    gets that group's weight decay. Frozen parameters are not added.

    Args:
        optimizer: over the parameters of ``model``, or a factory, or ``None``: Adam as torch has it.
        model: as it was given to :func:`unvanish.surgery.apply`.
        treated: what came back.
        edits: of them, those with action ``"optimizer"`` are applied: ``lr``, ``lr_factor``,
            ``beta1``, ``beta2`` and any other option of its groups. With ``where`` (parameters or
            modules), these are added if they are in no group, and options hold for them alone.

    Raises:
        BadInput: it is no optimizer, or has no such option.
        CannotCut: an edit names no parameter of the treated model.
    """
    check_optimizer(optimizer)
    model, _ = unwrapped(model)
    made = (
        _moved(optimizer, model, treated)
        if isinstance(optimizer, torch.optim.Optimizer)
        else copied_optimizer(optimizer, treated, treated)
    )
    for edit in edits:
        if edit.action == "optimizer":
            _apply(made, treated, edit)
    return made


def _moved(
    optimizer: torch.optim.Optimizer, model: nn.Module, treated: nn.Module
) -> torch.optim.Optimizer:
    named = dict(treated.named_parameters(remove_duplicate=False))
    mates: dict[int, Tensor] = {}
    homes: dict[str, int] = {}
    gone: set[int] = set()
    for name, old in model.named_parameters(remove_duplicate=False):
        new = named.get(name)
        if new is not None and new.shape == old.shape:
            mates[id(old)] = new
        place = _group_of(optimizer, old)
        if place is not None:
            homes[name] = place
            gone.add(id(old))
    gone -= mates.keys()
    # What has no mate must not be copied with its state: it is dropped right below.
    memo: dict[int, Any] = {**mates, **{key: torch.empty(0) for key in gone}}
    made = copy.deepcopy(optimizer, memo)
    dropped = {id(memo[key]) for key in gone}
    for group in made.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in dropped]
    for old, new in _pairs(model, mates):
        if not torch.equal(old.detach(), new.detach()):
            made.state.pop(new, None)
    for key in list(made.state):
        if id(key) in dropped:
            del made.state[key]
    _join_new(made, model, named, homes)
    complete(made, optimizer, mates)
    if "_numel_cache" in vars(made):  # of LBFGS: it counts anew what has joined
        vars(made)["_numel_cache"] = None
    return made


def _pairs(model: nn.Module, mates: Mapping[int, Tensor]) -> list[tuple[Tensor, Tensor]]:
    return [(old, mates[id(old)]) for old in model.parameters() if id(old) in mates]


def _join_new(
    made: torch.optim.Optimizer,
    model: nn.Module,
    named: Mapping[str, Tensor],
    homes: Mapping[str, int],
) -> None:
    before = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in named.items():
        known = name in before and before[name].shape == parameter.shape
        left_out = name in before and name not in homes
        if known or left_out or not parameter.requires_grad:
            continue
        if _group_of(made, parameter) is None:
            _join(made, parameter, homes.get(name, _kin_group(name, parameter, named, homes)))


def kin_groups(
    optimizer: torch.optim.Optimizer, model: nn.Module, names: Iterable[str]
) -> dict[str, int]:
    """Of these parameters those that no group holds, each with the group of its nearest kin."""
    named = dict(model.named_parameters(remove_duplicate=False))
    homes = {n: g for n, p in named.items() if (g := _group_of(optimizer, p)) is not None}
    missing: dict[int, str] = {}
    for name in names:
        if name not in homes:
            missing.setdefault(id(named[name]), name)  # of a shared one its first name
    return {name: _kin_group(name, named[name], named, homes) for name in missing.values()}


def _kin_group(
    name: str, parameter: Tensor, named: Mapping[str, Tensor], homes: Mapping[str, int]
) -> int:
    def nearness(other: str) -> tuple[bool, int]:
        mine, theirs = name.split("."), other.split(".")
        shared = next(
            (i for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
            min(len(mine), len(theirs)),
        )
        alike = other in named and (named[other].dim() < 2) == (parameter.dim() < 2)
        return alike, shared

    return homes[max(homes, key=nearness)] if homes else 0


def _apply(made: torch.optim.Optimizer, treated: nn.Module, edit: Edit) -> None:
    if not edit.where:
        for group in made.param_groups:
            _set_options(group, edit.options)
        return
    found = {n: p for path in edit.where for n, p in parameters_at(treated, path).items()}
    if not found:
        raise CannotCut(f"{', '.join(edit.where)}: no parameters to give to the optimizer.")
    for name, place in kin_groups(made, treated, found).items():
        _join(made, found[name], place)
    if edit.options:
        _split(made, list(found.values()), edit.options)


def _split(
    made: torch.optim.Optimizer, chosen: list[nn.Parameter], options: Mapping[str, Scalar]
) -> None:
    """Groups of their own for these parameters, with their groups' options but for those given."""
    wanted = {id(parameter) for parameter in chosen}
    for group in list(made.param_groups):
        mine = [p for p in group["params"] if id(p) in wanted]
        if not mine:
            continue
        rest = [p for p in group["params"] if id(p) not in wanted]
        own = group if not rest else {**group, "params": mine}
        _set_options(own, options)
        if rest:
            group["params"] = rest
            made.param_groups.append(own)


def _set_options(group: dict[str, Any], options: Mapping[str, Scalar]) -> None:
    for name, value in options.items():
        if name == "lr_factor" and isinstance(value, int | float):
            group["lr"] = group["lr"] * value
        elif name in ("beta1", "beta2") and isinstance(group.get("betas"), tuple):
            first, second = group["betas"]
            group["betas"] = (value, second) if name == "beta1" else (first, value)
        elif name in group and name != "params":
            known = group[name]  # a rate may be a tensor, for compiled steps
            tensor = isinstance(known, Tensor)
            group[name] = torch.full_like(known, cast(float, value)) if tensor else value
        else:
            settings = ", ".join(sorted(set(group) - {"params"}))
            raise BadInput(f"the optimizer has no option {name!r}; it has {settings}.")


def _join(made: torch.optim.Optimizer, parameter: Tensor, place: int) -> None:
    made.param_groups[place]["params"].append(parameter)


def _group_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> int | None:
    for place, group in enumerate(optimizer.param_groups):
        if any(p is parameter for p in cast(list[Tensor], group["params"])):
            return place
    return None
