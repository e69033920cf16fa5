"""The innermost loops, written in vectors: what numba's compiler does not find by itself.

Each is a function of compiled code that takes addresses. The vectors are of 64 bytes; LLVM
splits them on processors with shorter ones, so nothing here depends on the processor. Left to
the compiler, the same loops run at half the speed: it keeps one accumulator, which waits for
itself, and it does not see that bytes are enough to sort magnitudes by octave.

Memory is never idle. What comes next is called for (prefetched) while this is worked on; and what
is read only once is read at several places in turn, because a core follows each page of memory that
it reads from in sequence with its own requests: one such stream is far from all that it can ask for.
"""

# numba and llvmlite have no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
from typing import Any

from llvmlite import ir
from numba import types

from unvanish.watching.fused.compiling import in_vectors
from unvanish.watching.fused.instructions import (
    BYTES,
    DOUBLES,
    INT32,
    INT64,
    SINGLES,
    WORDS,
    call,
    call_for,
    filled,
    load,
    loop,
    plus,
    signed,
    spread,
    store,
    total,
)

AHEAD = 2048
"""Bytes that a loop that reads once calls for ahead of itself, at each of its places."""

STREAMS = 4
"""Places that a loop that reads once reads at in turn."""

STRETCH = 1 << 18
"""Entries that are read so at once: long against AHEAD, beyond which nothing is called for."""

BLOCK = 4096
"""Entries that are looked at several times before the next are: they fit the nearest cache."""

WINDOW = 16
"""Octaves that are counted at a time."""


def _squares(builder: Any, value: Any, sum_of_squares: Any) -> Any:
    return call(builder, "llvm.fma.v8f64", DOUBLES, [value, value, sum_of_squares])


def _widened(builder: Any, address: Any) -> list[Any]:
    """Sixteen float32 as float64."""
    places = (address, plus(builder, address, 32))
    return [builder.fpext(load(builder, place, SINGLES), DOUBLES) for place in places]


@in_vectors
def vector_sums(_context: Any, _address: Any, _vectors: Any, _ahead: Any) -> Any:
    """(sum, squares, largest bit pattern of a magnitude, zeros) of STREAMS x 16 ``vectors`` float32.

    The sums say nothing if the pattern is that of NaN or Inf. The entries are read in STREAMS parts
    at a time, and memory is called for ``ahead`` bytes ahead in each.
    """
    result = types.Tuple((types.float64, types.float64, types.int32, types.int32))

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, turns, ahead = arguments
        part = builder.shl(turns, ir.Constant(INT64, 6))

        def read(here: Any, carried: list[Any]) -> list[Any]:
            low, high, low_squares, high_squares, largest, zeros = carried
            call_for(builder, builder.add(here, ahead))
            one, two = _widened(builder, here)
            bits = builder.and_(load(builder, here, WORDS), filled(WORDS, 0x7FFFFFFF))
            zero = builder.sext(builder.icmp_signed("==", bits, filled(WORDS, 0)), WORDS)
            return [
                builder.fadd(low, one),
                builder.fadd(high, two),
                _squares(builder, one, low_squares),
                _squares(builder, two, high_squares),
                call(builder, "llvm.smax.v16i32", WORDS, [largest, bits]),
                builder.sub(zeros, zero),
            ]

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            here = builder.add(base, builder.shl(turn, ir.Constant(INT64, 6)))
            for _ in range(STREAMS):
                carried = read(here, carried)
                here = builder.add(here, part)
            return carried

        start = [filled(DOUBLES, 0.0)] * 4 + [filled(WORDS, 0)] * 2
        low, high, low_squares, high_squares, largest, zeros = loop(builder, turns, start, body)
        numbers = [
            total(builder, [builder.fadd(low, high)]),
            total(builder, [builder.fadd(low_squares, high_squares)]),
            call(builder, "llvm.vector.reduce.smax.v16i32", INT32, [largest]),
            call(builder, "llvm.vector.reduce.add.v16i32", INT32, [zeros]),
        ]
        return context.make_tuple(builder, signature.return_type, numbers)

    return result(types.uint64, types.int64, types.uint64), build


