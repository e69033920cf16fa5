"""The passes over gradients, compiled by numba: many tensors in one call, on one thread.

A tensor is read in blocks that stay in the nearest cache, so each block comes from memory once
however often it is looked at. Half and bfloat16 blocks are widened into a buffer first. Sums are
float64. Every kernel takes addresses: nothing here owns, copies or keeps a tensor.
"""

# numba has no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
import numpy as np

from unvanish.watching.fused.compiling import as_int16, as_int32, compiled
from unvanish.watching.fused.kinds import BFLOAT16, FLOAT32
from unvanish.watching.fused.vectors import (
    AHEAD,
    BLOCK,
    STREAMS,
    STRETCH,
    WINDOW,
    vector_octaves,
    vector_sums,
)


@compiled
def _add_each(address, count, sums):
    """Add float32 entries one by one, those that are not finite only to their number."""
    bits = np.empty(1, np.int32)
    value = bits.view(np.float32)
    patterns = as_int32(address, count)
    largest = np.int32(0)
    for i in range(count):
        bits[0] = patterns[i]
        magnitude = np.int32(bits[0] & np.int32(0x7FFFFFFF))
        if magnitude >= np.int32(0x7F800000):
            sums[4] += 1.0
        else:
            entry = np.float64(value[0])
            sums[0] += entry * entry
            sums[1] += entry
            sums[3] += magnitude == 0
            largest = max(largest, magnitude)
    return largest


@compiled
def _add_block(address, count, ahead, sums):
    """Add a block of float32 to (squares, sum, _, zeros, non-finite); its largest bit pattern."""
    whole = count // (16 * STREAMS)
    total, squares, largest, zeros = vector_sums(address, whole, ahead)
    if largest >= np.int32(0x7F800000):
        return _add_each(address, count, sums)
    sums[0] += squares
    sums[1] += total
    sums[3] += zeros
    done = whole * 16 * STREAMS
    if done < count:
        rest = address + np.uint64(4 * done)
        largest = max(largest, _add_each(rest, count - done, sums))
    return largest


@compiled
def _count_each(address, count, edge, bins):
    """Count entries in the octave above ``edge``, a bit pattern, that each is in; how many are 0."""
    bits = as_int32(address, count)
    zeros = 0
    for i in range(count):
        magnitude = np.int32(bits[i] & np.int32(0x7FFFFFFF))
        place = (magnitude - edge) >> np.int32(23)
        bins[min(max(place, np.int32(0)), np.int32(63))] += np.uint32(1)
        zeros += magnitude == 0
    return zeros


@compiled
def _count_block(address, count, following, edge, largest, zeros, counts, bins):
    """Count the entries of a block, the octaves of its largest first.

    Windows of octaves are taken downwards until nothing but zeros is left: one does for most
    blocks. The block that is next, at ``following``, comes nearer meanwhile.
    """
    whole = count // 64
    zeros -= _count_each(address + np.uint64(whole * 256), count - whole * 64, edge, bins)
    rest = np.int64(whole * 64)
    top = min(max((largest - edge) >> np.int32(23), np.int32(0)), np.int32(63))
    while rest > zeros and top >= 0:
        first = top - np.int32(WINDOW - 1)
        vector_octaves(
            address, following, whole, edge, np.int8(first), np.uint64(counts.ctypes.data)
        )
        for place in range(max(-first, 0), WINDOW):
            bins[first + place] += counts[place]
            rest -= np.int64(counts[place])
        top -= np.int32(WINDOW)
    bins[0] += np.uint32(rest)


@compiled
def _read_block(address, count, following, edge, counts, sums, bins):
    """Everything of one block of float32; its largest bit pattern."""
    zeros, lost = sums[3], sums[4]
    largest = _add_block(address, count, np.uint64(0), sums)
    if sums[4] > lost:
        _count_each(address, count, edge, bins)
    else:
        _count_block(address, count, following, edge, largest, sums[3] - zeros, counts, bins)
    return largest


@compiled
def _finish(sums, largest, bins):
    """From squares to the norm; what has no octave is taken out of the first and last bin."""
    pattern = np.empty(1, np.int32)
    pattern[0] = largest
    sums[0] = np.sqrt(sums[0])
    sums[2] = pattern.view(np.float32)[0]
    bins[0] -= np.uint32(sums[3])
    bins[63] -= np.uint32(sums[4])


@compiled
def widen(address, count, kind, wide):
    """Bfloat16 or half to the bits of float32, exactly, and whatever flushing the CPU is set to."""
    narrow = as_int16(address, count)
    if kind == BFLOAT16:
        for i in range(count):
            wide[i] = np.int32(narrow[i]) << np.int32(16)
        return
    subnormal = np.int32(0)
    for i in range(count):
        half = np.int32(narrow[i])
        rest = half & np.int32(0x7FFF)
        lift = np.int32(0x1C000) if rest < np.int32(0x7C00) else np.int32(0x38000)
        wide[i] = ((half & np.int32(0x8000)) << np.int32(16)) | ((rest + lift) << np.int32(13))
        subnormal |= np.int32(rest < np.int32(0x400))
    if subnormal == 0:
        return
    lowest = np.empty(1, np.float32)
    pattern = lowest.view(np.int32)
    for i in range(count):
        rest = np.int32(narrow[i]) & np.int32(0x7FFF)
        if rest < np.int32(0x400):
            lowest[0] = np.float32(rest) * np.float32(2.0**-24)
            wide[i] = (wide[i] & np.int32(-0x80000000)) | pattern[0]


@compiled
def read_single(addresses, sizes, kinds, sums, histogram, edge):
    """Read tensors of float32, bfloat16 and half: into ``sums``, and ``histogram`` unless empty.

    ``sums`` (tensors, 5) are l2 norm, sum, largest magnitude, zeros, non-finite; ``histogram`` is
    (tensors, 64); ``edge`` is the bit pattern of the lowest edge of bin 0. Both are added to:
    give zeros.
    """
    wide = np.empty(BLOCK, np.int32)
    counts = np.empty(WINDOW, np.uint32)
    nowhere = np.zeros(64, np.uint32)
    counted = histogram.shape[0] > 0
    for t in range(addresses.shape[0]):
        bins = histogram[t] if counted else nowhere
        largest = np.int32(0)
        step = BLOCK if counted or kinds[t] != FLOAT32 else STRETCH
        for start in range(0, sizes[t], step):
            count = min(sizes[t] - start, step)
            if kinds[t] == FLOAT32:
                here = addresses[t] + np.uint64(4 * start)
                following = here + np.uint64(4 * count)
            else:
                following = addresses[t] + np.uint64(2 * (start + count))
                widen(addresses[t] + np.uint64(2 * start), count, kinds[t], wide)
                here = np.uint64(wide.ctypes.data)
            if counted:
                one = _read_block(here, count, following, edge, counts, sums[t], bins)
            else:
                one = _add_block(here, count, np.uint64(AHEAD), sums[t])
            largest = max(largest, one)
        _finish(sums[t], largest, bins)
