"""From what the hooks saw to the records of a Trace: no tensors leave this file."""

import dataclasses
import math
import platform
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import unvanish
from unvanish.kinds import EMBEDDINGS, role_of
from unvanish.layers import find_layers, parameters_behind
from unvanish.probe.activations import ActivationReader
from unvanish.probe.backward import NodeWatch
from unvanish.probe.flow import Call, Flow
from unvanish.probe.flow_readings import activation_readings, find_cuts, nonfinite_forward
from unvanish.probe.gate import directions, gate
from unvanish.probe.gradients import GradientReader, ParameterGradient
from unvanish.probe.graph import BackwardGraph, Node
from unvanish.probe.inputs import Leaves
from unvanish.probe.prediction import with_predictions
from unvanish.probe.sequences import SequenceReading
from unvanish.probe.spans import ModuleSpans, Span
from unvanish.signals import Measure, l2, measure, norms_along, units_equal
from unvanish.trace import (
    Conditions,
    Edge,
    Layer,
    Nonfinite,
    Op,
    Operation,
    Parameter,
    Profile,
    Stranger,
    Trace,
    TrunkPoint,
)
from unvanish.trunk import deepest_source, find_trunk

FLOAT32_RESOLUTION = 2.0**-24
"""Half the gap between 1 and the next float32: a relative change below it changes nothing."""


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
    sequences: list[SequenceReading]
    positions: dict[int, tuple[float, ...]]
    first_bad: list[tuple[int, tuple[float, float] | None, int]]
    loss: float
    repeated: set[int]

    def parameter_arrivals(self) -> dict[str, Measure]:
        """What arrived at each parameter, where it arrived once and whole."""
        return {
            name: self.arrived[index][0]
            for index, name in self.parameter_of.items()
            if index not in self.repeated and 0 in self.arrived.get(index, {})
        }

    @classmethod
    def of(
        cls,
        watch: NodeWatch,
        spans: ModuleSpans,
        flows: tuple[Flow, Flow],
        sequences: list[SequenceReading],
        leaves: Leaves,
        value: Tensor,
    ) -> "Sight":
        """Read out one observation and let go of the graph.

        ``flows`` are those of the forward pass and of what was recomputed in the backward pass.
        """
        graph = watch.graph
        located: dict[int, Span] = {}
        for thread in {node.thread for node in graph.nodes}:
            numbers = {i: n.number for i, n in enumerate(graph.nodes) if n.thread == thread}
            located |= spans.locate(numbers, thread)
        calls: dict[int, Call] = {}
        for call in (*flows[0].calls, *flows[1].calls):
            if call.node is not None and call.node in graph.index_of:
                calls.setdefault(graph.index_of[call.node], call)  # later ones passed it through
        order = graph.order()
        parameter_of, inputs, strangers = _sort_leaves(graph.nodes, leaves)
        positions = dict(watch.along)
        for index in inputs:
            leaf = graph.nodes[index].leaf
            # Recurrent modules have their own profile, and know which dimension is time.
            if leaf is not None and leaf.grad is not None and leaf.dim() == 3 and not sequences:
                positions[index] = norms_along(leaf.grad, _position_dim(graph, index))
        for index in watch.repeated:
            leaf = graph.nodes[index].leaf
            if leaf is not None and leaf.grad is not None:
                watch.arrived[index] = {0: measure(leaf.grad)}
        for span in spans.spans:
            span.module = None
        for call in (*flows[0].calls, *flows[1].calls):
            call.node = None
        live = {
            i for i in strangers | parameter_of.keys() | inputs if _needs_grad(graph, i, leaves)
        }
        graph.index_of.clear()
        leaves.release()
        for node in graph.nodes:
            node.handle = node.leaf = None
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
            sequences=sequences,
            positions=positions,
            first_bad=watch.first_bad,
            loss=float(value.detach()),
            repeated=watch.repeated,
        )