@in_vectors
def vector_octaves(
    _context: Any,
    _address: Any,
    _following: Any,
    _turns: Any,
    _edge: Any,
    _first: Any,
    _counts: Any,
) -> Any:
    """Count ``turns`` x 64 float32 in WINDOW bins from ``first`` on, into uint32 at ``counts``.

    A bin is an octave above ``edge``, the bit pattern of the lowest edge of bin 0; what is below
    counts as bin 0, what is above as bin 63. ``first`` may be below 0, where nothing is. The bins
    of 64 entries fill one vector of bytes, which is compared with each bin of the window. The
    same lines of memory at ``following`` are called for meanwhile.
    """

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        base, following, turns, edge, first, counts = arguments
        edges, firsts = spread(builder, edge, WORDS), spread(builder, first, BYTES)

        def octave(here: Any, byte: int) -> Any:
            """Of 16 entries, in this byte of 16 words; garbage in the bytes above."""
            bits = builder.and_(load(builder, here, WORDS), filled(WORDS, 0x7FFFFFFF))
            above = builder.sub(bits, edges)
            above = call(builder, "llvm.smax.v16i32", WORDS, [above, filled(WORDS, 0)])
            if byte == 3:
                return builder.shl(above, filled(WORDS, 1))
            return builder.lshr(above, filled(WORDS, 23 - 8 * byte))

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            here = builder.add(base, builder.shl(turn, ir.Constant(INT64, 8)))
            next_one = builder.add(following, builder.shl(turn, ir.Constant(INT64, 8)))
            for line in range(4):
                call_for(builder, plus(builder, next_one, 64 * line))
            words = octave(here, 0)
            for byte in (1, 2, 3):
                mask = filled(WORDS, signed(0xFF << 8 * byte))
                one = builder.and_(octave(plus(builder, here, 64 * byte), byte), mask)
                words = builder.or_(words, one)
            bins = builder.bitcast(words, BYTES)
            bins = call(builder, "llvm.umin.v64i8", BYTES, [bins, filled(BYTES, 63)])
            places = builder.sub(bins, firsts)
            counted: list[Any] = []
            for place, count in enumerate(carried):
                inside = builder.icmp_signed("==", places, filled(BYTES, place))
                many = call(builder, "llvm.ctpop.i64", INT64, [builder.bitcast(inside, INT64)])
                counted.append(builder.add(count, many))
            return counted

        found = loop(builder, turns, [ir.Constant(INT64, 0)] * WINDOW, body)
        for place, many in enumerate(found):
            store(builder, builder.trunc(many, INT32), plus(builder, counts, 4 * place))
        return context.get_dummy_value()

    kinds = types.uint64, types.uint64, types.int64, types.int32, types.int8, types.uint64
    return types.void(*kinds), build


@in_vectors
def vector_change(_context: Any, _address: Any, _copy: Any, _vectors: Any) -> Any:
    """(squares of now - copy, squares of copy) of ``vectors`` x 16 float32."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, copy, turns = arguments

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            moved_low, moved_high, held_low, held_high = carried
            offset = builder.shl(turn, ir.Constant(INT64, 6))
            here, there = builder.add(base, offset), builder.add(copy, offset)
            call_for(builder, plus(builder, here, AHEAD))
            call_for(builder, plus(builder, there, AHEAD))
            now, then = _widened(builder, here), _widened(builder, there)
            low, high = (builder.fsub(*pair) for pair in zip(now, then, strict=True))
            return [
                _squares(builder, low, moved_low),
                _squares(builder, high, moved_high),
                _squares(builder, then[0], held_low),
                _squares(builder, then[1], held_high),
            ]

        sums = loop(builder, turns, [filled(DOUBLES, 0.0)] * 4, body)
        numbers = [total(builder, sums[:2]), total(builder, sums[2:])]
        return context.make_tuple(builder, signature.return_type, numbers)

    result = types.UniTuple(types.float64, 2)
    return result(types.uint64, types.uint64, types.int64), build
