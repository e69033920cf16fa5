"""Functions that are flat: autograd goes through them, and the gradient is always zero.

Some are flat everywhere. A norm is flat where it normalises a single value: less its mean, divided
by its size, every number becomes the same one.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

from unvanish.trace import Op, Trace

FLAT = frozenset(("Round", "Floor", "Ceil", "Sign", "Sgn", "Trunc"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatCut:
    """An op whose derivative is zero everywhere, and the parameters that get nothing for it.

    ``single``: it is a norm over one value.
    """

    op: Op
    parameters: tuple[str, ...]
    single: bool = False


def flat_cuts(trace: Trace) -> list[FlatCut]:
    """Flat ops that a gradient arrived at, with the parameters behind them that get nothing else."""
    zero = {p.name for p in trace.parameters if p.state == "zero"}
    singles = {op.index for op in trace.ops if op.norm and _of_one_value(trace, op)}
    # Rounding leaves something behind these, which says nothing of the loss.
    apart = _reached(trace, [0], singles) if singles else set[str]()
    cuts: list[FlatCut] = []
    for op in trace.ops:
        single = op.index in singles
        if single:
            lost = _behind_data(trace, op) - apart
        elif op.norm and (not op.left if op.kind in FLAT else _forgets(trace, op)):
            lost = zero & behind(trace, op.index)
        else:
            continue
        if lost:
            cuts.append(FlatCut(op=op, parameters=tuple(sorted(lost)), single=single))
    return cuts


def _of_one_value(trace: Trace, op: Op) -> bool:
    """Whether it is a layer norm with a single weight: as many as there are values to normalise."""
    at = _weight_of(op) if op.kind == "NativeLayerNorm" else None
    name = trace.ops[at].parameter if at is not None else None
    return name is not None and math.prod(trace.parameter(name).shape) == 1


def _forgets(trace: Trace, op: Op) -> bool:
    """Whether a norm passes nothing on, though the weight that it multiplies by is not zero."""
    if op.role != "norm" or op.left != 0:
        return False
    at = _weight_of(op)
    names = behind(trace, at) if at is not None else set[str]()
    return all(p.weight_norm for p in trace.parameters if p.name in names)


def _weight_of(op: Op) -> int | None:
    """Where the gradient of a norm's weight goes: autograd lists the input, the weight, the bias."""
    known = [e.target for e in op.edges if e.side == "parameter" and e.target is not None]
    return known[0] if known else None


def _behind_data(trace: Trace, op: Op) -> set[str]:
    """The parameters that what it normalises is made with."""
    data = [e.target for e in op.edges if e.side != "parameter" and e.target is not None]
    return _reached(trace, data)


def behind(trace: Trace, start: int) -> set[str]:
    """The parameters that the gradient of this op flows on to."""
    return _reached(trace, [start])


def _reached(trace: Trace, starts: Collection[int], around: Collection[int] = ()) -> set[str]:
    """The parameters that the gradient of these ops flows on to by ways around some others."""
    pending, names = [start for start in starts if start not in around], set[str]()
    seen = {*pending, *around}
    while pending:
        current = trace.ops[pending.pop()]
        if current.parameter is not None:
            names.add(current.parameter)
        for edge in current.edges:
            if edge.target is not None and edge.target not in seen:
                seen.add(edge.target)
                pending.append(edge.target)
    return names