def _sort_leaves(
    nodes: list[Node], leaves: Leaves
) -> tuple[dict[int, str], set[int], dict[int, tuple[int, ...]]]:
    parameter_of: dict[int, str] = {}
    inputs: set[int] = set()
    strangers: dict[int, tuple[int, ...]] = {}
    for index, node in enumerate(nodes):
        leaf = node.leaf
        if leaf is None or node.kind == "CheckpointInput":
            continue
        if id(leaf) in leaves.names:
            parameter_of[index] = leaves.names[id(leaf)]
        elif leaves.is_input(leaf):
            inputs.add(index)
        else:
            strangers[index] = tuple(leaf.shape)
    return parameter_of, inputs, strangers


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


def assemble(
    model: nn.Module,
    sights: list[Sight],
    activations: ActivationReader,
    gradients: GradientReader,
    conditions: dict[str, Any],
) -> Trace:
    """All records of one observation."""
    first = sights[0]
    ops = build_ops(first)
    parameters = _parameters(gradients, first, ops)
    layers: tuple[Layer, ...] = ()
    points: list[TrunkPoint] = []
    index_of = {node: position for position, node in enumerate(first.order)}
    root = index_of[first.roots[0]] if first.roots else None
    sink = deepest_source(ops, {index_of[i] for i in first.inputs if i in index_of}, root)
    if sink is not None and root is not None:
        seams = {index_of[node] for node in first.seams}
        inside = {index_of[i] for i, span in first.spans.items() if span.own and i in index_of}
        points, segments = find_trunk(ops, root, sink, seams, inside)
        norms = {n: p.weight_norm for p in parameters for n in p.names if len(p.shape) >= 2}
        spreads = _spreads(first, index_of)
        layers = find_layers(ops, points, segments, norms, spreads, inside)
        layers = _with_likeness(layers, ops, first, index_of)
    readings = activation_readings(activations, first.flow)
    layers = with_predictions(layers, parameters, readings)
    return Trace(
        ops=tuple(ops),
        trunk=tuple(points),
        layers=layers,
        parameters=parameters,
        activations=readings,
        profiles=_profiles(first, ops, index_of),
        cuts=find_cuts(first.flow, {p.name for p in parameters if p.state == "none"}),
        strangers=_strangers(first, ops, index_of),
        nonfinite=(
            *nonfinite_forward(first.flow, first.loss),
            *_nonfinite_backward(first, ops, index_of),
        ),
        operations=tuple(_operation(call) for call in first.flow.calls),
        loss_operation=first.flow.loss_call,
        conditions=_conditions(model, sights, conditions),
        unseen=_unseen(first, points, layers),
        gate=gate(layers, _outputs(layers, first, index_of)),
    )


def _operation(call: Call) -> Operation:
    return Operation(
        function=call.function,
        module=call.module,
        call=call.number,
        inside=call.own,
        inputs=call.makers,
        parameters=call.leaves,
        input_shapes=call.input_shapes,
        output_shape=call.output_shape,
        dtype=call.dtype,
        dim=call.dim,
        requires_grad=call.grad_out,
        from_data=call.data,
        output_rms=call.output_rms,
        output_spread=call.spread,
    )


def build_ops(sight: Sight) -> list[Op]:
    """The ledger: nodes in topological order with their edges and figures."""
    position = {node: place for place, node in enumerate(sight.order)}
    behind, live = _sides(sight)
    scales = _output_scales(sight)
    ops: list[Op] = []
    for place, index in enumerate(sight.order):
        node = sight.nodes[index]
        edges = tuple(
            _edge(sight, index, number, position, behind) for number in range(len(node.edges))
        )
        span = sight.spans.get(index)
        total = _total(sight.arrived.get(index, {}))
        ops.append(
            Op(
                index=place,
                kind=node.kind,
                role=_role(sight, index),
                module=span.path if span is not None else "",
                call=span.call if span is not None else 0,
                edges=edges,
                norm=total.norm if total else None,
                zeros=total.zeros if total else None,
                nonfinite=total.nonfinite if total else None,
                elements=total.elements if total else None,
                output_rms=scales.get(index),
                in_program=index in live,
                parameter=sight.parameter_of.get(index),
                inside=position[node.inside] if node.inside is not None else None,
            )
        )
    return ops


