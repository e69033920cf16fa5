"""Profiles: the gradient over time steps and positions."""

from collections.abc import Sequence

from unvanish.kinds import EMBEDDINGS
from unvanish.probe.repeated_input import rereads
from unvanish.probe.sight import Sight
from unvanish.trace import Edge, Op, Profile

STEPPING = frozenset(("weight", "product"))
"""What a step may multiply the state by: a matrix, or one factor for each of its entries."""


def profiles(sight: Sight, ops: Sequence[Op], index_of: dict[int, int]) -> tuple[Profile, ...]:
    """dL/dx_t of recurrent modules, of cells and weights used in a loop, and over positions."""
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
    calls = _call_profiles(ops)
    found += calls
    told = {profile.module for profile in calls} | {r.module for r in sight.sequences}
    found += _use_profiles(ops, told)
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
            rereads=rereads(ops, number),
        )
        for module, calls in outputs.items()
        if len(calls) > 2 and _in_a_chain(ops, number := _calls_of(ops, module)) >= len(calls) - 2
    ]


def _calls_of(ops: Sequence[Op], module: str) -> dict[int, int]:
    """The call of each op that a module made."""
    return {op.index: op.call for op in ops if op.module == module}


def _use_profiles(ops: Sequence[Op], told: set[str]) -> list[Profile]:
    """The gradient that arrives at each use of one weight, where step after step multiplies by it.

    For recurrences written out with the weights themselves: no module is called step by step. What
    keeps each entry of a state may be a product by entries with something made of a parameter.
    """
    uses: dict[str, list[Op]] = {}
    for op in ops:
        behind = (_weight_behind(ops, edge, op.role) for edge in op.edges if op.role in STEPPING)
        for name in {name for name in behind if name is not None}:
            uses.setdefault(name, []).append(op)
    found: list[Profile] = []
    for name, found_uses in uses.items():
        users = _leading_on(ops, found_uses)
        norms = [op.norm for op in reversed(users) if op.norm is not None]
        number = {op.index: -place for place, op in enumerate(users)}
        module = name.rpartition(".")[0]
        if len(norms) != len(users) or len(norms) < 3 or any(_holds(one, module) for one in told):
            continue
        if _in_a_chain(ops, number) >= len(users) - 2:
            found.append(
                Profile(
                    module=name,
                    axis="time",
                    source="call",
                    norms=tuple(norms),
                    rereads=rereads(ops, number),
                )
            )
    return found


def _leading_on(ops: Sequence[Op], uses: list[Op]) -> list[Op]:
    """Of products by entries those behind which there are more: the rest weigh what a step reads."""
    if len(uses) < 3 or any(op.role != "product" for op in uses):
        return uses
    number, leading = {op.index for op in uses}, set[int]()
    for op in reversed(ops):
        behind = {edge.target for edge in op.edges if edge.side == "data"} - {None}
        if behind & number or behind & leading:
            leading.add(op.index)
    return [op for op in uses if op.index in leading]


def _in_a_chain(ops: Sequence[Op], number: dict[int, int]) -> int:
    """How many steps get gradient that came straight from the step after them.

    ``number`` gives the step of each op that belongs to one.
    """
    last: dict[int, set[int]] = {}  # op -> steps that its gradient came through last
    steps: set[int] = set()
    for op in ops:
        came = last.get(op.index, set())
        if op.index in number:
            if number[op.index] + 1 in came:
                steps.add(number[op.index])
            came = {number[op.index]}
        for edge in op.edges:
            if came and edge.target is not None and edge.side == "data":
                last.setdefault(edge.target, set()).update(came)
    return len(steps)


def _weight_behind(ops: Sequence[Op], edge: Edge, role: str) -> str | None:
    """The parameter that an edge leads to, past views of it; of a product past what is made of it."""
    target = edge.target if edge.side == "parameter" else None
    while target is not None and ops[target].parameter is None:
        following = [e.target for e in ops[target].edges if e.target is not None]
        passed = role == "product" or ops[target].role == "reshape"
        target = following[0] if passed and len(following) == 1 else None
    return ops[target].parameter if target is not None else None


def _holds(outer: str, module: str) -> bool:
    return module == outer or module.startswith(f"{outer}.")
