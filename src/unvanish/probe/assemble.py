"""From what the hooks saw to the records of a Trace: no tensors leave this file."""

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
from unvanish.probe.flow import Flow
from unvanish.probe.flow_readings import activation_readings, find_cuts, nonfinite_forward
from unvanish.probe.gradients import GradientReader, ParameterGradient
from unvanish.probe.graph import Node
from unvanish.probe.sequences import SequenceReading
from unvanish.probe.spans import LEAF_NUMBER, ModuleSpans, Span
from unvanish.signals import Measure, l2, norms_along, units_equal
from unvanish.trace import (
    Conditions,
    Edge,
    Layer,
    Nonfinite,
    Op,
    Parameter,
    Profile,
    Stranger,
    Trace,
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
    node_of_call: dict[int, int]
    parameter_of: dict[int, str]
    inputs: set[int]
    strangers: dict[int, tuple[int, ...]]
    sequences: list[SequenceReading]
    positions: dict[int, tuple[float, ...]]
    first_bad: list[tuple[int, tuple[float, float] | None, int]]
    loss: float

    @classmethod
    def of(
        cls,
        watch: NodeWatch,
        spans: ModuleSpans,
        flow: Flow,
        sequences: list[SequenceReading],
        leaves: dict[int, Tensor],
        names: dict[int, str],
        value: Tensor,
    ) -> "Sight":
        """Read out one observation and let go of the graph."""
        graph = watch.graph
        located: dict[int, Span] = {}
        for thread in {node.thread for node in graph.nodes}:
            numbers = {i: n.number for i, n in enumerate(graph.nodes) if n.thread == thread}
            located |= spans.locate(numbers, thread)
        node_of_call = {
            index: graph.index_of[call.node]
            for index, call in enumerate(flow.calls)
            if call.node is not None and call.node in graph.index_of
        }
        order = graph.order()
        parameter_of, inputs, strangers = _sort_leaves(graph.nodes, leaves, names)
        positions = dict(watch.along)
        for index in inputs:
            leaf = graph.nodes[index].leaf
            if leaf is not None and leaf.grad is not None and leaf.dim() == 3:
                positions[index] = norms_along(leaf.grad, 1)
        for span in spans.spans:
            span.module = None
        for call in flow.calls:
            call.node = None
        graph.index_of.clear()
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
            flow=flow,
            node_of_call=node_of_call,
            parameter_of=parameter_of,
            inputs=inputs,
            strangers=strangers,
            sequences=sequences,
            positions=positions,
            first_bad=watch.first_bad,
            loss=float(value.detach()),
        )


def _sort_leaves(
    nodes: list[Node], leaves: dict[int, Tensor], names: dict[int, str]
) -> tuple[dict[int, str], set[int], dict[int, tuple[int, ...]]]:
    parameter_of: dict[int, str] = {}
    inputs: set[int] = set()
    strangers: dict[int, tuple[int, ...]] = {}
    for index, node in enumerate(nodes):
        leaf = node.leaf
        if leaf is None or node.kind == "CheckpointInput":
            continue
        if id(leaf) in names:
            parameter_of[index] = names[id(leaf)]
        elif id(leaf) in leaves:
            inputs.add(index)
        else:
            strangers[index] = tuple(leaf.shape)
    return parameter_of, inputs, strangers


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
    points: list[Any] = []
    index_of = {node: position for position, node in enumerate(first.order)}
    sink = deepest_source(ops, {index_of[i] for i in first.inputs if i in index_of})
    if sink is not None and first.roots:
        points, segments = find_trunk(ops, index_of[first.roots[0]], sink)
        norms = {n: p.weight_norm for p in parameters for n in p.names if len(p.shape) >= 2}
        spreads = _spreads(first, index_of)
        layers = find_layers(ops, points, segments, norms, spreads)
    return Trace(
        ops=tuple(ops),
        trunk=tuple(points),
        layers=layers,
        parameters=parameters,
        activations=activation_readings(activations, first.flow),
        profiles=_profiles(first, ops, index_of),
        cuts=find_cuts(first.flow, {p.name for p in parameters if p.state == "none"}),
        strangers=_strangers(first, ops, index_of),
        nonfinite=(*nonfinite_forward(first.flow, first.loss), *_nonfinite_backward(first, ops, index_of)),
        conditions=_conditions(model, sights, conditions),
        unseen=_unseen(first, conditions, points),
    )


