"""Residual branches: where a sum joins a way around with a way through weights.

The rule is the one of the literature: with L sums in a row the branches together must add about as
much as one of them would alone, so the last weight of each is divided by the square root of L
(De and Smith 2020, arXiv:2002.10444; Hayou et al. 2021, arXiv:2010.12859). Where a norm follows
the sum, scaling the branch does what DeepNorm's factor on the skip does (Wang et al. 2022,
arXiv:2203.00555): the norm takes the common factor away.
"""

import dataclasses
from dataclasses import dataclass

from unvanish.init.graph import ATTENTION, DROPOUTS, SCALINGS, SUMS, VIEWS, Graph
from unvanish.init.parts import Part
from unvanish.probe.flow import NORMALIZING, WEIGHTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One residual sum. ``start`` is where the ways part (``None``: at the batch itself).

    ``operations`` lie on the branch alone. ``last`` is the operation whose output the sum takes,
    behind views and dropout: a weighted one, a norm, or a product with a learned scale.
    ``normed`` says that a norm, and nothing else, reads the sum.
    """

    sum: int
    start: int | None
    operations: frozenset[int]
    skip: frozenset[int]
    last: int
    normed: bool


def find_branches(graph: Graph) -> tuple[Branch, ...]:
    """Every residual sum, in forward order."""
    found: list[Branch] = []
    for index, operation in enumerate(graph.operations):
        if index in graph.within or operation.function not in SUMS or not operation.from_data:
            continue
        if len(operation.input_shapes) != 2 or len(set(operation.input_shapes)) != 1:
            continue
        branch = _branch(graph, index)
        if branch is not None:
            found.append(branch)
    return tuple(_with_kind(graph, found, branch) for branch in found)


def _with_kind(graph: Graph, branches: list[Branch], branch: Branch) -> Branch:
    """The last sum of a pre-norm net is read by a norm alone, too: then the one before decides."""
    starts = {b.start for b in branches}
    if branch.normed and not any(_norm_of_sum(graph, start) == branch.sum for start in starts):
        before = {b.sum for b in branches}
        return dataclasses.replace(branch, normed=branch.start not in before)
    return branch


def _norm_of_sum(graph: Graph, index: int | None) -> int | None:
    """What the norm reads that this operation is, if it is one."""
    if index is None or graph[index].function not in NORMALIZING:
        return None
    signals = graph.signals(index)
    return graph.before(signals[0], VIEWS | DROPOUTS) if signals else None


def _branch(graph: Graph, index: int) -> Branch | None:
    operation = graph[index]
    makers = operation.inputs
    if makers.count(None) == 1 and not operation.parameters:  # around all from the batch itself
        (through,) = (m for m in makers if m is not None)
        behind = frozenset(i for i in graph.ancestors([through]) if graph[i].from_data)
        return _made(graph, index, None, behind, frozenset(), through)
    if None in makers or len(makers) != 2:
        return None
    first, second = (m for m in makers if m is not None)
    for around, through in ((first, second), (second, first)):
        start = graph.before(around, VIEWS)
        if start is None:
            continue
        behind = graph.ancestors([through], start)
        if start in behind:
            inside = frozenset(_between(graph, behind, start))
            return _made(graph, index, start, inside, frozenset(), through)
    return _projected(graph, index, first, second)


def _projected(graph: Graph, index: int, first: int, second: int) -> Branch | None:
    """A skip with a projection: both ways start at one operation, and one of them is unbent."""
    ways = graph.ancestors([first]), graph.ancestors([second])
    shared = {i for i in ways[0] & ways[1] if graph[i].from_data}
    if not shared:
        return None
    start = max(shared)
    own = [frozenset(i for i in way - shared if i > start and graph[i].from_data) for way in ways]
    if any(i < start and graph[i].from_data for way in ways for i in way - shared):
        return None
    enters = [{m for i in side for m in graph.signals(i) if m not in side} for side in own]
    if any(entry - {start} for entry in enters):
        return None
    for skip, inside, through in ((own[0], own[1], second), (own[1], own[0], first)):
        bent = any(i in graph.bends or graph[i].function in ATTENTION for i in skip)
        weights = sum(graph[i].function in WEIGHTED for i in skip)
        others = sum(graph[i].function in WEIGHTED for i in inside)
        if not bent and weights <= 1 and others > weights:
            return _made(graph, index, start, inside, skip, through)
    return None


def _between(graph: Graph, behind: set[int], start: int) -> set[int]:
    """Those operations behind the branch's end that depend on its start."""
    inside: set[int] = set()
    for index in sorted(behind - {start}):
        if any(m == start or m in inside for m in graph[index].inputs):
            inside.add(index)
    return inside


def _made(
    graph: Graph,
    index: int,
    start: int | None,
    inside: frozenset[int],
    skip: frozenset[int],
    through: int,
) -> Branch | None:
    if not any(graph[i].function in WEIGHTED and graph[i].parameters for i in inside):
        return None
    last = graph.before(through, VIEWS | DROPOUTS)
    if last is None:
        return None
    readers = [_past_views(graph, r) for r in graph.readers.get(index, ())]
    normed = bool(readers) and all(
        r is not None and graph[r].function in NORMALIZING for r in readers
    )
    return Branch(sum=index, start=start, operations=inside, skip=skip, last=last, normed=normed)


def _past_views(graph: Graph, index: int) -> int | None:
    current: int | None = index
    while current is not None and graph[current].function in VIEWS | DROPOUTS:
        readers = graph.readers.get(current, [])
        current = readers[0] if len(readers) == 1 else None
    return current


def longest(graph: Graph, counted: frozenset[int]) -> int:
    """The most of these operations on any one way from the batch to the end."""
    depth = [0] * len(graph.operations)
    for index, operation in enumerate(graph.operations):
        before = max((depth[m] for m in operation.inputs if m is not None), default=0)
        depth[index] = before + (index in counted)
    return max(depth, default=0)


def value_path(graph: Graph, branch: Branch, parts: dict[int, Part]) -> list[int]:
    """The weighted parts of the branch whose size sets the size of its output.

    Not those that only feed the scores of an attention: softmax does not pass their size on.
    """
    scores: set[int] = set()
    for index in branch.operations:
        if graph[index].function == "scaled_dot_product_attention":
            queries = [m for m in graph[index].inputs[:2] if m is not None]
            values = [m for m in graph[index].inputs[2:3] if m is not None]
            low = 0 if branch.start is None else branch.start + 1
            scores |= graph.ancestors(queries, low) - graph.ancestors(values, low)
        elif graph[index].function == "softmax":
            low = 0 if branch.start is None else branch.start + 1
            scores |= graph.ancestors([index], low)
    return [i for i in sorted(branch.operations) if i in parts and i not in scores]


def before_activations(graph: Graph, index: int) -> int:
    """What ends a branch behind its activations, views and dropout: what sets their scale."""
    current: int | None = index
    while current is not None and current in graph.bend_ends:
        signals = graph.signals(graph.bend_ends[current].start)
        current = graph.before(signals[0], VIEWS | DROPOUTS) if signals else None
        index = index if current is None else current
    return index


def is_learned_scale(graph: Graph, index: int) -> bool:
    """Whether the operation multiplies by a parameter: LayerScale, SkipInit, ReZero."""
    return graph[index].function in SCALINGS and bool(graph[index].parameters)
