"""A chain of linear layers with given weights, in the limit of wide layers.

Only the size of every weight matrix counts here: with ``f = |W|^2 / outputs``, a layer multiplies
the mean square of the signal by f and that of the gradient by f E[f'(u)^2] (Poole et al. 2016,
arXiv:1606.05340, eq. 3 and 7). :mod:`unvanish.theory.propagation` reads the whole matrices.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from unvanish.theory.activations import LINEAR, Nonlinearity
from unvanish.theory.finite_width import Fluctuation
from unvanish.theory.norms import batch_norm_factor
from unvanish.theory.quadrature import Array

_ISOMETRIC = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One layer: ``activation(norm(weight @ x + bias))``.

    ``weight`` has the shape (outputs, inputs). ``scale`` and ``offset`` (one per output) are those
    of a batch norm in training mode with ``epsilon``; ``scale`` is ``None`` without one.
    """

    weight: Array
    bias: Array
    activation: Nonlinearity = LINEAR
    scale: Array | None = None
    offset: Array | None = None
    epsilon: float = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the wide limit says of one stage.

    ``decades``: log10 of the gradient norm at the stage's input over that at its output.
    ``fluctuation``: of one draw of the weights around it. ``length``: variance of the
    pre-activation, ``correlation``: that of two samples there.
    """

    decades: float
    fluctuation: Fluctuation
    length: float
    correlation: float


def expected(
    stages: Sequence[Stage], length: float, correlation: float, samples: float = math.inf
) -> tuple[Expected, ...]:
    """The wide limit of every stage, from the input on.

    Args:
        stages: the layers, the one at the input first.
        length: mean square of an input feature.
        correlation: mean cosine of two samples.
        samples: in the batch that a batch norm sees.

    >>> import numpy as np
    >>> stage = Stage(weight=np.eye(4) * 0.1, bias=np.zeros(4))
    >>> round(expected([stage, stage], 1.0, 0.0)[0].decades, 6)
    -1.0
    """
    found: list[Expected] = []
    square, shared = length, length * correlation
    for stage in stages:
        factor = float((stage.weight**2).sum()) / stage.weight.shape[0]
        added = float((stage.bias**2).mean())
        square, shared = factor * square + added, factor * shared + added
        slope = factor
        if stage.scale is not None:
            gain, square, shared = _normed(stage, square - shared, samples)
            slope *= gain
        at, cosine = square, shared / square if square > 0 else 1.0
        slope *= stage.activation.slope_square(at)
        found.append(
            Expected(
                decades=math.log10(slope) / 2 if slope > 0 else -math.inf,
                fluctuation=_fluctuation(stage, at),
                length=at,
                correlation=cosine,
            )
        )
        square = stage.activation.square(at)
        shared = stage.activation.product(at, cosine) if cosine < 1 - 1e-9 else square
    return tuple(found)


def _normed(stage: Stage, variance: float, samples: float) -> tuple[float, float, float]:
    """Factor of a batch norm on the gradient, and mean square and shared part behind it.

    What all samples share goes; the rest, of this variance, is brought to the norm's own scale.
    """
    scale = 0.0 if stage.scale is None else float((stage.scale**2).mean())
    shared = 0.0 if stage.offset is None else float((stage.offset**2).mean())
    gain = scale / (max(variance, 0.0) + stage.epsilon) * _in_batch(stage.activation, samples)
    return gain, scale + shared, shared


@lru_cache(maxsize=64)
def _in_batch(activation: Nonlinearity, samples: float) -> float:
    """By how much more batch norm explodes in a batch of this size than in endless ones."""
    at_hand = batch_norm_factor(activation, samples) if samples >= 4 else 1.0
    return at_hand / batch_norm_factor(activation)


def _fluctuation(stage: Stage, length: float) -> Fluctuation:
    """3 (kappa - 1) / N, and 2 / N more where the rows of the weight are not orthogonal."""
    outputs, inputs = stage.weight.shape
    square = stage.activation.slope_square(length)
    kappa = max(stage.activation.slope_fourth(length) / square**2, 1.0) if square > 0 else 1.0
    variance = 3 * (kappa - 1) / outputs + (0.0 if is_orthogonal(stage.weight) else 2 / inputs)
    return Fluctuation(variance=variance, shift=-variance / 2)


def is_orthogonal(weight: Array) -> bool:
    """Whether all singular values are equal to a thousandth: rows or columns orthogonal."""
    wide = weight if weight.shape[0] <= weight.shape[1] else weight.T
    product = wide @ wide.T
    size = float(np.trace(product)) / len(product)
    return bool(np.abs(product - size * np.eye(len(product))).max() <= _ISOMETRIC * size)
