"""Where a learning-rate schedule leads: its schedulers are followed on copies, and never stepped."""

import copy
import gc
import warnings
from types import MethodType
from typing import Any, cast

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

AHEAD = 10_000
"""Rates that are looked at: a warm-up that stands still stands for an epoch at most."""


def rate_rises(optimizer: torch.optim.Optimizer) -> bool | None:
    """Whether a scheduler will raise a rate of this optimizer above what it is now.

    A warm-up will, and so will a cycle; a decay will not, whatever has come before. ``None``: no
    scheduler of it is alive, or one that cannot be followed.

    >>> optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], 0.1)
    >>> scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    >>> rate_rises(optimizer)
    False
    """
    found = [_will_rise(scheduler) for scheduler in _schedulers_of(optimizer)]
    if True in found:
        return True
    return False if found and None not in found else None


def _schedulers_of(optimizer: torch.optim.Optimizer) -> list[LRScheduler]:
    """Those that hold its groups: an optimizer does not know what schedules it."""
    groups = optimizer.param_groups
    # The type is asked, as an instance may be a proxy that loads something when it is.
    every = [cast(LRScheduler, o) for o in gc.get_objects() if issubclass(type(o), LRScheduler)]
    held = [(scheduler, vars(scheduler).get("optimizer")) for scheduler in every]
    return [s for s, holder in held if getattr(holder, "param_groups", None) is groups]


def _will_rise(scheduler: LRScheduler) -> bool | None:
    if isinstance(scheduler, ReduceLROnPlateau):
        return False
    stub = torch.optim.SGD([torch.zeros(())], lr=1.0)
    stub.param_groups = [
        {name: [] if name == "params" else copy.deepcopy(value) for name, value in group.items()}
        for group in scheduler.optimizer.param_groups
    ]
    now = _rates(stub)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            twin = _imitated(scheduler, stub)
            for _ in range(AHEAD // max(len(now), 1)):
                twin.step()
                if any(later > rate for later, rate in zip(_rates(stub), now, strict=True)):
                    return True
        except ValueError:
            return False  # there are no more steps to it (one cycle)
        except Exception:  # the user's own code, of which nothing else is needed
            return None
    return False


def _rates(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def _imitated(scheduler: LRScheduler, stub: torch.optim.Optimizer) -> LRScheduler:
    """One that schedules another optimizer from here on, and so do the schedulers in it."""

    def imitate(value: Any) -> Any:
        if isinstance(value, LRScheduler):
            return _imitated(value, stub)
        if isinstance(value, list | tuple):
            return type(cast(list[Any], value))(map(imitate, cast(list[Any], value)))
        return stub if value is scheduler.optimizer else value

    twin = object.__new__(type(scheduler))
    for name, value in vars(scheduler).items():
        if not (isinstance(value, MethodType) and value.__self__ is scheduler):
            vars(twin)[name] = imitate(value)
    return twin
