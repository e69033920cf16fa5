"""The user's optimizer over the parameters of a copy: the original is never stepped."""

import copy
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.twins import twin_of

OptimizerFactory = Callable[[Iterable[Tensor]], torch.optim.Optimizer]


def copied_optimizer(
    optimizer: torch.optim.Optimizer | OptimizerFactory | None, model: nn.Module, twin: nn.Module
) -> torch.optim.Optimizer:
    """The user's optimizer over the parameters of a copy: same class, groups, options and state.

    Raises:
        BadInput: ``optimizer`` is neither an optimizer nor a factory.
    """
    if optimizer is None:
        return torch.optim.Adam([p for p in twin.parameters() if p.requires_grad])
    if not isinstance(optimizer, torch.optim.Optimizer):
        made = cast(Any, optimizer([p for p in twin.parameters() if p.requires_grad]))
        if not isinstance(made, torch.optim.Optimizer):
            raise BadInput(
                f"optimizer: the factory returned {type(made).__name__}, not a torch.optim.Optimizer."
            )
        return made
    # deepcopy keeps identity within one call: giving it both keeps them together.
    memo: dict[int, Tensor] = {
        id(p): q for p, q in zip(model.parameters(), twin.parameters(), strict=True)
    }
    made = copy.deepcopy(optimizer, cast(dict[int, Any], memo))
    complete(made, optimizer, memo)
    return made


def over_a_copy(
    factory: OptimizerFactory, model: nn.Module
) -> tuple[torch.optim.Optimizer, nn.Module]:
    """What a factory makes over the parameters of a copy, and that copy.

    Raises:
        BadInput: the factory makes no optimizer.
    """
    twin = twin_of(model)
    return copied_optimizer(factory, twin, twin), twin


def hand_over(optimizer: torch.optim.Optimizer, model: nn.Module, twin: nn.Module) -> None:
    """Let an optimizer that a step reaches by itself hold the copy's parameters for the model's.

    With copies of what it remembers of them. Only inside of :func:`unvanish.training.reached.kept`,
    which gives it back as it was.
    """
    mates: dict[int, Tensor] = {
        id(p): q for p, q in zip(model.parameters(), twin.parameters(), strict=True)
    }
    for group in optimizer.param_groups:
        for tensor in cast(list[Tensor], group["params"]):
            if id(tensor) in mates and tensor in optimizer.state:
                optimizer.state[mates[id(tensor)]] = copy.deepcopy(optimizer.state.pop(tensor))
        group["params"] = [mates.get(id(t), t) for t in cast(list[Tensor], group["params"])]


def check_optimizer(optimizer: Any) -> None:
    """Refuse what is neither an optimizer nor a factory of one.

    Raises:
        BadInput: it is something else.
    """
    if optimizer is None or isinstance(optimizer, torch.optim.Optimizer) or callable(optimizer):
        return
    raise BadInput(
        "optimizer must be a torch.optim.Optimizer over the model's parameters or a factory "
        f"params -> Optimizer, got {type(optimizer).__name__}."
    )


def set_options(optimizer: torch.optim.Optimizer, rate: float, decay: bool, momentum: bool) -> None:
    """Change a copy: every learning rate times ``rate``, with or without decay and momentum."""
    for group in optimizer.param_groups:
        group["lr"] = group["lr"] * rate
        if not decay and "weight_decay" in group:
            group["weight_decay"] = 0.0
        if not momentum and "momentum" in group:
            group["momentum"], group["nesterov"] = 0.0, False
        if not momentum and isinstance(group.get("betas"), tuple):
            group["betas"] = (0.0, *group["betas"][1:])


def lift(optimizer: torch.optim.Optimizer, tensors: Iterable[Tensor]) -> None:
    """Change a copy: groups that hold one of these tensors get the largest rate of all groups."""
    lifted = {id(tensor) for tensor in tensors}
    largest = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        if not lifted.isdisjoint(map(id, group["params"])):
            group["lr"] = largest


def begin_anew(optimizer: torch.optim.Optimizer) -> None:
    """Change a copy: it remembers nothing of the steps that were taken before."""
    optimizer.state = defaultdict(dict[str, Any])
    made = type(optimizer)
    if made.__module__.startswith("torch.optim."):
        # Some fill their state as they are made (Adagrad).
        asked = inspect.signature(made).parameters
        options = {name: value for name, value in optimizer.defaults.items() if name in asked}
        groups = [dict(group) for group in optimizer.param_groups]
        optimizer.state = made(groups, **options).state


def asks_for_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its step has to be given a function that takes the loss again (LBFGS)."""
    asked = inspect.signature(type(optimizer).step).parameters.get("closure")
    return asked is not None and asked.default is inspect.Parameter.empty


def stand_in(
    optimizer: torch.optim.Optimizer | OptimizerFactory, model: nn.Module, twin: nn.Module
) -> torch.optim.Optimizer:
    """An optimizer with the user's settings over a copy's parameters and without any history.

    Cheap: no tensor is copied. ``twin`` may be the model itself.
    """
    if not isinstance(optimizer, torch.optim.Optimizer):
        return copied_optimizer(optimizer, model, twin)
    mates: dict[int, Tensor] = {
        id(p): q for p, q in zip(model.parameters(), twin.parameters(), strict=True)
    }
    made = copy.copy(optimizer)
    made.state = defaultdict(dict[str, Any])
    made.param_groups = [
        {**group, "params": [mates.get(id(p), p) for p in cast(list[Tensor], group["params"])]}
        for group in optimizer.param_groups
    ]
    complete(made, optimizer, mates)
    return made


def complete(
    made: torch.optim.Optimizer, original: torch.optim.Optimizer, mates: dict[int, Tensor]
) -> None:
    """Give a copy what torch leaves out: what the optimizer remembers of its own, other optimizers too.

    LBFGS has its own list of parameters. That list is the one of its group, and stays so: what joins
    the group is in it, too. What is no data (a method that a scheduler wrapped around the original)
    is left out, as it would act on the original.
    """
    groups = zip(original.param_groups, made.param_groups, strict=True)
    # One memo: what is shared, a group by two optimizers, stays shared.
    memo: dict[int, Any] = {
        **mates,
        **{id(old): new for old, new in groups},
        id(original): made,
        id(original.param_groups): made.param_groups,
        id(original.state): made.state,
    }
    own = original.param_groups[0]["params"]
    for name, value in vars(original).items():
        if name in vars(made):
            continue
        if value is own:
            setattr(made, name, made.param_groups[0]["params"])
        elif _is_data(value):
            setattr(made, name, copy.deepcopy(value, memo))
            for inner in _optimizers_in(value):
                complete(memo[id(inner)], inner, mates)


def _is_data(value: Any) -> bool:
    """Whether it holds tensors, numbers, words and optimizers alone."""
    if isinstance(value, Mapping):
        pairs = cast(Mapping[Any, Any], value).items()
        return all(_is_data(key) and _is_data(item) for key, item in pairs)
    if isinstance(value, list | tuple | set):
        return all(map(_is_data, cast(Iterable[Any], value)))
    if isinstance(value, Tensor):
        return value.is_leaf
    plain = int | float | str | torch.device | torch.dtype | torch.optim.Optimizer | None
    return isinstance(value, plain)


def _optimizers_in(value: Any) -> list[torch.optim.Optimizer]:
    if isinstance(value, torch.optim.Optimizer):
        return [value]
    held = value.values() if isinstance(value, Mapping) else value
    inside = cast(Iterable[Any], held) if isinstance(value, Mapping | list | tuple) else ()
    return [item for item in inside if isinstance(item, torch.optim.Optimizer)]
