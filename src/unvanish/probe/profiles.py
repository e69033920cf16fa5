"""Profiles: the gradient over time steps and positions."""

from collections.abc import Sequence

from unvanish.kinds import EMBEDDINGS
from unvanish.probe.sight import Sight
from unvanish.trace import (
    Op,
    Profile,
)


def profiles(sight: Sight, ops: Sequence[Op], index_of: dict[int, int]) -> tuple[Profile, ...]:
    """dL/dx_t of recurrent modules, of cells called in a loop, and over positions of the input."""
    found = [
        Profile(
            module=r.module,
            axis="time",
            source="input",
            norms=r.norms,
            bidirectional=r.bidirectional,
        )
        for r in sight.sequences
        if r.norms is not None and len(r.norms) > 1
    ]
    found += _call_profiles(ops)
    for node, norms in sight.positions.items():
        if node in index_of and len(norms) > 1:
            op = ops[index_of[node]]
            source = "embedding" if op.kind in EMBEDDINGS else "model input"
            found.append(Profile(module=op.module, axis="position", source=source, norms=norms))
    return tuple(found)


def _call_profiles(ops: Sequence[Op]) -> list[Profile]:
    """dL/d(output) of modules called step by step (a cell in a loop), one figure a call.

    The gradient at a call's output is the largest that enters the call's ops from outside it.
    Calls count as steps only where each one's gradient comes through the next one's.
    """
    outputs: dict[str, dict[int, float]] = {}
    for op in ops:
        for edge in op.edges:
            target = ops[edge.target] if edge.target is not None and edge.side == "data" else None
            if target is None or target.norm is None or target.role == "leaf":
                continue
            if target.module and (target.module, target.call) != (op.module, op.call):
                calls = outputs.setdefault(target.module, {})
                calls[target.call] = max(calls.get(target.call, 0.0), target.norm)
    return [
        Profile(
            module=module,
            axis="time",
            source="call",
            norms=tuple(calls[number] for number in sorted(calls)),
        )
        for module, calls in outputs.items()
        if len(calls) > 2 and _chained(ops, module) >= len(calls) - 2
    ]


def _chained(ops: Sequence[Op], module: str) -> int:
    """How many calls of a module get gradient that came straight from the call after them."""
    last: dict[int, set[int]] = {}  # op -> calls of the module that its gradient came through last
    steps: set[int] = set()
    for op in ops:
        came = last.get(op.index, set())
        if op.module == module:
            if op.call + 1 in came:
                steps.add(op.call)
            came = {op.call}
        for edge in op.edges:
            if came and edge.target is not None and edge.side == "data":
                last.setdefault(edge.target, set()).update(came)
    return len(steps)
