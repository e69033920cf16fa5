"""Sight: everything one batch showed, read out of the hooks before the graph is let go."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor, nn

from unvanish.probe.backward import NodeWatch
from unvanish.probe.flow import Call, Flow
from unvanish.probe.graph import BackwardGraph, Node
from unvanish.probe.inputs import Leaves, held_names
from unvanish.probe.sequences import SequenceReading
from unvanish.probe.spans import ModuleSpans, Span
from unvanish.signals import Measure, measure, norms_along


@dataclass(slots=True)
class Sight:
    """Everything one batch showed, without a tensor and without the autograd graph."""

    nodes: list[Node]
    order: list[int]
    roots: list[int]
    arrived: dict[int, dict[int, Measure]]
    left: dict[tuple[int, int], Measure]
    consumers: dict[tuple[int, int], int]
    spans: dict[int, Span]
    flow: Flow
    calls: dict[int, Call]
    seams: set[int]
    live: set[int]
    parameter_of: dict[int, str]
    inputs: set[int]
    strangers: dict[int, tuple[int, ...]]
    given: set[int]
    held: dict[int, str]
    sequences: list[SequenceReading]
    positions: dict[int, tuple[float, ...]]
    first_bad: list[tuple[int, tuple[float, float] | None, int]]
    loss: float
    repeated: set[int]
    whole: bool

    def parameter_arrivals(self) -> dict[str, Measure]:
        """What arrived at each parameter, where it arrived once and whole."""
        return {
            name: self.arrived[index][0]
            for index, name in self.parameter_of.items()
            if index not in self.repeated and 0 in self.arrived.get(index, {})
        }

    def unscale(self, scale: float) -> None:
        """Divide every gradient by the loss scale that it was multiplied by."""
        for slots in self.arrived.values():
            for slot, figure in slots.items():
                slots[slot] = replace(figure, norm=figure.norm / scale)
        for key, figure in self.left.items():
            self.left[key] = replace(figure, norm=figure.norm / scale)
        for key, norms in self.positions.items():
            self.positions[key] = tuple(norm / scale for norm in norms)
        for reading in self.sequences:
            if reading.norms is not None:
                reading.norms = tuple(norm / scale for norm in reading.norms)

    @classmethod
    def of(
        cls,
        watch: NodeWatch,
        spans: ModuleSpans,
        flows: tuple[Flow, Flow],
        sequences: list[SequenceReading],
        leaves: Leaves,
        loss: float,
        gradient_of: Callable[[Tensor], Tensor | None],
    ) -> "Sight":
        """Read out one observation and let go of the graph.

        ``flows`` are those of the forward pass and of what was recomputed in the backward pass;
        ``gradient_of(leaf)`` is what this backward pass alone added to the leaf's gradient.
        """
        graph = watch.graph
        located: dict[int, Span] = {}
        for thread in {node.thread for node in graph.nodes}:
            numbers = {i: n.number for i, n in enumerate(graph.nodes) if n.thread == thread}
            located |= spans.locate(numbers, thread)
        calls: dict[int, Call] = {}
        places = {(node.thread, node.number): index for index, node in enumerate(graph.nodes)}
        for call in (*flows[0].calls, *flows[1].calls):
            if call.node is not None and call.node in places:
                calls.setdefault(places[call.node], call)  # later ones passed it through
        order = graph.order()
        parameter_of, inputs, strangers = _sort_leaves(graph.nodes, leaves)
        held = held_names(leaves.model) if strangers else {}
        named = {i: held[key] for i in strangers if (key := id(graph.nodes[i].leaf)) in held}
        positions = dict(watch.along)
        for index in inputs:
            leaf = graph.nodes[index].leaf
            # Recurrent modules have their own profile, and know which dimension is time.
            if leaf is not None and leaf.dim() == 3 and not sequences:
                gradient = gradient_of(leaf)
                if gradient is not None:
                    positions[index] = norms_along(gradient, _position_dim(graph, index))
        for index in watch.repeated:
            leaf = graph.nodes[index].leaf
            gradient = gradient_of(leaf) if leaf is not None else None
            if gradient is not None:
                watch.arrived[index] = {0: measure(gradient)}
            elif leaf is not None:
                watch.arrived.pop(index, None)
        for span in spans.spans:
            span.module = None
        live = {
            i for i in strangers | parameter_of.keys() | inputs if _needs_grad(graph, i, leaves)
        }
        given = {places[key] for key in leaves.makers if key in places}
        given |= {i for i in strangers if id(graph.nodes[i].leaf) in leaves.passed}
        leaves.release()
        graph.release()
        return cls(
            nodes=graph.nodes,
            order=order,
            roots=graph.roots,
            arrived=watch.arrived,
            left=watch.left,
            consumers=graph.consumers,
            spans=located,
            flow=flows[0],
            calls=calls,
            seams=graph.spliced,
            live=live,
            parameter_of=parameter_of,
            inputs=inputs,
            strangers=strangers,
            given=given,
            held=named,
            sequences=sequences,
            positions=positions,
            first_bad=watch.first_bad,
            loss=loss,
            repeated=watch.repeated,
            whole="" in spans.calls,
        )


def _sort_leaves(
    nodes: list[Node], leaves: Leaves
) -> tuple[dict[int, str], set[int], dict[int, tuple[int, ...]]]:
    parameter_of: dict[int, str] = {}
    inputs: set[int] = set()
    strangers: dict[int, tuple[int, ...]] = {}
    meters = _passing_buffers(leaves.model)
    for index, node in enumerate(nodes):
        leaf = node.leaf
        if leaf is None or node.kind == "CheckpointInput" or id(leaf) in meters:
            continue
        if id(leaf) in leaves.names:
            parameter_of[index] = leaves.names[id(leaf)]
        elif leaves.is_input(leaf):
            inputs.add(index)
        else:
            strangers[index] = tuple(leaf.shape)
    return parameter_of, inputs, strangers


def _passing_buffers(model: nn.Module) -> set[int]:
    """Buffers that are not even saved: a module's way to read a gradient, not a lost weight."""
    return {
        id(part._buffers[name])
        for part in model.modules()
        for name in part._non_persistent_buffers_set
    }


def _needs_grad(graph: BackwardGraph, index: int, leaves: Leaves) -> bool:
    leaf = graph.nodes[index].leaf
    return leaf is not None and not leaves.only_ours(leaf)


def _position_dim(graph: BackwardGraph, index: int) -> int:
    """Which dimension of a three-dimensional input is the sequence: the last before a convolution."""
    targets = {index}
    for place in range(len(graph.nodes) * 2):
        users = {
            i for i, node in enumerate(graph.nodes) if any(t in targets for t, _ in node.edges)
        } - targets
        kinds = {graph.nodes[i].kind for i in users}
        if place > 3 or not kinds <= {"Clone", "CheckpointInput"}:
            return 2 if kinds and kinds <= {"Convolution"} else 1
        targets |= users
    return 1