def _role(sight: Sight, index: int) -> str:
    kind = sight.nodes[index].kind
    call = sight.calls.get(index)
    if index in sight.seams:
        return "reshape"
    if call is not None and "dropout" in call.function and kind in ("Mul", "Div"):
        return "dropout"  # on CPU a dropout is a product with a random mask
    return role_of(kind)


_SAME_VALUES = frozenset(
    "View UnsafeView Reshape ReshapeAlias Transpose T Permute Unsqueeze Squeeze Alias Clone ToCopy "
    "Contiguous CheckpointInput".split()
)


def _output_scales(sight: Sight) -> dict[int, float]:
    """Forward rms by node; an op inside a composite function takes it over views of itself."""
    found = {i: c.output_rms for i, c in sight.calls.items() if c.output_rms is not None}
    pairs = [
        (index, sight.nodes[index].edges[0][0])
        for index in sight.order
        if sight.nodes[index].kind in _SAME_VALUES or index in sight.seams
        if len(sight.nodes[index].edges) == 1
    ]
    for view, source in reversed(pairs):
        if source is not None and view not in found and source in found:
            found[view] = found[source]
    for view, source in pairs:
        if source is not None and source not in found and view in found:
            found[source] = found[view]
    return found


def _sides(sight: Sight) -> tuple[set[int], set[int]]:
    """Nodes with nothing but weights behind them; nodes that carry gradient in the user's own run.

    A product of parameters alone (a spectral norm, a low-rank update) is a weight too, unless the
    whole model starts from parameters (a learned latent): then it would be weight all the way.
    """
    weights = _only_weights(sight, products=True)
    if not any(_data_enters(sight, index) for index in sight.order):
        weights = _only_weights(sight, products=False)
    live: set[int] = set()
    for index in reversed(sight.order):
        targets = (target for target, _ in sight.nodes[index].edges)
        if index in sight.live or any(t in live for t in targets):
            live.add(index)
    return weights, live


def _data_enters(sight: Sight, index: int) -> bool:
    kind, call = sight.nodes[index].kind, sight.calls.get(index)
    if index in sight.inputs or kind in EMBEDDINGS:
        return True
    return call is not None and call.data and role_of(kind) in ("weight", "recurrent")


def _only_weights(sight: Sight, products: bool) -> set[int]:
    found = {*sight.parameter_of, *sight.strangers}
    for index in reversed(sight.order):
        node = sight.nodes[index]
        targets = [target for target, _ in node.edges if target is not None]
        if not targets or any(t not in found for t in targets) or node.kind in EMBEDDINGS:
            continue
        call = sight.calls.get(index)
        alone = all(t is not None for t, _ in node.edges) and _is_transform(node)
        # Where the values were seen, they say whether data came in; an input that is None may be
        # data that needs no grad, or a constant.
        if (products and call is not None and not call.data) or alone:
            found.add(index)
    return found


def _is_transform(node: Node) -> bool:
    return role_of(node.kind) not in ("weight", "norm", "recurrent", "loss")


def _edge(
    sight: Sight, index: int, number: int, position: dict[int, int], behind: set[int]
) -> Edge:
    target, slot = sight.nodes[index].edges[number]
    if target is None:
        return Edge(target=None, slot=slot, side="data")
    figure = sight.left.get((index, number))
    if figure is None and sight.consumers.get((target, slot), 0) == 1:
        figure = sight.arrived.get(target, {}).get(slot)
    if figure is None and index in sight.seams:
        figure = _total(sight.arrived.get(index, {}))
    return Edge(
        target=position[target],
        slot=slot,
        side="parameter" if target in behind else "data",
        norm=figure.norm if figure else None,
        zeros=figure.zeros if figure else None,
        nonfinite=figure.nonfinite if figure else None,
        elements=figure.elements if figure else None,
    )


def _total(slots: dict[int, Measure]) -> Measure | None:
    if not slots:
        return None
    parts = list(slots.values())
    return Measure(
        math.hypot(*(m.norm for m in parts)),
        sum(m.zeros for m in parts),
        sum(m.nonfinite for m in parts),
        sum(m.elements for m in parts),
    )


def _spreads(sight: Sight, index_of: dict[int, int]) -> dict[int, float]:
    return {
        index_of[node]: call.spread
        for node, call in sight.calls.items()
        if call.spread is not None and node in index_of
    }


