"""The pass over weights after a step, compiled by numba: what changed, against a copy."""

# numba has no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
import numpy as np

from unvanish.watching.fused.compiling import as_double, as_float, compiled
from unvanish.watching.fused.double_kernels import add_squares, norm
from unvanish.watching.fused.kernels import widen
from unvanish.watching.fused.kinds import FLOAT32
from unvanish.watching.fused.vectors import BLOCK, vector_change


@compiled
def _change_block(address, copy, count):
    """Squares of (now - copy) and of copy of a float32 block."""
    whole = count // 16
    change, weight = vector_change(address, copy, whole)
    done = np.uint64(whole * 64)
    now = as_float(address + done, count - whole * 16)
    then = as_float(copy + done, count - whole * 16)
    for i in range(count - whole * 16):
        old = np.float64(then[i])
        moved = np.float64(now[i]) - old
        change += moved * moved
        weight += old * old
    return change, weight


@compiled
def change_single(addresses, copies, sizes, kinds, norms):
    """l2 norms of change and of weight before, (tensors, 2), for float32, bfloat16 and half.

    ``copies`` are the addresses of the weights before the step. A NaN or Inf in either makes the
    norm NaN or Inf.
    """
    new = np.empty(BLOCK, np.int32)
    old = np.empty(BLOCK, np.int32)
    for t in range(addresses.shape[0]):
        change = 0.0
        weight = 0.0
        narrow = kinds[t] != FLOAT32
        for start in range(0, sizes[t], BLOCK if narrow else max(sizes[t], 1)):
            here, copy, count = addresses[t], copies[t], sizes[t]
            if narrow:
                count = min(sizes[t] - start, BLOCK)
                widen(addresses[t] + np.uint64(2 * start), count, kinds[t], new)
                widen(copies[t] + np.uint64(2 * start), count, kinds[t], old)
                here, copy = np.uint64(new.ctypes.data), np.uint64(old.ctypes.data)
            one, two = _change_block(here, copy, count)
            change += one
            weight += two
        norms[t, 0] = np.sqrt(change)
        norms[t, 1] = np.sqrt(weight)


@compiled
def change_double(addresses, copies, sizes, norms):
    """Like :func:`change_single`, for float64, from the smallest number to the largest."""
    moved = np.empty(BLOCK, np.float64)
    changes = np.zeros(3, np.float64)
    weights = np.zeros(3, np.float64)
    for t in range(addresses.shape[0]):
        changes[:] = 0.0
        weights[:] = 0.0
        for start in range(0, sizes[t], BLOCK):
            count = min(sizes[t] - start, BLOCK)
            now = as_double(addresses[t] + np.uint64(8 * start), count)
            then = as_double(copies[t] + np.uint64(8 * start), count)
            most = 0.0
            largest = 0.0
            for i in range(count):
                moved[i] = now[i] - then[i]
                most = max(most, abs(moved[i]))
                largest = max(largest, abs(then[i]))
            add_squares(moved[:count], most, changes)
            add_squares(then, largest, weights)
        norms[t, 0] = norm(changes)
        norms[t, 1] = norm(weights)
