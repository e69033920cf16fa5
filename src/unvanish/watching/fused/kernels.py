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
from unvanish.watching.fused.vectors import AHEAD, BLOCK, call_for, vector_pairs, vector_sums

_FEW = 4096
"""Tensors of fewer entries are counted in 64 bins, longer ones in 64 x 64 bins for pairs."""

_MANY = 96 * BLOCK
"""Entries after which the tables, of 16 bits for the sake of the cache, are emptied."""

NOT_COUNTED, EACH, BY_PAIRS = range(3)


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
    whole = count // 16
    total, squares, largest, zeros = vector_sums(address, whole, ahead)
    if largest >= np.int32(0x7F800000):
        return _add_each(address, count, sums)
    sums[0] += squares
    sums[1] += total
    sums[3] += zeros
    if whole * 16 < count:
        rest = address + np.uint64(whole * 64)
        largest = max(largest, _add_each(rest, count - whole * 16, sums))
    return largest


@compiled
def _count_each(address, count, edge, bins):
    """Count entries in the octave above ``edge``, a bit pattern, that each of them is in."""
    bits = as_int32(address, count)
    for i in range(count):
        place = (np.int32(bits[i] & np.int32(0x7FFFFFFF)) - edge) >> np.int32(23)
        bins[min(max(place, np.int32(0)), np.int32(63))] += np.uint32(1)


@compiled
def _count_pairs(halves, lines, following, tables):
    """Count pairs, in two tables in turn: an increment need not wait for the one before it.

    Sixteen entries, a line of memory, at a time; the same line of the block that is next, at
    ``following``, comes nearer meanwhile.
    """
    one = np.uint16(1)
    for i in range(lines):
        call_for(following + np.uint64(64 * i))
        for j in range(16 * i, 16 * i + 16, 4):
            tables[0, halves[j]] += one
            tables[1, halves[j + 2]] += one


@compiled
def _empty_tables(tables, bins):
    for one in range(64):
        total = np.uint32(0)
        for two in range(64):
            place = one * 64 + two
            both = np.uint32(np.uint32(tables[0, place]) + np.uint32(tables[1, place]))
            total += both
            bins[two] += both
        bins[one] += total
    tables[:] = np.uint16(0)


@compiled
def _count_block(address, count, following, edge, pairs, tables, bins):
    """Count a block by pairs, and what does not fill a vector one by one."""
    whole = count // 32
    halves = pairs.view(np.uint16)
    upper = np.int16(edge >> np.int32(16))
    vector_pairs(address, whole, upper, np.uint64(pairs.ctypes.data))
    _count_pairs(halves, whole * 2, following, tables)
    if whole * 32 < count:
        _count_each(address + np.uint64(whole * 128), count - whole * 32, edge, bins)


@compiled
def _read_block(address, count, following, way, edge, pairs, tables, sums, bins):
    """Everything of one block of float32; its largest bit pattern."""
    ahead = np.uint64(0 if way == BY_PAIRS else AHEAD)
    largest = _add_block(address, count, ahead, sums)
    if way == BY_PAIRS:
        _count_block(address, count, following, edge, pairs, tables, bins)
    elif way == EACH:
        _count_each(address, count, edge, bins)
    return largest


@compiled
def _way(histogram, size, edge):
    if histogram.shape[0] == 0:
        return NOT_COUNTED
    return BY_PAIRS if size >= _FEW and edge & np.int32(0x7FFFFF) == 0 else EACH


@compiled
def _finish(sums, largest, way, tables, bins):
    """From squares to the norm; what has no octave is taken out of the first and last bin."""
    pattern = np.empty(1, np.int32)
    pattern[0] = largest
    sums[0] = np.sqrt(sums[0])
    sums[2] = pattern.view(np.float32)[0]
    if way == BY_PAIRS:
        _empty_tables(tables, bins)
    if way != NOT_COUNTED:
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
    pairs = np.empty(BLOCK // 2, np.uint32)
    tables = np.zeros((2, 4096), np.uint16)
    nowhere = np.zeros(64, np.uint32)
    for t in range(addresses.shape[0]):
        way = _way(histogram, sizes[t], edge)
        bins = nowhere if way == NOT_COUNTED else histogram[t]
        largest = np.int32(0)
        for start in range(0, sizes[t], BLOCK):
            count = min(sizes[t] - start, BLOCK)
            if kinds[t] == FLOAT32:
                here = addresses[t] + np.uint64(4 * start)
                following = here + np.uint64(4 * count)
            else:
                following = addresses[t] + np.uint64(2 * start)
                widen(following, count, kinds[t], wide)
                here = np.uint64(wide.ctypes.data)
            one = _read_block(here, count, following, way, edge, pairs, tables, sums[t], bins)
            largest = max(largest, one)
            if way == BY_PAIRS and (start + BLOCK) % _MANY == 0:
                _empty_tables(tables, bins)
        _finish(sums[t], largest, way, tables, bins)
