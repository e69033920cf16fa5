"""Instructions of the compiler, named once: what the innermost loops are written in.

A ``builder`` writes them one after the other into the function that is being made.
"""

# llvmlite has no type annotations; pyright would ask for them in every line below.
# pyright: basic
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

INT8, INT32, INT64 = (ir.IntType(bits) for bits in (8, 32, 64))
DOUBLE = ir.DoubleType()
BYTES = ir.VectorType(INT8, 64)
SINGLES = ir.VectorType(ir.FloatType(), 8)
DOUBLES = ir.VectorType(DOUBLE, 8)
WORDS = ir.VectorType(INT32, 16)


def filled(vector: Any, number: float) -> Any:
    """The constant vector of one number."""
    return ir.Constant(vector, [number] * vector.count)


def signed(word: int) -> int:
    """The number of 32 bits that has the bits of this one without sign."""
    return word - (1 << 32) if word >> 31 else word


def spread(builder: Any, number: Any, vector: Any) -> Any:
    """One number in every lane."""
    nothing = ir.Constant(vector, ir.Undefined)
    lowest = builder.insert_element(nothing, number, ir.Constant(INT32, 0))
    places = filled(ir.VectorType(INT32, vector.count), 0)
    return builder.shuffle_vector(lowest, nothing, places)


def plus(builder: Any, address: Any, more: int) -> Any:
    """An address so many bytes further on."""
    return builder.add(address, ir.Constant(INT64, more))


def load(builder: Any, address: Any, vector: Any) -> Any:
    """The vector at an address, aligned or not."""
    loaded = builder.load(builder.inttoptr(address, vector.as_pointer()))
    loaded.align = 1
    return loaded


def store(builder: Any, value: Any, address: Any) -> None:
    """Write a vector to an address, aligned or not."""
    builder.store(value, builder.inttoptr(address, value.type.as_pointer())).align = 1


def call(builder: Any, name: str, result: Any, arguments: Sequence[Any]) -> Any:
    """Call one of the compiler's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


def call_for(builder: Any, address: Any) -> None:
    """Let memory bring the line of 64 bytes at any address nearer, without waiting."""
    pointer = builder.inttoptr(address, INT8.as_pointer())
    flags = [ir.Constant(INT32, flag) for flag in (0, 2, 1)]
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, *flags])


def loop(
    builder: Any, turns: Any, start: Sequence[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Run ``body(turn, carried) -> carried`` so many times; the values carried out of it."""
    before = builder.block
    test, inside, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(test)
    builder.position_at_end(test)
    turn = builder.phi(INT64)
    carried = [builder.phi(value.type) for value in start]
    builder.cbranch(builder.icmp_signed("<", turn, turns), inside, after)
    builder.position_at_end(inside)
    turned = body(turn, carried)
    following = plus(builder, turn, 1)
    for phi, first, later in zip(
        [turn, *carried], [ir.Constant(INT64, 0), *start], [following, *turned], strict=True
    ):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.branch(test)
    builder.position_at_end(after)
    return carried


def total(builder: Any, vectors: Sequence[Any]) -> Any:
    """The sum of all lanes of vectors of float64."""
    result = ir.Constant(DOUBLE, 0.0)
    for vector in vectors:
        for lane in range(vector.type.count):
            entry = builder.extract_element(vector, ir.Constant(INT32, lane))
            result = builder.fadd(result, entry)
    return result
