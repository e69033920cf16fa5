"""What theory expects of a net of the lab, drawn beside what is measured in it.

Mean-field recursion for wide layers of random weights (Poole et al. 2016, arXiv:1606.05340), here
with norms and skips. A block is x -> x s + b f(n(W x)), s and b its skip and branch, n its norm. Of
the stream x it follows the mean m over samples and weights, and the mean square q:

    u   = w q                   without a norm (w: variance of a weight times the fan-in)
    u   = 1                     with one
    m'  = s m + b E f
    q'  = s^2 q + 2 s b m E f + b^2 E f^2
    chi = s^2 + b^2 w E f'^2               without a norm
    chi = s^2 + b^2 E f'^2 / q             layer norm
    chi = s^2 + b^2 E f'^2 / (q - m^2)     batch norm, which also takes the mean out

with E over u ~ N(0, u). The gradient gains log10(chi) / 2 decades on its way down through it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from unvanish.lab.nets import Recurrent, activation
from unvanish.lab.settings import Settings
from unvanish.theory import Nonlinearity, nonlinearity

DESIGNED = 8
"""Plain stretches of more activations than this are made isometries by ``critical_``."""


def depth_decades(
    settings: Settings, weights: Sequence[Tensor], inputs: Tensor
) -> list[float | None]:
    """log10 of the gradient's gain in each hidden layer, the first one first.

    Args:
        settings: of the net.
        weights: of the hidden layers.
        inputs: of the first one, (samples, features).
    """
    skip, branch = _shares(settings)
    plain = settings.norm == "none" and settings.skip == "none"
    if settings.initialisation == "ours" and plain and settings.depth > DESIGNED:
        return [0.0] * len(weights)  # not random: solved so that each layer passes on all of it
    bend = curve_of(settings)
    stream = _Stream(bend, settings.norm, 0.0, float((inputs.double() ** 2).mean()))
    found: list[float | None] = []
    for number, weight in enumerate(weights):
        size = float(weight.detach().double().square().sum()) / weight.shape[0]
        shares = (0.0, 1.0) if number == 0 else (skip, branch)
        stream, chi = stream.through(size, *shares)
        found.append(math.log10(chi) / 2 if 0 < chi < math.inf else None)
    return found


def curve_of(settings: Settings) -> Nonlinearity:
    """The activation as value and slope; made once for each, as the integrals are kept by it."""
    length = settings.steps if settings.recurrent else settings.depth
    return _curve(settings.activation, length if settings.activation == "ours" else 0)


@lru_cache(maxsize=32)
def _curve(name: str, length: int) -> Nonlinearity:
    if name in ("ours", "leaky_relu"):  # their slopes are not torch's usual ones
        return nonlinearity(activation(Settings(activation=name, depth=max(length, 1))))
    return nonlinearity(name)


@lru_cache(maxsize=4096)
def _moments(bend: Nonlinearity, length: float) -> tuple[float, float, float]:
    """E f, E f^2 and E f'^2."""
    return bend.average(length), bend.square(length), bend.slope_square(length)


def _shares(settings: Settings) -> tuple[float, float]:
    if settings.skip == "none":
        return 0.0, 1.0
    return 1.0, 1.0 if settings.skip == "sum" else settings.depth**-0.5


@dataclass(frozen=True, slots=True)
class _Stream:
    """Mean and mean square of a layer's output."""

    bend: Nonlinearity
    norm: str
    mean: float
    square: float

    def through(self, size: float, skip: float, branch: float) -> tuple["_Stream", float]:
        """The stream after a block, and the block's factor on the mean square of the gradient."""
        spread = self.square - (self.mean**2 if self.norm == "batch" else 0.0)
        length = size * self.square if self.norm == "none" else 1.0
        average, square, slope = _moments(self.bend, length)
        weight = size if self.norm == "none" else 1 / max(spread, 1e-30)
        mean = skip * self.mean + branch * average
        whole = skip**2 * self.square + 2 * skip * branch * self.mean * average
        after = _Stream(self.bend, self.norm, mean, min(whole + branch**2 * square, 1e60))
        return after, skip**2 + branch**2 * weight * slope


def time_decades(settings: Settings, cell: nn.Module, inputs: Tensor) -> list[float] | None:
    """log10 of the gradient at each step's input over that at the last step's; first step first.

    A plain cell is a plain net whose layers share a matrix. Of an LSTM it is what the cell path
    alone passes on, f to the power of the steps; of a GRU what its update gate keeps: lower bounds,
    as the other paths add to it.

    Args:
        settings: of the net.
        cell: its recurrent part.
        inputs: (samples, steps, features).
    """
    steps = inputs.shape[1]
    if settings.cell in ("lstm", "gru"):
        return _through_gates(cell, settings.width, steps)
    if isinstance(cell, Recurrent):
        read, carry, bias = cell.read.weight, cell.carry.weight, cell.read.bias
    else:
        read, carry = cell.get_parameter("weight_ih_l0"), cell.get_parameter("weight_hh_l0")
        bias = cell.get_parameter("bias_ih_l0") + cell.get_parameter("bias_hh_l0")
    with torch.no_grad():
        drive = (inputs @ read.T + bias).double().square().mean((0, 2)).tolist()
        size = float(carry.double().square().sum()) / len(carry)
    return _through_steps(curve_of(settings), size, drive)


def _through_steps(bend: Nonlinearity, size: float, drive: Sequence[float]) -> list[float]:
    square, slopes = 0.0, list[float]()
    for added in drive:
        length = min(size * square + added, 1e60)
        square = bend.square(length)
        slopes.append(bend.slope_square(length))
    # From one step to the one before: once through the matrix, and this step's slope for the next's.
    gains = [_half_log(size * slope) for slope in slopes]
    return [math.fsum(gains[at:-1]) for at in range(len(gains))]


def _through_gates(cell: nn.Module, width: int, steps: int) -> list[float]:
    bias = cell.get_parameter("bias_ih_l0") + cell.get_parameter("bias_hh_l0")
    kept = torch.sigmoid(bias.detach().double()[width : 2 * width]).numpy()
    logs = 2 * np.log(np.maximum(kept, 1e-300))
    back = np.arange(steps - 1, -1, -1)[:, None] * logs[None, :]
    most = back.max(1, keepdims=True)
    means = most[:, 0] + np.log(np.exp(back - most).mean(1))
    return (means / 2 / math.log(10)).tolist()


def _half_log(value: float) -> float:
    return math.log10(value) / 2 if value > 0 else -30.0
