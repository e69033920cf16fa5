"""Does a recurrence read the same data again at every step?

What the gradient loses on its way to the early steps of a recurrent net is lost: nothing else reads
x_t. An iteration towards a fixed point, or a decoder that looks at the whole of its input every time,
reads at its last step what it read at its first.
"""

from collections.abc import Mapping, Sequence

from unvanish.kinds import EMBEDDINGS, PARTIAL_VIEWS
from unvanish.trace import Op

Source = tuple[int, int]
"""An op and which of its outputs: a part of the data, or a leaf that it enters by."""


def rereads(ops: Sequence[Op], number: Mapping[int, int]) -> bool:
    """Whether all that flows into the first half of the steps flows into the last half as well.

    Args:
        ops: of the backward graph, in execution order from the loss.
        number: the step of each op that belongs to one.
    """
    read = _read_by_step(ops, number)
    if len(read) < 2:
        return False
    middle = (min(number.values()) + max(number.values())) / 2
    early = {source for step, sources in read.items() if step < middle for source in sources}
    late = {source for step, sources in read.items() if step >= middle for source in sources}
    return bool(early) and early <= late


def _read_by_step(ops: Sequence[Op], number: Mapping[int, int]) -> dict[int, set[Source]]:
    """What flows in beside the state: edges that lead off the ways to the steps before."""
    on_way: set[int] = set()
    for op in reversed(ops):
        if op.index in number or any(e.target in on_way for e in op.edges if e.side == "data"):
            on_way.add(op.index)
    step: dict[int, int] = {}  # op -> the step that its gradient came through last
    read: dict[int, set[Source]] = {}
    behind: dict[Source, set[Source]] = {}
    for op in ops:
        current = number.get(op.index, step.get(op.index))
        if current is None or op.index not in on_way:
            continue
        for edge in op.edges:
            if edge.side != "data" or edge.target is None:
                continue
            if edge.target in on_way:
                step.setdefault(edge.target, current)
                continue
            start = (edge.target, edge.slot)
            if start not in behind:
                behind[start] = _sources(ops, start)
            read.setdefault(current, set()).update(behind[start])
    return read


def _sources(ops: Sequence[Op], start: Source) -> set[Source]:
    """The parts of the data, or leaves, that an output was made from."""
    pending, seen, found = [start], {start}, set[Source]()
    while pending:
        index, slot = pending.pop()
        op = ops[index]
        onward = [(e.target, e.slot) for e in op.edges if e.side == "data" and e.target is not None]
        if not onward or op.kind in PARTIAL_VIEWS or op.kind in EMBEDDINGS:
            found.add((index, slot))
            continue
        fresh = [source for source in onward if source not in seen]
        seen.update(fresh)
        pending += fresh
    return found
