"""What infinite width hides: the gradient of one draw of the weights is not that of the mean.

Over draws, the logarithm of the squared gradient is close to normal, with a variance that grows
with depth over width. For ReLU and Gaussian weights 5 L / N: a net 60 layers deep and 32 wide is
off by a factor 21 in one draw out of three, in either direction.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unvanish.errors import BadInput
from unvanish.theory.activations import nonlinearity

INITIALISATIONS = ("gaussian", "orthogonal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fluctuation:
    """``variance`` and ``shift`` of ln(squared gradient) around its infinite-width value.

    ``shift`` is minus half the variance: the mean square keeps its value, most draws lie below.
    """

    variance: float
    shift: float

    @property
    def decades(self) -> float:
        """Standard deviation of log10 of the gradient's norm."""
        return math.sqrt(self.variance) / (2 * math.log(10))

    @property
    def shift_decades(self) -> float:
        """Mean shift of log10 of the gradient's norm."""
        return self.shift / (2 * math.log(10))


def slope_kurtosis(activation: Any, length: float = 1.0) -> float:
    """Kurtosis kappa = E[f'^4] / E[f'^2]^2: 1 for linear, 2 for ReLU.

    >>> slope_kurtosis("relu")
    2.0
    """
    known = nonlinearity(activation)
    square = known.slope_square(length)
    if square == 0:
        raise BadInput(f"{known.name} is flat at variance {length}: it passes no gradient at all.")
    return max(known.slope_fourth(length) / square**2, 1.0)  # below one by rounding alone


def fluctuation(
    activation: Any,
    depth: int,
    width: int | Sequence[int],
    initialisation: str = "gaussian",
    length: float = 1.0,
) -> Fluctuation:
    """How far one draw of the weights lies from the mean over draws.

    (3 kappa - 1) L / N for Gaussian weights, 3 (kappa - 1) L / N for orthogonal ones (products of
    random matrices as in Hanin 2018, arXiv:1801.03744).

    Args:
        activation: name or callable.
        depth: number of layers, one or more.
        width: of every layer, or one number a layer.
        initialisation: ``"gaussian"`` (any independent draws) or ``"orthogonal"``.
        length: variance of the pre-activations.

    >>> fluctuation("relu", depth=50, width=64).variance
    3.90625
    """
    widths = _widths(depth, width)
    kappa = slope_kurtosis(activation, length)
    each = 3 * kappa - 1 if _orthogonal(initialisation) is False else 3 * (kappa - 1)
    variance = each * math.fsum(1 / n for n in widths)
    return Fluctuation(variance=variance, shift=-variance / 2)


def singular_value_variance(
    activation: Any, depth: int, initialisation: str = "gaussian", length: float = 1.0
) -> float:
    """Variance of the squared singular values of the end-to-end Jacobian, at mean one.

    L kappa for Gaussian weights, L (kappa - 1) for orthogonal ones: zero (an isometry) for
    linear orthogonal layers alone (Pennington et al. 2017, arXiv:1711.04735).

    >>> singular_value_variance(None, 100, "orthogonal")
    0.0
    """
    kappa = slope_kurtosis(activation, length)
    return len(_widths(depth, 1)) * (kappa - 1 if _orthogonal(initialisation) else kappa)


def _orthogonal(initialisation: str) -> bool:
    if initialisation not in INITIALISATIONS:
        raise BadInput(
            f"initialisation={initialisation!r}: pass one of {', '.join(INITIALISATIONS)}."
        )
    return initialisation == "orthogonal"


def _widths(depth: int, width: int | Sequence[int]) -> list[int]:
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
        raise BadInput(f"depth={depth!r} is no number of layers: pass a whole number from 1 on.")
    widths = [width] * depth if isinstance(width, int) else list(width)
    if len(widths) != depth or min(widths) < 1:
        raise BadInput(
            f"width={width!r}: pass one width from 1 on, or one for each of the {depth} layers."
        )
    return widths
