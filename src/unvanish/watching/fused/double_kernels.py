"""The pass over float64 gradients: squares of what lies outside float32 must not be lost."""

# numba has no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
import numpy as np

from unvanish.watching.fused.compiling import as_double, as_int64, compiled
from unvanish.watching.fused.vectors import BLOCK

_HUGE = 1e120
_SHIFT = 2.0**600
"""What is beyond ``_HUGE`` (or below its inverse) is scaled by this before it is squared."""


@compiled
def norm(parts):
    """l2 norm from squares of what is small, ordinary and huge, each in its own scale."""
    if parts[2] > 0:
        return np.sqrt(parts[2] + parts[1] / _SHIFT / _SHIFT) * _SHIFT
    if parts[1] > 0:
        return np.sqrt(parts[1] + parts[0] / _SHIFT / _SHIFT)
    return np.sqrt(parts[0]) / _SHIFT


@compiled
def add_squares(values, largest, parts):
    """Add the squares of finite float64 to the part where they can be squared."""
    scale, part = 1.0, 1
    if largest > _HUGE:
        scale, part = 1.0 / _SHIFT, 2
    elif largest < 1.0 / _HUGE:
        scale, part = _SHIFT, 0
    squares = 0.0
    for i in range(values.shape[0]):
        scaled = values[i] * scale
        squares += scaled * scaled
    parts[part] += squares


@compiled
def read_double(addresses, sizes, sums, histogram, edge):
    """Like ``read_float32``; norms are right from the smallest number to the largest."""
    finite = np.empty(BLOCK, np.float64)
    parts = np.zeros(3, np.float64)
    infinity = np.int64(0x7FF0000000000000)
    for t in range(addresses.shape[0]):
        parts[:] = 0.0
        for start in range(0, sizes[t], BLOCK):
            count = min(sizes[t] - start, BLOCK)
            here = addresses[t] + np.uint64(8 * start)
            values = as_double(here, count)
            bits = as_int64(here, count)
            largest = 0.0
            kept = 0
            for i in range(count):
                pattern = bits[i] & np.int64(0x7FFFFFFFFFFFFFFF)
                if pattern >= infinity:
                    sums[t, 4] += 1.0
                    continue
                if pattern == 0:
                    sums[t, 3] += 1.0
                    continue
                finite[kept] = values[i]
                kept += 1
                largest = max(largest, abs(values[i]))
                sums[t, 1] += values[i]
                if histogram.shape[0] > 0:
                    place = min(max((pattern - edge) >> np.int64(52), np.int64(0)), np.int64(63))
                    histogram[t, place] += np.uint32(1)
            add_squares(finite[:kept], largest, parts)
            sums[t, 2] = max(sums[t, 2], largest)
        sums[t, 0] = norm(parts)
