"""From what the hooks saw to the records of a Trace: no tensors leave this file."""

import dataclasses
import math
import platform
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

import unvanish
from unvanish.layers import find_layers
from unvanish.probe.activations import ActivationReader
from unvanish.probe.flow import Call
from unvanish.probe.flow_readings import activation_readings, find_cuts
from unvanish.probe.gate import directions, gate
from unvanish.probe.gradients import GradientReader
from unvanish.probe.ledger import build_ops
from unvanish.probe.nonfinite_records import nonfinite_records
from unvanish.probe.parameter_records import parameter_records
from unvanish.probe.prediction import with_predictions
from unvanish.probe.profiles import profiles
from unvanish.probe.sight import Sight
from unvanish.probe.steps_as_depth import without_steps
from unvanish.probe.strangers import stranger_records
from unvanish.trace import (
    Conditions,
    Layer,
    Op,
    Operation,
    Trace,
    TrunkPoint,
)
from unvanish.trunk import deepest_source, find_trunk


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
    parameters = parameter_records(gradients, first, ops)
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
        layers = layers if first.inputs else without_steps(layers, first.flow)
        layers = _with_likeness(layers, ops, first, index_of)
    readings = activation_readings(activations, first.flow)
    layers = with_predictions(layers, parameters, readings)
    return Trace(
        ops=tuple(ops),
        trunk=tuple(points),
        layers=layers,
        parameters=parameters,
        activations=readings,
        profiles=profiles(first, ops, index_of),
        cuts=find_cuts(first.flow, {p.name for p in parameters if p.state == "none"}),
        strangers=stranger_records(first, ops, index_of),
        nonfinite=nonfinite_records(sights, ops, index_of),
        operations=tuple(_operation(call) for call in first.flow.calls),
        loss_operation=first.flow.loss_call,
        conditions=_conditions(model, sights, conditions),
        unseen=_unseen(first, ops, points, layers),
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
        targets=call.targets,
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
        gram = call.samples.gram if call is not None and call.samples is not None else None
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
        whole=sights[0].whole,
        **given,
    )


def _trained(ops: Sequence[Op]) -> int:
    """How many ops have a weight of their own: of fewer than two there is no depth to speak of."""
    return sum(
        op.role in ("weight", "recurrent") and any(e.side == "parameter" for e in op.edges)
        for op in ops
    )


def _unseen(
    sight: Sight, ops: Sequence[Op], points: Sequence[TrunkPoint], layers: Sequence[Layer]
) -> tuple[str, ...]:
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
    if (len(points) < 3 or not layers) and (sight.inputs or _trained(ops) > 1):
        unseen.append("no trunk: the loss and the input meet in too few tensors to speak of depth")
    for reading in sight.sequences:
        if reading.norms is None:
            unseen.append(
                f"dL/dx over time of {reading.module}: no gradient came back to its input"
            )
    if sight.nodes and any(n.thread != threading.get_ident() for n in sight.nodes):
        unseen.append("module paths inside recomputed checkpoints (they ran on another thread)")
    return tuple(unseen)
