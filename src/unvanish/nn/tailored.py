"""Leaky ReLU with a gain that keeps both signal and gradient, its slope tailored to the depth.

sqrt(2 / (1 + a^2)) LeakyReLU_a has E f(z)^2 = E f'(z)^2 = 1 for z ~ N(0, 1) at every slope a, and
the cosine map of equation 11 of Zhang, Botev, Martens 2022 (arXiv:2203.08120). A slope nearer to
one keeps inputs apart over more layers, and bends each of them less.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish.errors import BadInput
from unvanish.nn.shaping import checked_depth


def leaky_cosine(cosine: float, slope: float) -> float:
    """The cosine of two inputs after one layer of leaky ReLU with this slope, orthogonal weights."""
    bent = (1 - slope) ** 2 / (math.pi * (1 + slope**2))
    cosine = min(1.0, max(-1.0, cosine))
    return cosine + bent * (math.sqrt(1 - cosine**2) - cosine * math.acos(cosine))


def tailored_slope(depth: int, eta: float = 0.9) -> float:
    """The negative slope with which orthogonal inputs have the cosine ``eta`` after ``depth`` layers.

    Zero (a plain ReLU) where even that leaves them further apart, as in nets of up to a dozen layers.

    >>> [round(tailored_slope(depth), 3) for depth in (20, 100, 1000)]
    [0.181, 0.57, 0.844]
    """
    checked_depth(depth)
    if not 0 < eta < 1:
        raise BadInput(f"eta must be a cosine between zero and one, not {eta!r}")
    low, high = 0.0, 1.0
    if _cosine_after(depth, low) <= eta:
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _cosine_after(depth, middle) > eta else (low, middle)
    return (low + high) / 2


def _cosine_after(depth: int, slope: float) -> float:
    cosine = 0.0
    for _ in range(depth):
        cosine = leaky_cosine(cosine, slope)
    return cosine


def leaky_gain(slope: float) -> float:
    """sqrt(2 / (1 + a^2)): E f^2 = E f'^2 = 1 (He et al. 2015, arXiv:1502.01852, section 2.2)."""
    return math.sqrt(2 / (1 + slope**2))


class TailoredLeakyReLU(nn.Module):
    """Leaky ReLU times sqrt(2 / (1 + a^2)), its slope a solved from the depth (TAT).

    Applied to each number; any shape, any floating dtype, no parameters, no state.

    Args:
        depth: activations on the longest way from input to output.
        eta: cosine of two orthogonal inputs at the end of that way (0.9 in the paper).

    For nets without skips and norms, with orthogonal (delta-orthogonal) weights and zero biases.
    Source: Zhang, Botev, Martens 2022 (arXiv:2203.08120), section 4.

    It harms where the depth is far above the true one (the slope nears one, and the net stays
    nearly linear for long), and inside residual branches, which need no tailoring.

    >>> layer = TailoredLeakyReLU(depth=100)
    >>> layer(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([-0.7007,  0.0000,  1.2284])
    """

    def __init__(self, depth: int, *, eta: float = 0.9) -> None:
        super().__init__()
        self.depth, self.eta = depth, eta
        self.negative_slope = tailored_slope(depth, eta)
        self.gain = leaky_gain(self.negative_slope)

    def forward(self, x: Tensor) -> Tensor:
        """The activation of each number."""
        return F.leaky_relu(x, self.negative_slope) * self.gain

    def extra_repr(self) -> str:
        return f"depth={self.depth}, negative_slope={self.negative_slope:.4g}"


class TailoredPReLU(nn.Module):
    """Leaky ReLU whose slope is learned, its gain following: E f^2 = E f'^2 = 1 all along.

    ``weight`` (num_parameters) holds the negative slopes, as in ``torch.nn.PReLU``, whose state
    loads into it. Input (N, *), or (N, C, *) with one slope a channel.

    Args:
        depth: activations on the longest way from input to output; sets where the slope starts.
        num_parameters: one slope for all, or one a channel.
        eta: as in ``TailoredLeakyReLU``.

    Source: PReLU (He et al. 2015, arXiv:1502.01852) with the gain of TAT (arXiv:2203.08120).

    It harms under weight decay on ``weight`` (it pulls the slope to zero, a ReLU: leave it out of
    the decay), and gains little where all slopes could be set at once from the depth.

    >>> layer = TailoredPReLU(depth=100)
    >>> round(layer.weight.item(), 4)
    0.5704
    """

    def __init__(self, depth: int, *, num_parameters: int = 1, eta: float = 0.9) -> None:
        super().__init__()
        self.depth, self.num_parameters = depth, checked_channels(num_parameters)
        self.weight = nn.Parameter(torch.full((num_parameters,), tailored_slope(depth, eta)))

    def forward(self, x: Tensor) -> Tensor:
        """The activation of each number."""
        gain = along_channels(torch.rsqrt((1 + self.weight.square()) / 2), x)
        return F.prelu(x, self.weight.to(x.dtype)) * gain.to(x.dtype)

    def extra_repr(self) -> str:
        return f"depth={self.depth}, num_parameters={self.num_parameters}"


def checked_channels(count: object) -> int:
    """The number of learned values; a sentence where it cannot be one."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BadInput(f"num_parameters must be one, or the number of channels, not {count!r}")
    return count


def along_channels(values: Tensor, x: Tensor) -> Tensor:
    """One value for all of ``x``, or one a channel (axis 1), shaped to broadcast."""
    if len(values) == 1:
        return values
    if x.ndim < 2 or x.shape[1] != len(values):
        raise BadInput(
            f"axis 1 of the input must have {len(values)} channels, one a parameter: "
            f"its shape is {tuple(x.shape)}"
        )
    return values.reshape(-1, *[1] * (x.ndim - 2))
