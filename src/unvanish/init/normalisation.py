"""Norms start as the identity on a normalised signal; running statistics start over.

Where norms end more than a hundred residual branches, their weights take the factor that
:mod:`unvanish.init.branches` finds. It harms where the statistics were meant to stay; a norm whose
weights were trained is left alone.
"""

import torch

from unvanish.init.fresh import NORMS
from unvanish.init.report import Change
from unvanish.init.situation import Situation


@torch.no_grad()
def apply(situation: Situation) -> None:
    """Write weight, bias and running statistics of every norm that may change."""
    for path, module in situation.model.named_modules():
        if not isinstance(module, NORMS):
            continue
        names = [f"{path}.{n}" if path else n for n, _ in module.named_parameters(recurse=False)]
        if not names:
            if path in situation.norm_gains:
                situation.notes[path] = "its branch ends in a norm without weights"
            continue
        if situation.permitted.reason(names) is not None:
            continue
        gain = situation.norm_gains.get(path, 1.0)
        for name, value in module.named_parameters(recurse=False):
            value.fill_(gain if name == "weight" else 0.0)
        reset = getattr(module, "reset_running_stats", None)
        if callable(reset):
            reset()
        numbers = {} if gain == 1.0 else {"gain": gain}
        situation.changes.append(
            Change(module=path, method="norm", parameters=tuple(names), numbers=numbers)
        )
