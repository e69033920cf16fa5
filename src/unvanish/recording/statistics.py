"""The names of what is read of each tensor, and what each number means.

Moments are those of the finite entries; how many entries are not finite has a number of its own.
All gradients are divided by the loss scale first where there is one.
"""

from typing import Final

STATISTICS: Final[dict[str, str]] = {
    "gradient_l2": "l2 norm of the finite entries of the gradient",
    "gradient_rms": "l2 norm over the square root of the number of entries",
    "gradient_mean": "mean of the finite entries (with sign)",
    "gradient_abs_max": "largest finite magnitude",
    "gradient_zeros": "number of entries that are exactly zero",
    "gradient_nonfinite": "number of entries that are NaN or Inf",
    "gradient_log2_histogram": "number of entries in each of 64 octaves of magnitude",
    "weight_rms": "root mean square of the tensor itself, before the step",
    "update_to_weight": "l2 norm of what the step really changed, over that of the tensor before it",
}

HISTOGRAM_BINS: Final = 64

LOWEST_EXPONENT: Final = -50
"""Bin ``i`` counts magnitudes in [2^(i-50), 2^(i-49)): 8.9e-16 to 16384 in 64 octaves.

The first bin also takes what is smaller and not zero, the last what is larger and finite; zeros
and non-finite entries are in no bin. Half precision ends inside: its smallest number is 2^-24.
"""
