"""The control's optimizer over another model's parameters, matched by name."""

import copy
from collections import defaultdict
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput


def carried(
    optimizer: torch.optim.Optimizer, control: nn.Module, treated: nn.Module
) -> torch.optim.Optimizer:
    """An optimizer of the same kind and settings over the treated model.

    Parameters of the same name and shape keep their group and a copy of their state; those of the
    same name alone keep their group; what trains and is new joins the last group; what is gone goes.

    Raises:
        BadInput: none of its parameters is the control's.
    """
    names = {id(p): name for name, p in control.named_parameters()}
    there = dict(treated.named_parameters())
    made = copy.copy(optimizer)
    made.state = defaultdict(dict[str, Any])
    made.param_groups = []
    taken: set[int] = set()
    for group in optimizer.param_groups:
        own: list[Tensor] = []
        for old in cast(list[Tensor], group["params"]):
            new = there.get(names.get(id(old), ""))
            if new is None or id(new) in taken:
                continue
            own.append(new)
            taken.add(id(new))
            if old in optimizer.state and old.shape == new.shape:
                made.state[new] = copy.deepcopy(optimizer.state[old])
        made.param_groups.append({**group, "params": own})
    if not taken:
        raise BadInput(
            "optimizer: none of its parameters is in both models under one name: pass an optimizer "
            "over the control's parameters, or a factory params -> Optimizer."
        )
    new = [p for p in there.values() if p.requires_grad and id(p) not in taken]
    made.param_groups[-1]["params"] += new
    _listed(made)
    return made


def _listed(made: torch.optim.Optimizer) -> None:
    """LBFGS keeps a list and a count of its parameters beside the groups."""
    if hasattr(torch.optim, "LBFGS") and isinstance(made, torch.optim.LBFGS):
        made._params = made.param_groups[0]["params"]
        made._numel_cache = None
