"""From sums to the statistics of a recording: float32, and never zero for what is not zero."""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unvanish.recording.records import Floats
from unvanish.recording.statistics import LOWEST_EXPONENT

Wide = NDArray[np.float64]

SUMS: Final = 5
"""Columns of the sums of a tensor: l2 norm, sum, abs max, zeros, non-finite entries."""

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).smallest_subnormal)

NARROW_SCALES = (2.0**-64, 2.0**64)
"""Loss scales by which magnitudes are divided through their exponents alone."""


def gradient_statistics(
    sums: Wide, entries: Wide, scale: float = 1.0, unsigned: list[int] | None = None
) -> dict[str, Floats]:
    """Statistics of each tensor from its sums, shape (tensors, 5); NaN where nothing was read.

    ``entries`` is the number of entries of each. Norm, mean and magnitude are divided by
    ``scale``. A tensor without a finite entry has no mean: NaN, like those in ``unsigned``.
    """
    norm, total, largest, _, nonfinite = sums.T
    moments = np.empty((4, len(sums)))
    moments[0] = norm
    moments[3] = largest
    with np.errstate(all="ignore"):
        np.divide(norm, np.sqrt(np.maximum(entries, 1.0)), out=moments[1])
        np.divide(total, entries - nonfinite, out=moments[2])
        if scale != 1.0:
            moments /= scale
    if unsigned:
        moments[2, unsigned] = np.nan
    kept = storable(moments)
    counts = sums[:, 3:].T.astype(np.float32)
    return {
        "gradient_l2": kept[0],
        "gradient_rms": kept[1],
        "gradient_mean": kept[2],
        "gradient_abs_max": kept[3],
        "gradient_zeros": counts[0],
        "gradient_nonfinite": counts[1],
    }


def update_statistics(weight: Wide, delta: Wide, entries: Wide) -> dict[str, Floats]:
    """``weight_rms`` and ``update_to_weight`` from the l2 norms of weight and change.

    A ratio to a tensor that was all zero, and one with NaN or Inf in it, says nothing: NaN.
    """
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratio = delta / weight
        rms = weight / np.sqrt(np.maximum(entries, 1.0))
    unknown = (weight == 0) | ~np.isfinite(weight) | ~np.isfinite(delta)
    rms[~np.isfinite(weight)] = np.nan
    ratio[unknown] = np.nan
    return {"weight_rms": storable(rms), "update_to_weight": storable(ratio)}


def storable(numbers: Wide) -> Floats:
    """As float32, where what is finite stays finite and what is not zero stays so.

    >>> storable(np.array([1e300, -1e-300, 0.0, 2.0])).tolist()
    [3.4028234663852886e+38, -1.401298464324817e-45, 0.0, 2.0]
    """
    with np.errstate(all="ignore"):
        kept = numbers.astype(np.float32)
    lost = (kept == 0) & (numbers != 0)
    if lost.any():
        kept[lost] = np.copysign(_SMALLEST, numbers[lost])
    return np.clip(kept, -_LARGEST, _LARGEST, out=kept)


def first_edge(scale: float, exponent_bias: int, mantissa_bits: int) -> int:
    """Bit pattern of the smallest magnitude that, divided by ``scale``, is in bin 0.

    For positive floats the order of bit patterns is that of numbers, and adding one to the
    exponent adds ``2 ** mantissa_bits``: so (pattern - this) >> mantissa_bits is the bin, whatever
    the scale. The quotient that this sorts is the exact one, before any rounding.
    """
    mantissa, exponent = math.frexp(scale)
    field = exponent_bias + LOWEST_EXPONENT + exponent - 1
    return (field << mantissa_bits) + math.ceil((2 * mantissa - 1) * 2**mantissa_bits)