def build_ops(sight: Sight) -> list[Op]:
    """The ledger: nodes in topological order with their edges and figures."""
    position = {node: place for place, node in enumerate(sight.order)}
    behind, live = _sides(sight)
    rms = {node: sight.flow.calls[call].output_rms for call, node in sight.node_of_call.items()}
    ops: list[Op] = []
    for place, index in enumerate(sight.order):
        node = sight.nodes[index]
        edges = tuple(
            _edge(sight, index, number, position, behind) for number in range(len(node.edges))
        )
        span = sight.spans.get(index)
        total = _total(sight.arrived.get(index, {}))
        checkpoint = "Checkpoint" in node.kind
        ops.append(
            Op(
                index=place,
                kind=node.kind,
                role="reshape" if checkpoint else role_of(node.kind),
                module=span.path if span is not None else "",
                call=span.call if span is not None else 0,
                edges=edges,
                norm=total.norm if total else None,
                zeros=total.zeros if total else None,
                nonfinite=total.nonfinite if total else None,
                elements=total.elements if total else None,
                output_rms=rms.get(index),
                in_program=index in live,
                parameter=sight.parameter_of.get(index),
                inside=position[node.inside] if node.inside is not None else None,
            )
        )
    return ops


def _sides(sight: Sight) -> tuple[set[int], set[int]]:
    """Nodes with nothing but parameters behind them; nodes that reach a trainable leaf at all."""
    only_parameters: set[int] = set()
    live: set[int] = set()
    for index in reversed(sight.order):
        node = sight.nodes[index]
        targets = [target for target, _ in node.edges if target is not None]
        if node.number == LEAF_NUMBER and node.kind == "AccumulateGrad":
            if index in sight.parameter_of:
                only_parameters.add(index)
            if index not in sight.inputs:
                live.add(index)
            continue
        if targets and all(t in only_parameters for t in targets) and node.kind not in EMBEDDINGS:
            # A view or a reparametrisation of weights; an op whose other input is data (None
            # because data needs no grad) is on the data side: its kind is a product or a sum.
            if all(t is not None for t, _ in node.edges) and _is_transform(node):
                only_parameters.add(index)
        if any(t in live for t in targets):
            live.add(index)
    return only_parameters, live


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
    if figure is None and "Checkpoint" in sight.nodes[index].kind:
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
    found: dict[int, float] = {}
    for call, node in sight.node_of_call.items():
        spread = sight.flow.calls[call].spread
        if spread is not None and node in index_of:
            found[index_of[node]] = spread
    return found


def _parameters(
    gradients: GradientReader, sight: Sight, ops: Sequence[Op]
) -> tuple[Parameter, ...]:
    uses: dict[str, int] = {}
    for op in ops:
        if op.parameter is None:
            for edge in op.edges:
                for name in parameters_behind(ops, edge) if _outer(ops, op) else []:
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


def _outer(ops: Sequence[Op], op: Op) -> bool:
    """Whether the op itself is on the data side (uses inside a weight's own transforms do not count)."""
    return op.role in ("weight", "norm", "recurrent") or any(e.side == "data" for e in op.edges)


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
    import dataclasses

    return dataclasses.replace(parameter, state="tiny")


def _profiles(sight: Sight, ops: Sequence[Op], index_of: dict[int, int]) -> tuple[Profile, ...]:
    found = [
        Profile(module=r.module, axis="time", source="input", norms=r.norms)
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
    outputs: dict[str, dict[int, list[float]]] = {}
    chained: dict[str, int] = {}
    for op in ops:
        for edge in op.edges:
            if edge.target is None or edge.side != "data":
                continue
            target = ops[edge.target]
            if (target.module, target.call) == (op.module, op.call) or not target.module:
                continue
            if target.norm is not None and target.role != "leaf":
                outputs.setdefault(target.module, {}).setdefault(target.call, []).append(target.norm)
            if target.module == op.module and target.call == op.call - 1:
                chained[op.module] = chained.get(op.module, 0) + 1
    return [
        Profile(
            module=module,
            axis="time",
            source="call",
            norms=tuple(max(calls[number]) for number in sorted(calls)),
        )
        for module, calls in outputs.items()
        if len(calls) > 2 and chained.get(module, 0) >= len(calls) - 2
    ]


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


def _unseen(sight: Sight, conditions: dict[str, Any], points: Sequence[Any]) -> tuple[str, ...]:
    unseen: list[str] = []
    silent = [n.kind for i, n in enumerate(sight.nodes) if i not in sight.arrived and n.kind != "AccumulateGrad"]
    if silent:
        kinds = ", ".join(sorted(set(silent))[:5])
        unseen.append(f"{len(silent)} ops of the graph got no gradient in this backward pass ({kinds})")
    opaque = sorted({n.kind for n in sight.nodes if role_of(n.kind) == "rest"})
    custom = [kind for kind in opaque if not kind.isascii() or kind.endswith("Function")]
    if custom:
        unseen.append(f"inside custom autograd functions: {', '.join(custom)}")
    if len(points) < 3:
        unseen.append("no trunk: the loss and the input meet in too few tensors to speak of depth")
    for reading in sight.sequences:
        if reading.norms is None:
            unseen.append(f"dL/dx over time of {reading.module}: no gradient came back to its input")
    if sight.nodes and any(n.thread != threading.get_ident() for n in sight.nodes):
        unseen.append("module paths inside recomputed checkpoints (they ran on another thread)")
    return tuple(unseen)
