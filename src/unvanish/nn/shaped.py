"""Any smooth activation, scaled and shifted so that a deep plain net passes signal and gradient."""

from typing import cast

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput
from unvanish.nn.by_output import known_by_output, squashed
from unvanish.nn.gaussian import Activation
from unvanish.nn.shaping import Transform, shape_kernel, tailor


class _Transformed(nn.Module):
    """``gain * (f(scale * x + shift) + offset)`` with constants known at construction."""

    def __init__(self, activation: Activation, transform: Transform) -> None:
        super().__init__()
        self.activation = activation
        self.transform = transform

    def forward(self, x: Tensor) -> Tensor:
        """The activation of each number.

        Half precision is computed in float32: the offset cancels most of the value, and with it
        most of eight bits.
        """
        half = x.dtype in (torch.float16, torch.bfloat16)
        there = self.transform
        u = x.float() if half else x
        with torch.autocast(x.device.type, enabled=False):
            if known_by_output(self.activation):
                numbers = there.scale, there.shift, there.gain, there.offset
                made = squashed(u, self.activation, numbers)
            else:
                shaped = self.activation(u * there.scale + there.shift)
                made = (shaped + there.offset) * there.gain
        return made.to(x.dtype) if half else made

    def extra_repr(self) -> str:
        there = self.transform
        return (
            f"scale={there.scale:.4g}, shift={there.shift:.4g}, "
            f"gain={there.gain:.4g}, offset={there.offset:.4g}"
        )


def _checked(activation: object) -> Activation:
    if isinstance(activation, type) or not callable(activation):
        raise BadInput(
            f"activation must be a module or a function of one tensor, not {activation!r}"
            + (": call it first" if isinstance(activation, type) else "")
        )
    return cast(Activation, activation)


class ShapedActivation(_Transformed):
    """A smooth activation under deep kernel shaping: Q(1) = Q'(1) = 1, C(0) = 0, C'(1) = zeta^(1/L).

    Applied to each number; any shape, any floating dtype, no state. The four constants are solved
    once, by quadrature in float64; the same module may stand in many places. They follow from the
    arguments, and so are not in the ``state_dict``.

    Args:
        activation: a module or function of one tensor; smooth (no jump in its slope).
        depth: activations L on the longest way from input to output.
        zeta: slope of the whole net's cosine map at one (1.5 in the paper): how far apart two
            near inputs are drawn over all layers.

    For nets without skips and norms, with orthogonal (delta-orthogonal) weights and zero biases.
    Source: Martens et al. 2021 (arXiv:2110.01765), section 9 and appendix F.

    It harms inside normalised or residual nets, where the true depth is a few layers (nearly
    linear, it learns less a step), and where inputs are far from unit mean square.

    >>> layer = ShapedActivation(nn.Tanh(), depth=100)
    >>> z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    >>> round(float(layer(z).square().mean()), 2)
    1.0
    """

    def __init__(self, activation: Activation, depth: int, *, zeta: float = 1.5) -> None:
        super().__init__(activation, shape_kernel(_checked(activation), depth, zeta))


class TailoredActivation(_Transformed):
    """A smooth activation under TAT: Q(1) = Q'(1) = C'(1) = 1, C''(1) = tau/L.

    As ``ShapedActivation``, with the slope of the cosine map at exactly one, so that E f'(z)^2 = 1
    (the gradient keeps its scale), and its curvature shared among the layers.

    Args:
        activation: a module or function of one tensor; smooth (no jump in its slope).
        depth: activations L on the longest way from input to output.
        tau: second derivative of the whole net's cosine map at one (0.3 in the paper).

    Source: Zhang, Botev, Martens 2022 (arXiv:2203.08120), section 4.

    It harms where ``ShapedActivation`` does.

    >>> TailoredActivation(nn.SiLU(), depth=100).extra_repr()
    'scale=0.08695, shift=0.447, gain=16.05, offset=-0.272'
    """

    def __init__(self, activation: Activation, depth: int, *, tau: float = 0.3) -> None:
        super().__init__(activation, tailor(_checked(activation), depth, tau))
