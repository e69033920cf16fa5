"""Swish, x * sigmoid(beta * x), with beta learned; and the same held at unit gain.

beta is a knob of linearity: 0 is x/2, infinity is ReLU, 1 is SiLU.
"""

import math

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.gaussian import nodes
from unvanish.nn.shaping import checked_depth
from unvanish.nn.tailored import along_channels, checked_channels

_POINTS, _REACH = 128, 7.0  # the weight outside is below 1e-11


class Swish(nn.Module):
    """x * sigmoid(beta * x), beta learned (Ramachandran et al. 2017, arXiv:1710.05941).

    Input (N, *), or (N, C, *) with one ``beta`` a channel. Parameter ``beta`` (num_parameters).

    It harms in deep plain nets as SiLU does: E f'(z)^2 is between 1/4 and 1/2, so that weights
    must make up for it, and beta moves it while they learn. ``TailoredSwish`` does not.

    >>> Swish()(torch.tensor([1.0])).detach()
    tensor([0.7311])
    """

    def __init__(self, beta: float = 1.0, *, num_parameters: int = 1) -> None:
        super().__init__()
        if not math.isfinite(beta):
            raise BadInput(f"beta must be finite, not {beta!r}")
        self.num_parameters = checked_channels(num_parameters)
        self.beta = nn.Parameter(torch.full((num_parameters,), float(beta)))

    def forward(self, x: Tensor) -> Tensor:
        """The activation of each number."""
        beta = along_channels(self.beta, x).to(x.dtype)
        return x * torch.sigmoid(beta * x)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class TailoredSwish(nn.Module):
    """gain(beta) x sigmoid(beta x) + shift(beta): E f(z)^2 = E f'(z)^2 = 1 while beta learns.

    With k(z) = z tanh(beta z / 2) / (2 beta) the activation is x/2 + beta k(x): an odd and an even
    part. Hence E f'^2 = 1/4 + beta^2 E k'^2 fixes the gain, and the mean that makes E f^2 one is
    gain * beta * sqrt(E k'^2 - Var k), real by Poincare's inequality and smooth in beta. The three
    expectations are sums over 128 fixed points, so that gain and shift carry their exact gradient.

    Input (N, *), or (N, C, *) with one ``beta`` a channel. Parameter ``beta`` (num_parameters).

    Args:
        depth: activations on the longest way from input to output; beta starts where the
            curvature E f''(z)^2 is tau/depth (TAT, arXiv:2203.08120).
        tau: as in ``TailoredActivation``.
        num_parameters: one beta for all, or one a channel.

    It harms where the fixed ``TailoredActivation(nn.SiLU(), depth)`` would do: that one also holds
    the slope of the length map, which this cannot, and learned better in 30 plain layers. And where
    speed is all: about twenty tiny operations a call beside those on the input, which
    ``torch.compile`` fuses and eager mode does not. Beyond |beta| = 20 the sums are coarse (1 %).

    >>> round(TailoredSwish(depth=100).beta.item(), 4)
    0.0549
    """

    def __init__(self, depth: int, *, tau: float = 0.3, num_parameters: int = 1) -> None:
        super().__init__()
        if not 0 < tau < math.inf:
            raise BadInput(f"tau must be finite and positive, not {tau!r}")
        self.depth, self.num_parameters = depth, checked_channels(num_parameters)
        self.beta = nn.Parameter(
            torch.full((num_parameters,), _beta_at(tau / checked_depth(depth)))
        )

    def forward(self, x: Tensor) -> Tensor:
        """The activation of each number."""
        with torch.autocast(x.device.type, enabled=False):
            gain, shift = _gain_and_shift(self.beta)
        beta = along_channels(self.beta, x).to(x.dtype)
        gain, shift = along_channels(gain, x).to(x.dtype), along_channels(shift, x).to(x.dtype)
        return gain * x * torch.sigmoid(beta * x) + shift

    def extra_repr(self) -> str:
        return f"depth={self.depth}, num_parameters={self.num_parameters}"


def _gain_and_shift(beta: Tensor) -> tuple[Tensor, Tensor]:
    """Both for each beta, in float32 at least."""
    beta = beta.to(torch.promote_types(beta.dtype, torch.float32))
    z = torch.linspace(-_REACH, _REACH, _POINTS, dtype=beta.dtype, device=beta.device)
    weight = torch.exp(-z.square() / 2) * (2 * _REACH / (_POINTS - 1) / math.sqrt(2 * math.pi))
    t = beta[:, None] * z / 2
    near = t.abs() < 1e-3
    # tanh(t)/t, by its series where the quotient would be 0/0 (in the branch not taken, too).
    safe = torch.where(near, torch.ones_like(t), t)
    ratio = torch.where(near, 1 - t.square() / 3, torch.tanh(safe) / safe)
    even = z.square() / 4 * ratio  # k
    slope = z / 4 * (ratio + 1 - torch.tanh(t).square())  # k'
    mean = (even * weight).sum(-1)
    slope_square = (slope.square() * weight).sum(-1)
    left_over = slope_square - ((even - mean[:, None]).square() * weight).sum(-1)
    gain = torch.rsqrt(0.25 + beta.square() * slope_square)
    return gain, gain * beta * (left_over.sqrt() - mean)


def _beta_at(bend: float) -> float:
    """The positive beta whose tailored Swish has E f''(z)^2 = bend, or the one that comes nearest."""
    low, high = 0.0, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _bend(middle) < bend else (low, middle)
    return (low + high) / 2


def _bend(beta: float) -> float:
    z, weight = nodes(2_002)
    t = beta * z
    rise = torch.sigmoid(t)
    steep = rise * (1 - rise)
    slope = rise + t * steep
    bent = beta * steep * (2 + t * (1 - 2 * rise))
    return float((weight * bent.square()).sum() / (weight * slope.square()).sum())
