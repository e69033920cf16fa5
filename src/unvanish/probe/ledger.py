"""The ledger: every op of the backward graph with its edges, its role and its figures."""

import math

from unvanish.kinds import EMBEDDINGS, role_of
from unvanish.probe.graph import Node
from unvanish.probe.sight import Sight
from unvanish.signals import Measure
from unvanish.trace import (
    Edge,
    Op,
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
