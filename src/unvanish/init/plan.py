"""Which layers write and read the signal in which form: decided for the whole graph at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unvanish.init.graph import Bend, Graph
from unvanish.init.layout import Layout, Unreadable, carried, pairs, plain
from unvanish.init.parts import Part
from unvanish.init.shaping import Shape
from unvanish.probe.flow import NORMALIZING
from unvanish.theory.activations import Nonlinearity

Choice = Callable[[Nonlinearity, int, int], Shape | None]
_PATIENCE = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What each weighted operation does: the shape it ``writes``, the layout it ``reads``.

    ``passes`` are depthwise kernels that hand the signal on as it is, behind a rectifier.
    """

    writes: Mapping[int, Shape]
    reads: Mapping[int, Layout]
    passes: frozenset[int]
    refused: Mapping[int, str]


def make_plan(
    graph: Graph,
    parts: Mapping[int, Part],
    writers: Mapping[int, Bend],
    readers: frozenset[int],
    choice: Choice,
    layers: Mapping[int, int],
) -> Plan:
    """Start with every writer in its shape; take back those that something cannot read.

    Args:
        graph: the operations.
        parts: the weighted ones.
        writers: those that may write in a shape, with the activation that they feed.
        readers: those whose weights may be changed to read one.
        choice: which shape for an activation of so many layers of such a width, if any.
        layers: of every writer, how many activations lie in a row with its own.
    """
    shapes: dict[int, Shape] = {}
    refused: dict[int, str] = {}
    kept: dict[tuple[int, int, int], Shape | None] = {}
    for index, bend in writers.items():
        width = parts[index].outputs
        key = id(bend.function), width, layers[index]
        if key not in kept:
            kept[key] = choice(bend.function, layers[index], width)
        shape = kept[key]
        if shape is None or (shape.mirrored and not _pairs_fit(parts[index])):
            refused[index] = "no pairs" if shape is not None else "no shape"
        else:
            shapes[index] = shape
    calls: dict[int, list[int]] = {}
    for index, part in parts.items():
        calls.setdefault(id(part.weight), []).append(index)
    for _ in range(_PATIENCE):
        state = _State(graph, parts, shapes, writers, readers)
        state.propagate()
        for alike in calls.values():
            state.compare(alike)
        unread = {call for index in state.unread for call in calls[id(parts[index].weight)]}
        if not unread:
            writes = {i: shape for i, shape in shapes.items() if i not in state.passes}
            return Plan(writes, state.reads, frozenset(state.passes), refused)
        for index in unread:
            shapes.pop(index, None)
            refused[index] = "something that cannot be written anew reads it"
    return Plan({}, {}, frozenset(), refused)


