"""Functions that are flat: autograd goes through them, and the gradient is always zero.

Some are flat everywhere. A norm is flat where it normalises a single value: less its mean, divided
by its size, every number becomes the same one.
"""

from dataclasses import dataclass

from unvanish.trace import Op, Trace

FLAT = frozenset(("Round", "Floor", "Ceil", "Sign", "Sgn", "Trunc"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatCut:
    """An op whose derivative is zero everywhere, and the parameters that get nothing for it."""

    op: Op
    parameters: tuple[str, ...]


def flat_cuts(trace: Trace) -> list[FlatCut]:
    """Flat ops that a gradient arrived at, with the parameters behind them that got only zeros."""
    zero = {p.name for p in trace.parameters if p.state == "zero"}
    cuts: list[FlatCut] = []
    for op in trace.ops:
        if op.norm and (not op.left if op.kind in FLAT else _forgets(trace, op)):
            lost = sorted(zero & behind(trace, op.index))
            if lost:
                cuts.append(FlatCut(op=op, parameters=tuple(lost)))
    return cuts


def _forgets(trace: Trace, op: Op) -> bool:
    """Whether a norm passes nothing on, though the weight that it multiplies by is not zero."""
    if op.role != "norm" or op.left != 0:
        return False
    # Autograd lists the input first, then the weight, then the bias.
    weights = [e.target for e in op.edges if e.side == "parameter" and e.target is not None][:1]
    names = {name for weight in weights for name in behind(trace, weight)}
    return all(p.weight_norm for p in trace.parameters if p.name in names)


def behind(trace: Trace, start: int) -> set[str]:
    """The parameters that the gradient of this op flows on to."""
    seen, pending, names = {start}, [start], set[str]()
    while pending:
        current = trace.ops[pending.pop()]
        if current.parameter is not None:
            names.add(current.parameter)
        for edge in current.edges:
            if edge.target is not None and edge.target not in seen:
                seen.add(edge.target)
                pending.append(edge.target)
    return names
