"""The passes over memory themselves, compiled by numba: many tensors in one call, one thread.

A tensor is read in blocks that stay in the first-level cache, so each block comes from memory
once however often it is looked at. Half and bfloat16 blocks are widened into a buffer first.
Sums are float64. Every kernel takes addresses: nothing here owns, copies or keeps a tensor.
"""

# numba has no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

BLOCK = 4096
_FEW = 16384
"""Tensors of fewer entries are counted in 64 bins, longer ones in 64 x 64 bins for pairs."""

_HUGE = 1e120
_SHIFT = 2.0**600
"""Float64 beyond ``_HUGE`` (or below its inverse) is scaled by this before it is squared."""

FLOAT32, BFLOAT16, FLOAT16, FLOAT64 = range(4)


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile on first use; keep the machine code on disk where a folder can be written."""
    try:
        return njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # no place for a cache: compile anew in every process
        return njit(nogil=True, **options)(function)


def _fast(function: Callable[..., Any]) -> Any:
    return compiled(function, fastmath={"reassoc", "contract", "nsz"})


def _pointer_to(entry: Any) -> Any:
    @intrinsic
    def pointer(_context: Any, _address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(entry)(types.uint64), build

    return pointer


_float32 = _pointer_to(types.float32)
_float64 = _pointer_to(types.float64)
_int16 = _pointer_to(types.int16)
_int32 = _pointer_to(types.int32)
_int64 = _pointer_to(types.int64)


@_fast
def _sums32(address, count, sums):
    """Add a block of finite float32 to (sum, squares); largest bit pattern, and exact zeros."""
    values = carray(_float32(address), count)
    bits = carray(_int32(address), count)
    total = 0.0
    squares = 0.0
    largest = np.int32(0)
    zeros = np.int32(0)
    for i in range(count):
        value = np.float64(values[i])
        total += value
        squares += value * value
        magnitude = np.int32(bits[i] & np.int32(0x7FFFFFFF))
        largest = max(largest, magnitude)
        zeros += np.int32(magnitude == 0)
    if largest < np.int32(0x7F800000):
        sums[0] += squares
        sums[1] += total
    return largest, zeros


@compiled
def _careful32(address, count, sums):
    """The same for a block that holds NaN or Inf: adds its finite entries."""
    values = carray(_float32(address), count)
    bits = carray(_int32(address), count)
    largest = np.int32(0)
    for i in range(count):
        magnitude = np.int32(bits[i] & np.int32(0x7FFFFFFF))
        if magnitude >= np.int32(0x7F800000):
            sums[4] += 1.0
        else:
            value = np.float64(values[i])
            sums[0] += value * value
            sums[1] += value
            largest = max(largest, magnitude)
    return largest


@_fast
def _pair_bins(address, half, edge, pairs):
    """Bins of entry i and of entry half + i of a float32 block, as one number of twelve bits."""
    first = carray(_int32(address), half)
    second = carray(_int32(address + np.uint64(4 * half)), half)
    for i in range(half):
        one = (np.int32(first[i] & np.int32(0x7FFFFFFF)) - edge) >> np.int32(23)
        two = (np.int32(second[i] & np.int32(0x7FFFFFFF)) - edge) >> np.int32(23)
        one = min(max(one, np.int32(0)), np.int32(63))
        two = min(max(two, np.int32(0)), np.int32(63))
        pairs[i] = np.uint16(one | (two << np.int32(6)))


@compiled
def _count_pairs(words, tables):
    """Count the pairs, four of them in a word, in two tables, so that increments rarely wait."""
    low = np.uint64(0xFFF)
    for i in range(words.shape[0]):
        word = words[i]
        tables[0, word & low] += np.uint32(1)
        tables[1, (word >> np.uint64(16)) & low] += np.uint32(1)
        tables[0, (word >> np.uint64(32)) & low] += np.uint32(1)
        tables[1, word >> np.uint64(48)] += np.uint32(1)


@compiled
def _count_each(address, count, edge, bins):
    bits = carray(_int32(address), count)
    for i in range(count):
        place = (np.int32(bits[i] & np.int32(0x7FFFFFFF)) - edge) >> np.int32(23)
        bins[min(max(place, np.int32(0)), np.int32(63))] += np.uint32(1)


@compiled
def _empty_tables(tables, bins):
    for one in range(64):
        for two in range(64):
            both = tables[0, one * 64 + two] + tables[1, one * 64 + two]
            bins[one] += both
            bins[two] += both
    tables[:] = 0


@compiled
def _widen(address, count, kind, wide):
    """Bfloat16 or half to the bits of float32, exactly, whatever the rounding mode of the CPU."""
    narrow = carray(_int16(address), count)
    if kind == BFLOAT16:
        for i in range(count):
            wide[i] = np.int32(narrow[i]) << np.int32(16)
        return
    for i in range(count):
        half = np.int32(narrow[i]) & np.int32(0xFFFF)
        sign = (half & np.int32(0x8000)) << np.int32(16)
        rest = half & np.int32(0x7FFF)
        if rest >= np.int32(0x7C00):
            rest = np.int32(0x7F800000) | ((rest & np.int32(0x3FF)) << np.int32(13))
        elif rest >= np.int32(0x400):
            rest = (rest + np.int32(0x1C000)) << np.int32(13)
        elif rest != 0:
            lift = np.int32(0)
            while rest < np.int32(0x400):
                rest = rest << np.int32(1)
                lift += np.int32(1)
            rest = (rest + np.int32(0x1C000) - (lift << np.int32(10))) << np.int32(13)
        wide[i] = sign | rest


@compiled
def read_single(addresses, sizes, kinds, sums, histogram, edge):
    """Read tensors of float32, bfloat16 and half: ``sums`` (tensors, 5), ``histogram`` or empty.

    ``sums`` are l2 norm, sum, largest magnitude, zeros, non-finite; ``edge`` is the bit pattern
    of the lowest edge of bin 0. Both are added to: give zeros.
    """
    counting = histogram.shape[0] > 0
    wide = np.empty(BLOCK, np.int32)
    pairs = np.empty(BLOCK // 2, np.uint16)
    words = pairs.view(np.uint64)
    tables = np.zeros((2, 4096), np.uint32)
    magnitude = np.zeros(1, np.int32)
    for t in range(addresses.shape[0]):
        kind = kinds[t]
        step = np.uint64(4 if kind == FLOAT32 else 2)
        address = addresses[t]
        left = sizes[t]
        while left > 0:
            count = min(left, BLOCK)
            here = address
            if kind != FLOAT32:
                _widen(address, count, kind, wide)
                here = np.uint64(wide.ctypes.data)
            largest, zeros = _sums32(here, count, sums[t])
            sums[t, 3] += zeros
            if largest >= np.int32(0x7F800000):
                largest = _careful32(here, count, sums[t])
            magnitude[0] = max(magnitude[0], largest)
            if counting and count == BLOCK and sizes[t] >= _FEW:
                _pair_bins(here, BLOCK // 2, edge, pairs)
                _count_pairs(words, tables)
            elif counting:
                _count_each(here, count, edge, histogram[t])
            address += np.uint64(count) * step
            left -= count
        if counting:
            if sizes[t] >= _FEW:
                _empty_tables(tables, histogram[t])
            histogram[t, 0] -= np.uint32(sums[t, 3])
            histogram[t, 63] -= np.uint32(sums[t, 4])
        sums[t, 0] = np.sqrt(sums[t, 0])
        sums[t, 2] = magnitude.view(np.float32)[0]
        magnitude[0] = 0


@compiled
def _norm(parts):
    """l2 norm from squares of what is small, ordinary and huge, each in its own scale."""
    if parts[2] > 0:
        return np.sqrt(parts[2] + parts[1] / _SHIFT / _SHIFT) * _SHIFT
    if parts[1] > 0:
        return np.sqrt(parts[1] + parts[0] / _SHIFT / _SHIFT)
    return np.sqrt(parts[0]) / _SHIFT


@compiled
def _add_squares(values, largest, parts):
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
    """:func:`read_single` for float64; norms are right from the smallest normal to the largest."""
    finite = np.empty(BLOCK, np.float64)
    parts = np.zeros(3, np.float64)
    none = np.int64(0x7FF0000000000000)
    for t in range(addresses.shape[0]):
        parts[:] = 0.0
        for start in range(0, sizes[t], BLOCK):
            count = min(sizes[t] - start, BLOCK)
            here = addresses[t] + np.uint64(8 * start)
            values = carray(_float64(here), count)
            bits = carray(_int64(here), count)
            largest = 0.0
            kept = 0
            for i in range(count):
                pattern = bits[i] & np.int64(0x7FFFFFFFFFFFFFFF)
                if pattern >= none:
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
            _add_squares(finite[:kept], largest, parts)
            sums[t, 2] = max(sums[t, 2], largest)
        sums[t, 0] = _norm(parts)


@_fast
def _change32(address, before, count, keep):
    """Squares of (now - before) and of before, of one float32 block; ``keep``: before becomes now."""
    now = carray(_float32(address), count)
    then = carray(_float32(before), count)
    change = 0.0
    weight = 0.0
    for i in range(count):
        old = np.float64(then[i])
        moved = np.float64(now[i]) - old
        change += moved * moved
        weight += old * old
        if keep:
            then[i] = now[i]
    return change, weight


@compiled
def change_single(addresses, copies, sizes, kinds, norms, keep):
    """l2 norms of change and of weight before, (tensors, 2), for float32, bfloat16 and half.

    ``copies`` are the addresses of the weights before the step; with ``keep`` they are brought up
    to date in the same pass. A NaN or Inf in either makes the norm NaN or Inf.
    """
    new = np.empty(BLOCK, np.int32)
    old = np.empty(BLOCK, np.int32)
    for t in range(addresses.shape[0]):
        kind = kinds[t]
        step = 4 if kind == FLOAT32 else 2
        change = 0.0
        weight = 0.0
        for start in range(0, sizes[t], BLOCK):
            count = min(sizes[t] - start, BLOCK)
            here = addresses[t] + np.uint64(start * step)
            copy = copies[t] + np.uint64(start * step)
            if kind == FLOAT32:
                one, two = _change32(here, copy, count, keep)
            else:
                _widen(here, count, kind, new)
                _widen(copy, count, kind, old)
                one, two = _change32(
                    np.uint64(new.ctypes.data), np.uint64(old.ctypes.data), count, False
                )
                if keep:
                    carray(_int16(copy), count)[:] = carray(_int16(here), count)
            change += one
            weight += two
        norms[t, 0] = np.sqrt(change)
        norms[t, 1] = np.sqrt(weight)


@compiled
def change_double(addresses, copies, sizes, norms, keep):
    """:func:`change_single` for float64."""
    moved = np.empty(BLOCK, np.float64)
    changes = np.zeros(3, np.float64)
    weights = np.zeros(3, np.float64)
    for t in range(addresses.shape[0]):
        changes[:] = 0.0
        weights[:] = 0.0
        for start in range(0, sizes[t], BLOCK):
            count = min(sizes[t] - start, BLOCK)
            now = carray(_float64(addresses[t] + np.uint64(8 * start)), count)
            then = carray(_float64(copies[t] + np.uint64(8 * start)), count)
            most = 0.0
            largest = 0.0
            for i in range(count):
                moved[i] = now[i] - then[i]
                most = max(most, abs(moved[i]))
                largest = max(largest, abs(then[i]))
            _add_squares(moved[:count], most, changes)
            _add_squares(then, largest, weights)
            if keep:
                then[:] = now
        norms[t, 0] = _norm(changes)
        norms[t, 1] = _norm(weights)
