"""Where NaN and Inf came from, in the first batch that shows them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from unvanish.probe.flow import WRITTEN_INFINITE, BadValue, Flow
from unvanish.probe.ledger import build_ops
from unvanish.probe.sight import Sight
from unvanish.trace import Nonfinite, Op


def nonfinite_records(
    sights: Sequence[Sight], ops: Sequence[Op], index_of: dict[int, int]
) -> tuple[Nonfinite, ...]:
    """What made NaN or Inf on the way to the loss, and on the way back, each at most once.

    ``ops`` and ``index_of`` are those of the first batch.
    """
    for number, sight in enumerate(sights):
        if number and not sight.first_bad and math.isfinite(sight.loss):
            continue
        if number:
            ops = build_ops(sight)
            index_of = {node: position for position, node in enumerate(sight.order)}
        found = (*_forward(sight.flow, sight.loss), *_backward(sight, ops, index_of))
        if found:
            return tuple(replace(bad, batch=number) for bad in found)
    return ()


def _forward(flow: Flow, loss: float) -> list[Nonfinite]:
    """The first op that made NaN or Inf out of finite numbers and led to a loss that is neither.

    An infinity that the loss survives was meant (a masked score); so is one written on purpose.
    """
    if math.isfinite(loss) or not flow.bad:
        return []
    leading = flow.ancestors([flow.loss_call]) if flow.loss_call is not None else None
    candidates = [bad for bad in flow.bad if leading is None or bad.call in leading]
    made = [bad for bad in candidates if bad.nans] + [
        bad for bad in candidates if flow.calls[bad.call].function not in WRITTEN_INFINITE
    ]
    if not made:
        return []
    bad = min(made, key=lambda b: b.call)
    return [_made(flow, bad, "forward", bad.leaves)]


def _made(flow: Flow, bad: BadValue, phase: str, parameters: tuple[str, ...]) -> Nonfinite:
    """The record of an operation of the forward pass."""
    call = flow.calls[bad.call]
    return Nonfinite(
        phase=phase,
        operation=call.function,
        module=call.module,
        call=call.number,
        kind="nan" if bad.nans else "inf",
        count=bad.nans + bad.infinite,
        input_min=bad.low,
        input_max=bad.high,
        input_zeros=bad.zeros,
        parameters=parameters,
        came_in=bad.came_in,
    )


def _backward(sight: Sight, ops: Sequence[Op], index_of: dict[int, int]) -> list[Nonfinite]:
    """The first op that turns a finite gradient into NaN or Inf on the way to some parameter."""
    poisoned = {op.index for op in ops if op.parameter is not None and op.nonfinite}
    names: dict[int, set[str]] = {}
    for op in reversed(ops):
        mine = {op.parameter} if op.index in poisoned and op.parameter else set[str]()
        for edge in op.edges:
            if edge.target is not None and edge.nonfinite:
                mine |= names.get(edge.target, set())
        names[op.index] = mine
    for node, limits, zeros in sight.first_bad or _first_bad(sight, ops):
        if node not in index_of or not names[index_of[node]]:
            continue
        op = ops[index_of[node]]
        if read := _read_nan(sight, node):
            every = tuple(sorted(ops[index].parameter or "" for index in poisoned))
            return [_made(sight.flow, read, "backward", every)]
        return [
            Nonfinite(
                phase="backward",
                operation=op.kind,
                module=op.module,
                call=op.call,
                kind="nonfinite",
                count=sum(edge.nonfinite or 0 for edge in op.edges),
                input_min=limits[0] if limits else None,
                input_max=limits[1] if limits else None,
                input_zeros=zeros if limits else None,
                parameters=tuple(sorted(names[op.index])),
            )
        ]
    return []


def _first_bad(
    sight: Sight, ops: Sequence[Op]
) -> Iterator[tuple[int, tuple[float, float] | None, int]]:
    """Ops that got a finite gradient and passed on one that is not, where nobody looked closer."""
    for op in ops:
        if op.nonfinite == 0 and any(edge.nonfinite for edge in op.edges):
            yield sight.order[op.index], None, 0


def _read_nan(sight: Sight, node: int) -> BadValue | None:
    """What made a NaN in the forward pass that this op read, if something did.

    A loss that leaves the NaN out (a row that is sliced away) stays finite. The derivative of what
    read it does not: zero times NaN.
    """
    calls, own, span = sight.flow.calls, sight.calls.get(node), sight.spans.get(node)
    reads = (
        index
        for index, call in enumerate(calls)
        if (call is own if own is not None else span is not None and call.module == span.path)
    )
    index = next(reads, None)
    if index is None:
        return None
    behind = sight.flow.ancestors([index]) - {index}
    nans = [bad for bad in sight.flow.bad if bad.nans and bad.call in behind]
    return min(nans, key=lambda bad: bad.call, default=None)