def _pairs_fit(part: Part) -> bool:
    """Whether pairs stay within one group of the kernel."""
    return part.outputs >= 2 and (part.groups == 1 or (part.outputs // part.groups) % 2 == 0)


class _State:
    """One way of the layouts through the graph; ``unread`` are the writers to take back."""

    def __init__(
        self,
        graph: Graph,
        parts: Mapping[int, Part],
        shapes: Mapping[int, Shape],
        writers: Mapping[int, Bend],
        readers: frozenset[int],
    ) -> None:
        self.graph, self.parts, self.shapes = graph, parts, shapes
        self.writers, self.readers = writers, readers
        self.layouts: dict[int, Layout] = {}
        self.reads: dict[int, Layout] = {}
        self.passes: set[int] = set()
        self.unread: set[int] = set()

    def propagate(self) -> None:
        graph = self.graph
        for index, operation in enumerate(graph.operations):
            if index in graph.within:
                continue
            held = [self.layouts.get(m) if m is not None else None for m in operation.inputs]
            if index in self.parts:
                self._weigh(index, [layout for layout in held if layout is not None])
            elif index in graph.bends:
                self._activate(graph.bends[index])
            else:
                self._carry(index, held)

    def compare(self, calls: Sequence[int]) -> None:
        """A weight that is applied several times has to read the same layout each time."""
        found = [self.reads.get(index) for index in calls]
        first = found[0]
        if any(layout is not first and not _same(layout, first) for layout in found):
            self.unread |= {w for layout in found if layout is not None for w in layout.writers}

    def _weigh(self, index: int, held: list[Layout]) -> None:
        part = self.parts[index]
        for layout in held:
            readable = index in self.readers and layout.active and not layout.again
            if readable and self._may_pass(part, layout):
                self.passes.add(index)
                self.layouts[index] = replace(layout, active=False, again=True)
                return
            if readable and _aligned(layout, part):
                self.reads[index] = layout
            else:
                self.unread |= layout.writers
        if index in self.shapes:
            self.layouts[index] = _written(part, index, self.shapes[index], self.graph)

    def _may_pass(self, part: Part, layout: Layout) -> bool:
        """Whether a depthwise kernel stands between two rectifiers: the second one does nothing."""
        bends = [self.writers[w].function for w in layout.writers]
        if part.operation in self.writers:
            bends.append(self.writers[part.operation].function)
        depthwise = part.groups == part.inputs == part.outputs > 1
        return depthwise and part.calls == 1 and all(bend.sides == (0.0, 1.0) for bend in bends)

    def _activate(self, bend: Bend) -> None:
        makers = [m for m in self.graph[bend.start].inputs if m is not None and m in self.layouts]
        for maker in makers:
            layout = self.layouts[maker]
            if layout.active:
                self.unread |= layout.writers
            else:
                self.layouts[bend.end] = replace(layout, active=True, again=False)

    def _carry(self, index: int, held: list[Layout | None]) -> None:
        operation = self.graph[index]
        try:
            layout = carried(operation, held)
            permuted = layout is not None and self.graph.may_permute(index)
            if permuted or _breaks(layout, operation.function, self.shapes):
                raise Unreadable
        except Unreadable:
            for layout in held:
                self.unread |= layout.writers if layout is not None else frozenset()
            return
        if layout is not None:
            self.layouts[index] = layout
            if not self.graph.readers.get(index) and not layout.active:
                self.unread |= layout.writers


def _same(one: Layout | None, other: Layout | None) -> bool:
    """Whether entries mean the same numbers in both."""
    if one is None or other is None:
        return False
    return (
        np.array_equal(one.number, other.number)
        and np.array_equal(one.weight, other.weight)
        and np.array_equal(one.offset, other.offset)
    )


def _breaks(layout: Layout | None, function: str, shapes: Mapping[int, Shape]) -> bool:
    """Whether a norm takes away the scale and shift that a shape needs."""
    if layout is None or function not in NORMALIZING:
        return False
    if layout.again:
        return True
    used = [shapes[w] for w in layout.writers if w in shapes]
    if layout.active:
        return any(not shape.mirrored for shape in used)
    return any(not shape.mirrored or shape.scale < 1 for shape in used)


def _written(part: Part, index: int, shape: Shape, graph: Graph) -> Layout:
    dimensions = len(graph[index].output_shape)
    spatial = part.weight.dim() - 2
    dim = dimensions - 1 - spatial
    if not shape.mirrored:
        layout = plain(part.outputs, dim)
        weight, offset = layout.weight * shape.gain, layout.offset + shape.offset
        return replace(
            layout, weight=weight, offset=offset, writers=frozenset({index}), active=False
        )
    number, sign = pairs(part.outputs)
    weight = np.where(sign > 0, shape.gain, -shape.mirror * shape.gain)
    if part.outputs % 2:  # the odd one out is read by nobody at the start
        number, weight = number.copy(), weight.copy()
        number[-1], weight[-1] = 0, 0.0
    return Layout(number, weight, np.zeros(part.outputs), dim, frozenset({index}), False)


def _aligned(layout: Layout, part: Part) -> bool:
    """Whether what belongs together lies in one group of the kernel that reads it."""
    if len(layout.number) != part.inputs:
        return False
    if part.groups == 1:
        return True
    blocks = layout.number.reshape(part.groups, -1)
    seen = [set(block.tolist()) for block in blocks]
    return len(set().union(*seen)) == sum(len(block) for block in seen)
