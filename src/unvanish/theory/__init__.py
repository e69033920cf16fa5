"""What theory knows about a net before it is run: initialisation, depth, width, norms, skips, time.

Variances throughout: ``weight`` is sigma_w^2, the variance of a weight times its fan-in, ``bias``
is sigma_b^2, ``length`` the variance of a pre-activation. Factors multiply the mean square of the
gradient per layer, towards the input; decades are log10 of its norm.

    >>> from unvanish import theory
    >>> net = theory.MeanField(activation="tanh", weight=1.5, bias=0.05)
    >>> round(net.trainable_depth()), round(theory.critical_weight("tanh", 0.05), 3)
    (95, 1.761)

Everything is loaded on first use.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unvanish.theory.activations import Nonlinearity as Nonlinearity
    from unvanish.theory.activations import nonlinearity as nonlinearity
    from unvanish.theory.critical import CriticalPoint as CriticalPoint
    from unvanish.theory.critical import critical_point as critical_point
    from unvanish.theory.critical import critical_weight as critical_weight
    from unvanish.theory.finite_width import Fluctuation as Fluctuation
    from unvanish.theory.finite_width import fluctuation as fluctuation
    from unvanish.theory.finite_width import singular_value_variance as singular_value_variance
    from unvanish.theory.finite_width import slope_kurtosis as slope_kurtosis
    from unvanish.theory.gains import backward_factor as backward_factor
    from unvanish.theory.gains import critical_weight_decades as critical_weight_decades
    from unvanish.theory.gains import gain as gain
    from unvanish.theory.gains import gains_at as gains_at
    from unvanish.theory.gains import mended_by_weights as mended_by_weights
    from unvanish.theory.gains import moments as moments
    from unvanish.theory.mean_field import MeanField as MeanField
    from unvanish.theory.mean_field import Phase as Phase
    from unvanish.theory.norms import batch_norm_factor as batch_norm_factor
    from unvanish.theory.norms import layer_norm_factor as layer_norm_factor
    from unvanish.theory.norms import rms_norm_factor as rms_norm_factor
    from unvanish.theory.recurrence import cell_gain as cell_gain
    from unvanish.theory.recurrence import cell_lifetime as cell_lifetime
    from unvanish.theory.recurrence import forget_bias_for as forget_bias_for
    from unvanish.theory.recurrence import time_gain as time_gain
    from unvanish.theory.residual import Growth as Growth
    from unvanish.theory.residual import deep_norm as deep_norm
    from unvanish.theory.residual import gated as gated
    from unvanish.theory.residual import plain_sum as plain_sum
    from unvanish.theory.residual import post_norm as post_norm
    from unvanish.theory.residual import pre_norm as pre_norm
    from unvanish.theory.residual import scaled_branches as scaled_branches

_NAMES = {
    "activations": "Nonlinearity nonlinearity",
    "critical": "CriticalPoint critical_point critical_weight",
    "finite_width": "Fluctuation fluctuation singular_value_variance slope_kurtosis",
    "gains": "backward_factor critical_weight_decades gain gains_at mended_by_weights moments",
    "mean_field": "MeanField Phase",
    "norms": "batch_norm_factor layer_norm_factor rms_norm_factor",
    "recurrence": "cell_gain cell_lifetime forget_bias_for time_gain",
    "residual": "Growth deep_norm gated plain_sum post_norm pre_norm scaled_branches",
}
_HOME = {
    name: f"unvanish.theory.{home}" for home, names in _NAMES.items() for name in names.split()
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unvanish.theory' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
