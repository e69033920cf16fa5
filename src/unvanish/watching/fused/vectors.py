"""The innermost loops, written in vectors: what numba's compiler does not find by itself.

Each is a function of compiled code that takes addresses. The vectors are of 64 bytes; LLVM
splits them on processors with shorter ones, so nothing here depends on the processor. Left to
the compiler, the same loops run at half the speed: it keeps one accumulator, which waits for
itself, and it does not see that sixteen-bit lanes are enough to sort magnitudes by octave.

The next block is called for (prefetched) while this one is worked on: memory is never idle.
"""

# numba and llvmlite have no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types

from unvanish.watching.fused.compiling import in_vectors

AHEAD = 8192
"""Bytes that a loop that reads once calls for ahead of itself."""

BLOCK = 2048
"""Entries that are looked at several times before the next are: they fit the nearest cache."""

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_DOUBLE = ir.DoubleType()
_SINGLES = ir.VectorType(ir.FloatType(), 8)
_DOUBLES = ir.VectorType(_DOUBLE, 8)
_WORDS = ir.VectorType(_I32, 16)
_HALVES = ir.VectorType(_I16, 32)


def _all(vector: Any, number: float) -> Any:
    return ir.Constant(vector, [number] * vector.count)


def _plus(builder: Any, address: Any, more: int) -> Any:
    return builder.add(address, ir.Constant(_I64, more))


def _load(builder: Any, address: Any, vector: Any) -> Any:
    loaded = builder.load(builder.inttoptr(address, vector.as_pointer()))
    loaded.align = 1
    return loaded


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def _call(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def _prefetch(builder: Any, address: Any) -> None:
    pointer = builder.inttoptr(address, _I8.as_pointer())
    flags = [ir.Constant(_I32, flag) for flag in (0, 2, 1)]
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *flags])