def _with_likeness(
    layers: Sequence[Layer], ops: Sequence[Op], sight: Sight, index_of: dict[int, int]
) -> tuple[Layer, ...]:
    """The layers with how their outputs differ between samples, and what hangs on them."""
    calls = {index_of[node]: call for node, call in sight.calls.items() if node in index_of}
    read: list[Layer] = []
    for layer in layers:
        call = calls.get(layer.output) if layer.output is not None else None
        gram = call.likeness if call is not None else None
        elements = ops[layer.output].elements if layer.output is not None else None
        reach = None
        if layer.norm is not None and layer.output_rms is not None and elements:
            reach = layer.norm * layer.output_rms * math.sqrt(elements)
        read.append(
            dataclasses.replace(
                layer,
                sensitivity=reach,
                difference=None if gram is None else float(gram.trace()),
                directions=() if gram is None else directions(gram),
            )
        )
    return tuple(read)


def _outputs(layers: Sequence[Layer], sight: Sight, index_of: dict[int, int]) -> int | None:
    """How many numbers the model gives for a sample (a token, a pixel): the head's width."""
    if not layers:
        return None
    for node, call in sight.calls.items():
        if index_of.get(node) == layers[0].output and len(call.output_shape) > 1:
            return call.output_shape[1 if len(call.output_shape) > 3 else -1]
    return None


def _parameters(
    gradients: GradientReader, sight: Sight, ops: Sequence[Op]
) -> tuple[Parameter, ...]:
    uses: dict[str, int] = {}
    inner = {edge.target for op in ops for edge in op.edges if edge.side == "parameter"}
    for op in ops:
        if op.index in inner or op.parameter is not None:
            continue  # a step of a weight's own making is no use of it
        for name in {name for edge in op.edges for name in parameters_behind(ops, edge)}:
            uses[name] = uses.get(name, 0) + 1
    used = {leaf for call in sight.flow.calls for leaf in call.leaves}
    flowing: set[str] = set()
    if sight.flow.loss_call is not None:
        for index in sight.flow.ancestors([sight.flow.loss_call]):
            flowing |= set(sight.flow.calls[index].leaves)
    records = [
        _parameter(reading, uses, used, flowing, known=sight.flow.loss_call is not None)
        for reading in gradients.readings.values()
    ]
    top = max((p.elasticity or 0.0 for p in records), default=0.0)
    return tuple(_with_tiny(p, top) for p in records)


def _parameter(
    reading: ParameterGradient, uses: dict[str, int], used: set[str], flowing: set[str], known: bool
) -> Parameter:
    parameter = reading.parameter.detach()
    figures = [m for m in reading.measures if m is not None]
    count = max(parameter.numel(), 1)
    weight_norm = l2(parameter) if parameter.numel() else 0.0
    norm = math.sqrt(math.fsum(m.norm**2 for m in figures) / len(figures)) if figures else None
    name = reading.names[0]
    return Parameter(
        names=tuple(reading.names),
        shape=tuple(parameter.shape),
        dtype=str(parameter.dtype).removeprefix("torch."),
        state=_state(reading, figures),
        weight_norm=weight_norm,
        weight_rms=weight_norm / count**0.5,
        gradient_norm=norm,
        gradient_rms=None if norm is None else norm / count**0.5,
        gradient_max=reading.largest if figures else None,
        zeros=min(m.zeros for m in figures) if figures else None,
        nonfinite=max(m.nonfinite for m in figures) if figures else None,
        elements=parameter.numel(),
        snr=reading.snr,
        spread=reading.spread,
        uses=uses.get(name, 0),
        used=name in used if known else None,
        to_loss=name in flowing if known else None,
        equal_units=units_equal(parameter),
        equal_gradients=reading.equal_gradients,
    )


def _state(reading: ParameterGradient, figures: list[Measure]) -> str:
    if not reading.parameter.requires_grad:
        return "frozen"
    if not figures:
        return "none"
    if any(m.nonfinite for m in figures):
        return "nonfinite"
    return "zero" if all(m.norm == 0 for m in figures) else "reached"


