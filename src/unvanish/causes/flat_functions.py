"""Functions that are flat everywhere: autograd goes through them, and the gradient is always zero."""

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
        if op.kind in FLAT and op.norm and not op.left:
            lost = sorted(zero & _behind(trace, op))
            if lost:
                cuts.append(FlatCut(op=op, parameters=tuple(lost)))
    return cuts


def _behind(trace: Trace, op: Op) -> set[str]:
    seen, pending, names = {op.index}, [op.index], set[str]()
    while pending:
        current = trace.ops[pending.pop()]
        if current.parameter is not None:
            names.add(current.parameter)
        for edge in current.edges:
            if edge.target is not None and edge.target not in seen:
                seen.add(edge.target)
                pending.append(edge.target)
    return names