def _loop(
    builder: Any, turns: Any, start: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Run ``body(turn, carried) -> carried`` so many times; the values carried out of it."""
    before = builder.block
    test, inside, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(test)
    builder.position_at_end(test)
    turn = builder.phi(_I64)
    carried = [builder.phi(value.type) for value in start]
    builder.cbranch(builder.icmp_signed("<", turn, turns), inside, after)
    builder.position_at_end(inside)
    turned = body(turn, carried)
    following = _plus(builder, turn, 1)
    for phi, first, later in zip(
        [turn, *carried], [ir.Constant(_I64, 0), *start], [following, *turned], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.branch(test)
    builder.position_at_end(after)
    return carried


def _total(builder: Any, vectors: Sequence[Any]) -> Any:
    total = ir.Constant(_DOUBLE, 0.0)
    for vector in vectors:
        for lane in range(vector.type.count):
            entry = builder.extract_element(vector, ir.Constant(_I32, lane))
            total = builder.fadd(total, entry)
    return total


def _squares(builder: Any, value: Any, sum_of_squares: Any) -> Any:
    return _call(builder, "llvm.fma.v8f64", _DOUBLES, [value, value, sum_of_squares])


def _widened(builder: Any, address: Any) -> list[Any]:
    """Sixteen float32 as float64."""
    places = (address, _plus(builder, address, 32))
    return [builder.fpext(_load(builder, place, _SINGLES), _DOUBLES) for place in places]


@in_vectors
def vector_sums(_context: Any, _address: Any, _vectors: Any, _ahead: Any) -> Any:
    """(sum, squares, largest bit pattern of a magnitude, zeros) of ``vectors`` x 16 float32.

    The sums say nothing if the pattern is that of NaN or Inf. Memory is called for ``ahead`` bytes
    ahead.
    """
    result = types.Tuple((types.float64, types.float64, types.int32, types.int32))

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, turns, ahead = arguments

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            low, high, low_squares, high_squares, largest, zeros = carried
            here = builder.add(base, builder.shl(turn, ir.Constant(_I64, 6)))
            _prefetch(builder, builder.add(here, ahead))
            one, two = _widened(builder, here)
            bits = builder.and_(_load(builder, here, _WORDS), _all(_WORDS, 0x7FFFFFFF))
            zero = builder.sext(builder.icmp_signed("==", bits, _all(_WORDS, 0)), _WORDS)
            return [
                builder.fadd(low, one),
                builder.fadd(high, two),
                _squares(builder, one, low_squares),
                _squares(builder, two, high_squares),
                _call(builder, "llvm.smax.v16i32", _WORDS, [largest, bits]),
                builder.sub(zeros, zero),
            ]

        start = [_all(_DOUBLES, 0.0)] * 4 + [_all(_WORDS, 0)] * 2
        low, high, low_squares, high_squares, largest, zeros = _loop(builder, turns, start, body)
        numbers = [
            _total(builder, [builder.fadd(low, high)]),
            _total(builder, [builder.fadd(low_squares, high_squares)]),
            _call(builder, "llvm.vector.reduce.smax.v16i32", _I32, [largest]),
            _call(builder, "llvm.vector.reduce.add.v16i32", _I32, [zeros]),
        ]
        return context.make_tuple(builder, signature.return_type, numbers)

    return result(types.uint64, types.int64, types.uint64), build


@in_vectors
def vector_pairs(_context: Any, _address: Any, _vectors: Any, _edge: Any, _pairs: Any) -> Any:
    """Sort ``vectors`` x 32 float32 by octave and write their bins, two in each of 16 words.

    The upper half of a float32 holds its exponent, so two entries are worked on in one lane of 32
    bits. ``edge`` is the upper half of the lowest edge of bin 0, which must be a power of two. The
    lower half of each word written to the address ``pairs`` is ``bin + 64 x other bin``.
    """

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        base, turns, edge, pairs = arguments
        nothing = ir.Constant(_HALVES, ir.Undefined)
        lowest = builder.insert_element(nothing, edge, ir.Constant(_I32, 0))
        lowest = builder.shuffle_vector(lowest, nothing, _all(ir.VectorType(_I32, 32), 0))

        def body(turn: Any, _carried: list[Any]) -> list[Any]:
            here = builder.add(base, builder.shl(turn, ir.Constant(_I64, 7)))
            one = builder.lshr(_load(builder, here, _WORDS), _all(_WORDS, 16))
            two = _load(builder, _plus(builder, here, 64), _WORDS)
            both = builder.or_(one, builder.and_(two, _all(_WORDS, -65536)))
            bins = builder.and_(builder.bitcast(both, _HALVES), _all(_HALVES, 0x7FFF))
            bins = _call(builder, "llvm.usub.sat.v32i16", _HALVES, [bins, lowest])
            bins = builder.lshr(bins, _all(_HALVES, 7))
            bins = _call(builder, "llvm.umin.v32i16", _HALVES, [bins, _all(_HALVES, 63)])
            words = builder.bitcast(bins, _WORDS)
            words = builder.or_(words, builder.lshr(words, _all(_WORDS, 10)))
            _store(builder, words, builder.add(pairs, builder.shl(turn, ir.Constant(_I64, 6))))
            return []

        _loop(builder, turns, [], body)
        return context.get_dummy_value()

    return types.void(types.uint64, types.int64, types.int16, types.uint64), build


@in_vectors
def call_for(_context: Any, _address: Any) -> Any:
    """Let memory bring the line of 64 bytes at an address nearer, without waiting; any address."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _prefetch(builder, arguments[0])
        return context.get_dummy_value()

    return types.void(types.uint64), build


@in_vectors
def vector_change(_context: Any, _address: Any, _copy: Any, _vectors: Any) -> Any:
    """(squares of now - copy, squares of copy) of ``vectors`` x 16 float32."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        base, copy, turns = arguments

        def body(turn: Any, carried: list[Any]) -> list[Any]:
            moved_low, moved_high, held_low, held_high = carried
            offset = builder.shl(turn, ir.Constant(_I64, 6))
            here, there = builder.add(base, offset), builder.add(copy, offset)
            _prefetch(builder, _plus(builder, here, AHEAD))
            _prefetch(builder, _plus(builder, there, AHEAD))
            now, then = _widened(builder, here), _widened(builder, there)
            low, high = (builder.fsub(*pair) for pair in zip(now, then, strict=True))
            return [
                _squares(builder, low, moved_low),
                _squares(builder, high, moved_high),
                _squares(builder, then[0], held_low),
                _squares(builder, then[1], held_high),
            ]

        sums = _loop(builder, turns, [_all(_DOUBLES, 0.0)] * 4, body)
        numbers = [_total(builder, sums[:2]), _total(builder, sums[2:])]
        return context.make_tuple(builder, signature.return_type, numbers)

    result = types.UniTuple(types.float64, 2)
    return result(types.uint64, types.uint64, types.int64), build