def _with_tiny(parameter: Parameter, top: float) -> Parameter:
    small = (parameter.elasticity or 0.0) < FLOAT32_RESOLUTION * top
    # A weight that is still zero (a fresh bias) has no size to compare with.
    if parameter.state != "reached" or not parameter.weight_norm or not small:
        return parameter
    return dataclasses.replace(parameter, state="tiny")


def _profiles(sight: Sight, ops: Sequence[Op], index_of: dict[int, int]) -> tuple[Profile, ...]:
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


def _strangers(sight: Sight, ops: Sequence[Op], index_of: dict[int, int]) -> tuple[Stranger, ...]:
    own = {call.module for call in sight.flow.calls if call.own}
    found: list[Stranger] = []
    for node, shape in sight.strangers.items():
        index = index_of[node]
        user = next((op for op in ops if any(e.target == index for e in op.edges)), None)
        while user is not None and user.role == "reshape":  # a weight's transpose: look behind it
            behind = user.index
            user = next((o for o in ops if any(e.target == behind for e in o.edges)), None)
        span = sight.spans.get(sight.order[user.index]) if user is not None else None
        inside = span is not None and (span.own or span.path in own)
        found.append(
            Stranger(
                shape=shape,
                module=span.path if span is not None else "",
                operation=user.kind if user is not None else "",
                owner="unregistered" if inside else "outside",
                gradient_norm=ops[index].norm,
            )
        )
    return tuple(found)


def _nonfinite_backward(
    sight: Sight, ops: Sequence[Op], index_of: dict[int, int]
) -> list[Nonfinite]:
    """The first op that turns a finite gradient into NaN or Inf on the way to some parameter."""
    poisoned = {op.index for op in ops if op.parameter is not None and op.nonfinite}
    names: dict[int, set[str]] = {}
    for op in reversed(ops):
        mine = {op.parameter} if op.index in poisoned and op.parameter else set[str]()
        for edge in op.edges:
            if edge.target is not None and edge.nonfinite:
                mine |= names.get(edge.target, set())
        names[op.index] = mine
    for node, limits, zeros in sight.first_bad:
        if node not in index_of or not names[index_of[node]]:
            continue
        op = ops[index_of[node]]
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


def _conditions(model: nn.Module, sights: list[Sight], given: dict[str, Any]) -> Conditions:
    parameters = list(model.parameters())
    devices = {str(p.device) for p in parameters} or {"cpu"}
    losses = tuple(sight.loss for sight in sights)
    return Conditions(
        unvanish=unvanish.__version__,
        torch=torch.__version__,
        python=platform.python_version(),
        device=", ".join(sorted(devices)),
        dtypes=tuple(sorted({str(p.dtype).removeprefix("torch.") for p in parameters})),
        training=model.training,
        batches=len(sights),
        loss=losses[0],
        losses=losses,
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        modules=sum(1 for _ in model.modules()),
        **given,
    )


def _unseen(sight: Sight, points: Sequence[TrunkPoint], layers: Sequence[Layer]) -> tuple[str, ...]:
    unseen: list[str] = []
    silent = [
        n.kind
        for i, n in enumerate(sight.nodes)
        if i not in sight.arrived and n.kind != "AccumulateGrad"
    ]
    if silent:
        kinds = ", ".join(sorted(set(silent))[:5])
        unseen.append(
            f"{len(silent)} ops of the graph got no gradient in this backward pass ({kinds})"
        )
    custom = sorted(
        {n.kind for i, n in enumerate(sight.nodes) if n.custom and i not in sight.seams}
    )
    if custom:
        unseen.append(f"inside custom autograd functions: {', '.join(custom)}")
    if len(points) < 3 or not layers:
        unseen.append("no trunk: the loss and the input meet in too few tensors to speak of depth")
    for reading in sight.sequences:
        if reading.norms is None:
            unseen.append(
                f"dL/dx over time of {reading.module}: no gradient came back to its input"
            )
    if sight.nodes and any(n.thread != threading.get_ident() for n in sight.nodes):
        unseen.append("module paths inside recomputed checkpoints (they ran on another thread)")
    return tuple(unseen)
