"""Plain nets whose layers are normalised: what is left for the gradient to do.

A norm fixes the forward scale, whatever the weights; the gradient then changes by a factor that
belongs to the activation alone. Batch norm before a nonlinear activation makes it explode, at a
rate that no choice of weights mends (Yang et al. 2019, arXiv:1902.08129).
"""

import math
from typing import Any

from unvanish.errors import BadInput
from unvanish.theory.activations import nonlinearity


def batch_norm_factor(activation: Any, batch: float = math.inf) -> float:
    """Factor of the mean square gradient per layer ``linear, batch norm, activation``.

    E[f'(z)^2] / Var f(z) for large batches; linear at a batch of B samples: (B - 2) / (B - 3).
    The finite batch is known for linear layers only and left out elsewhere.

    >>> round(batch_norm_factor("relu"), 4), batch_norm_factor(None, batch=6)
    (1.4669, 1.3333333333333333)
    """
    known = nonlinearity(activation)
    if not batch > 3:
        raise BadInput(
            f"batch={batch}: with three samples or fewer the gradient through batch norm has no "
            "finite mean square; pass four or more."
        )
    variance = known.square(1.0) - known.average(1.0) ** 2
    factor = known.slope_square(1.0) / variance
    linear = known.sides is not None and known.sides[0] == known.sides[1]
    return (batch - 2) / (batch - 3) if linear and math.isfinite(batch) else factor


def layer_norm_factor(activation: Any, after: bool = False) -> float:
    """Factor of the mean square gradient per layer with LayerNorm over many units.

    Before the activation (the usual place) E[f'^2] / E[f^2]: weights cannot change it.
    ``after=True``: the norm stands behind the activation and takes its mean out,
    E[f'^2] / Var f.

    >>> round(layer_norm_factor("tanh"), 3)
    1.178
    """
    known = nonlinearity(activation)
    mean = known.average(1.0) if after else 0.0
    return known.slope_square(1.0) / (known.square(1.0) - mean**2)


def rms_norm_factor(activation: Any) -> float:
    """Factor of the mean square gradient per layer with RMSNorm, before or after the activation.

    E[f'^2] / E[f^2]: it takes no mean out.

    >>> rms_norm_factor("relu")
    1.0
    """
    return layer_norm_factor(activation)
