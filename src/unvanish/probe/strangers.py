"""Leaves that require grad and are no parameter of the model: whose they are."""

from collections.abc import Sequence

from unvanish.probe.sight import Sight
from unvanish.trace import Op, Stranger


def stranger_records(
    sight: Sight, ops: Sequence[Op], index_of: dict[int, int]
) -> tuple[Stranger, ...]:
    """One record for each, in order from the loss: who uses it, and where the model holds it."""
    own = {call.module for call in sight.flow.calls if call.own}
    behind = _behind_the_model(sight, ops)
    found: list[Stranger] = []
    for node, shape in sight.strangers.items():
        index = index_of[node]
        user, given = _user(index, sight, ops)
        span = sight.spans.get(sight.order[user.index]) if user is not None else None
        inside = span is not None and not given and (span.own or span.path in own)
        owner = "unregistered" if inside else "outside"
        reached = not inside and index in behind
        if node not in sight.held and (node in sight.given or reached):
            owner = "given"
        found.append(
            Stranger(
                shape=shape,
                module=span.path if span is not None else "",
                operation=user.kind if user is not None else "",
                owner=owner,
                gradient_norm=ops[index].norm,
                name=sight.held.get(node, ""),
            )
        )
    return tuple(found)


def _behind_the_model(sight: Sight, ops: Sequence[Op]) -> set[int]:
    """The ops that the gradient comes to by way of the model's own modules."""
    spans = (sight.spans.get(sight.order[op.index]) for op in ops)
    pending = [op.index for op, span in zip(ops, spans, strict=True) if span and span.own]
    seen = set(pending)
    while pending:
        for edge in ops[pending.pop()].edges:
            if edge.target is not None and edge.target not in seen:
                seen.add(edge.target)
                pending.append(edge.target)
    return seen


def _user(index: int, sight: Sight, ops: Sequence[Op]) -> tuple[Op | None, bool]:
    """The op that uses a leaf, and whether that is what another net made for the model to take."""
    user = next((op for op in ops if any(e.target == index for e in op.edges)), None)
    given = False
    # A weight's transpose, or what was made of it before the forward pass: look behind it.
    while user is not None and (_shapes_inside(sight, user) or _before(sight, user.index)):
        behind = user.index
        given = given or (_before(sight, behind) and sight.order[behind] in sight.given)
        user = next((o for o in ops if any(e.target == behind for e in o.edges)), None)
    return user, given


def _shapes_inside(sight: Sight, op: Op) -> bool:
    """Whether an op only shapes what it gets, where the model does its own work."""
    return op.role == "reshape" and sight.order[op.index] in sight.spans


def _before(sight: Sight, index: int) -> bool:
    """Whether an op was made before the forward pass: nothing of it was seen."""
    node = sight.order[index]
    return node not in sight.calls and node not in sight.spans
