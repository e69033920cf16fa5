"""Limits written by hand that no sample gets through: ``clamp``, ``maximum``, ``x * (x > 0)``, ``exp``.

Inside its range a limit hands everything on, outside of it nothing. What such a call is (a rectifier
that is off, an activation at its end) its values say.
"""

from dataclasses import dataclass

from unvanish.causes.dataflow import Dataflow
from unvanish.causes.flat_functions import behind
from unvanish.trace import Op, Trace

LIMITS = dict[str, frozenset[str]](
    Clamp=frozenset(("clamp", "clip")),
    ClampMin=frozenset(("clamp_min", "clamp", "clip")),
    ClampMax=frozenset(("clamp_max", "clamp", "clip")),
    Threshold=frozenset(("threshold",)),
    Maximum=frozenset(("maximum", "max")),
    Minimum=frozenset(("minimum", "min")),
)
"""What the program calls, by what autograd calls it."""
CHOICES = dict[str, frozenset[str]](
    Where=frozenset(("where",)),
    Mul=frozenset(("mul", "multiply")),
    MaskedFill=frozenset(("masked_fill",)),
)
"""Limits at zero, where what is chosen by is a comparison of the very values that are chosen."""
VANISHING = dict[str, frozenset[str]](Exp=frozenset(("exp",)), Exp2=frozenset(("exp2",)))
"""Their slope is their value, which is exactly zero once it is smaller than any number of its dtype."""
COMPARISONS = frozenset("gt ge lt le greater greater_equal less less_equal".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLimit:
    """A limit inside the model that all values are beyond.

    ``where`` is its module and what feeds it, ``units`` how many features (channels, where it
    stands behind a convolution) it has; ``at_zero`` says that they all are zero, as those of a
    rectifier that is off.
    """

    where: tuple[str, ...]
    units: int
    at_zero: bool
    input_rms: float | None


def closed_limits(trace: Trace) -> list[ClosedLimit]:
    """Those that a gradient arrived at and none left, though something that trains is behind.

    Without a weight between it and the loss it is part of the loss: a hinge that is solved, boxes
    that do not overlap, or an output that is cut to its range.
    """
    shut = [op for op in trace.ops if _may_limit(op) and op.norm and op.left == 0]
    if not shut:
        return []
    flow = Dataflow(trace)
    hidden = _hidden(flow)
    zero = {p.name for p in trace.parameters if p.state == "zero"}
    limits: dict[int, ClosedLimit] = {}
    for op in shut:
        lost = zero & behind(trace, op.index)
        called = next((i for i in _called(flow, op, hidden) if lost & flow.leaves(i)), None)
        if called is not None:
            limits.setdefault(called, _limit(flow, called))
    return [limits[index] for index in sorted(limits)]


def _may_limit(op: Op) -> bool:
    return op.kind in LIMITS or op.kind in CHOICES or op.kind in VANISHING


def _hidden(flow: Dataflow) -> list[int]:
    """The operations that a layer with weights of its own reads, on its way to the loss."""
    layers = [i for i in flow.to_loss if flow[i].parameters]
    return sorted(flow.ancestors(m for i in layers for m in flow[i].inputs if m is not None))


def _called(flow: Dataflow, op: Op, hidden: list[int]) -> list[int]:
    """The calls in the program that may have made this op."""
    return [
        i
        for i in hidden
        if flow[i].inside
        and (flow[i].module, flow[i].call) == (op.module, op.call)
        and (op.output_rms is None or op.output_rms == flow[i].output_rms)
        and _made(flow, i, op.kind)
    ]


def _made(flow: Dataflow, index: int, kind: str) -> bool:
    function = flow[index].function.strip("_")
    if kind in LIMITS:
        return function in LIMITS[kind]
    if kind in VANISHING:
        return function in VANISHING[kind] and flow.is_zero(index)
    return function in CHOICES[kind] and flow.is_zero(index) and chosen_by_itself(flow, index)


def chosen_by_itself(flow: Dataflow, index: int) -> bool:
    """Whether a comparison of the very values that come in says which of them go on."""
    makers = {flow.before(m) for m in flow[index].inputs if m is not None} - {None}
    compared = [m for m in makers if m is not None and flow[m].function in COMPARISONS]
    return any(flow.argument(m) in makers for m in compared)


def _limit(flow: Dataflow, index: int) -> ClosedLimit:
    operation, shape = flow[index], list(flow[index].output_shape) or [1]
    place, feeder = operation.module, flow.feeder(index)
    maker = flow.argument(index, through=frozenset())
    return ClosedLimit(
        where=tuple(dict.fromkeys(name for name in (place, feeder) if name)) or ("(model)",),
        units=shape[1] if len(shape) > 3 else shape[-1],
        at_zero=operation.output_rms == 0,
        input_rms=flow[maker].output_rms if maker is not None else None,
    )
