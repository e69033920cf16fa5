"""Does the loss follow these parameters? Asked of the loss itself, whatever way the values went.

Autograd's graph shows tensors alone. A value that left it as a number of Python's may come back in
any form; whether it did, other values of the parameters tell.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import nn

from unvanish.signals import FLOAT32_RESOLUTION


def redraw(model: nn.Module, names: Iterable[str]) -> None:
    """Give these parameters other values: normal, of the size that they have (zeros: of size one)."""
    with torch.no_grad():
        for name in names:
            parameter = model.get_parameter(name)
            size = float(parameter.double().square().mean().sqrt()) or 1.0
            parameter.copy_(size * torch.randn(parameter.shape, dtype=torch.float64))


def follows(loss: Callable[[], float], change: Callable[[], None]) -> bool:
    """Whether a loss differs after a change by more than it does when it is asked twice.

    >>> held = [1.0]
    >>> follows(lambda: held[-1], lambda: None)
    False
    >>> follows(lambda: held[-1], lambda: held.append(2.0))
    True
    """
    first, again = loss(), loss()
    change()
    other = loss()
    if not math.isfinite(other):
        return math.isfinite(first)
    noise = abs(again - first) + FLOAT32_RESOLUTION * abs(first)
    # The largest of a few differences between repeats is not much larger than one of them.
    return abs(other - first) > 10 * noise
