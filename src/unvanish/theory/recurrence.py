"""Recurrent nets: the same maps in time.

A plain recurrent cell h' = f(W h + U x + b) is a plain net whose layers share one matrix; what the
inputs add at every step plays the part of a bias. Wide cells with random W; the first-order view
that holds while steps are few against the width.
"""

import math
from typing import Any

from unvanish.errors import BadInput
from unvanish.theory.depths import checked_depth
from unvanish.theory.mean_field import MeanField


def time_gain(activation: Any, weight: float, steps: int, drive: float = 0.0) -> float:
    """log10 of the gradient norm ``steps`` steps back over that at the end.

    Args:
        activation: of the cell (``"tanh"``, ``"relu"``, any callable).
        weight: variance of a recurrent weight times the width of the cell.
        steps: how many steps back.
        drive: variance that the inputs and the bias add to a pre-activation in each step.

    >>> round(time_gain("relu", 1.0, 20), 3)
    -3.01
    """
    net = MeanField(activation=activation, weight=weight, bias=drive)
    factor = net.gradient_factor()
    return checked_depth(steps) * (math.log10(factor) / 2 if factor else -math.inf)


def cell_gain(forget_bias: float, steps: int) -> float:
    """log10 of what the cell path of an LSTM passes on over ``steps`` steps.

    f^steps with f = sigmoid(forget_bias): a lower bound, the other paths add to it
    (Jozefowicz et al. 2015). torch's default is a sum of two biases around zero.

    >>> round(cell_gain(0.0, 100), 1), round(cell_gain(1.0, 100), 1)
    (-30.1, -13.6)
    """
    return -checked_depth(steps) / cell_lifetime(forget_bias) / math.log(10)


def cell_lifetime(forget_bias: float) -> float:
    """Steps over which the cell path of an LSTM falls by a factor e: -1 / ln sigmoid(bias).

    >>> round(cell_lifetime(0.0), 2), round(cell_lifetime(1.0), 2)
    (1.44, 3.19)
    """
    closing = math.log1p(math.exp(-abs(forget_bias))) + max(-forget_bias, 0.0)
    return 1 / closing if closing else math.inf


def forget_bias_for(lifetime: float) -> float:
    """The forget bias whose cell path falls by e in this many steps; chrono's ln(T - 1).

    Tallec and Ollivier 2018 (arXiv:1804.11188) to leading order.

    >>> round(cell_lifetime(forget_bias_for(500.0)), 6)
    500.0
    """
    if not 0 < lifetime < math.inf:
        raise BadInput(f"lifetime={lifetime} is no number of steps: pass more than 0.")
    return -math.log(math.expm1(1 / lifetime))
