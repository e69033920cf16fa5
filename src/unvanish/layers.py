"""Layers: the trunk cut into stretches with one weighted part each.

Counted from the loss. An activation or norm belongs to the weighted part that feeds it (it comes
first on the way back), so a layer of a plain net is one activation and one weight product, and
its decades split exactly into the two.
"""

import math
from collections.abc import Collection, Mapping, Sequence

from unvanish.trace import Edge, Layer, Op, TrunkPoint

SPLIT_ROLES: tuple[str, ...] = ("activation", "weight", "norm", "residual")
_WEIGHTED = frozenset(("weight", "recurrent", "residual", "parallel"))


def find_layers(
    ops: Sequence[Op],
    points: Sequence[TrunkPoint],
    segments: Sequence[Sequence[int]],
    weights: Mapping[str, float],
    spreads: Mapping[int, float],
    inside: Collection[int],
) -> tuple[Layer, ...]:
    """Group trunk segments into layers.

    Args:
        ops: the ledger.
        points: the trunk, from the loss.
        segments: ops behind each point but the last.
        weights: parameter name -> weight norm, for tensors of two or more dimensions.
        spreads: op index -> forward spread between samples of its output.
        inside: ops that the model made, not the loss behind it.
    """
    layers: list[Layer] = []
    start = _model_output(points, segments, inside)
    for index, segment in enumerate(segments):
        point = points[index]
        if index >= start and point.role in _WEIGHTED and any(_has_weight(ops[i]) for i in segment):
            layers.append(_layer(ops, points, segments, (start, index + 1), weights, spreads))
            start = index + 1
    return tuple(layers)


def _model_output(
    points: Sequence[TrunkPoint], segments: Sequence[Sequence[int]], inside: Collection[int]
) -> int:
    """The point where the model ends and the loss begins: the loss is no part of the first layer.

    Its gain depends on the size of the batch and the scale of the loss, the model's do not. Where
    the loss joins several outputs of the model, that stretch is the first that holds a part of it.
    """
    own = (place for place, segment in enumerate(segments) if any(i in inside for i in segment))
    start = next(own, 0)
    for place in range(start, len(points)):
        role = points[place].role
        if role in _WEIGHTED:
            break
        if role == "loss":  # computed inside the model
            start = place + 1 + (points[place + 1].role == "softmax")
    return start


def _layer(
    ops: Sequence[Op],
    points: Sequence[TrunkPoint],
    segments: Sequence[Sequence[int]],
    reach: tuple[int, int],
    weights: Mapping[str, float],
    spreads: Mapping[int, float],
) -> Layer:
    start, end = reach
    inside = [index for segment in segments[start:end] for index in segment]
    weighted = list(segments[end - 1])
    names = [name for index in weighted for name in _weights_of(ops, [index])]
    decades: dict[str, float] = dict.fromkeys((*SPLIT_ROLES, "rest"), 0.0)
    for point in points[start:end]:
        if point.decades is not None:
            role = point.role if point.role in SPLIT_ROLES else "rest"
            decades[role] += point.decades
    modules = dict.fromkeys(ops[i].module for i in weighted if _has_weight(ops[i]))
    return Layer(
        name=_common_module(tuple(modules), names),
        modules=tuple(dict.fromkeys(ops[index].module for index in inside)),
        parameters=tuple(dict.fromkeys(names)),
        norm=points[start].norm,
        decades=decades,
        elasticity=_elasticity(ops, weighted, weights),
        output_rms=points[start].output_rms,
        output_spread=spreads.get(points[start].op),
        output=points[start].op,
        skip_share=points[end - 1].skip_share,
    )


def parameters_behind(ops: Sequence[Op], edge: Edge) -> list[str]:
    """Names of the parameters that a parameter-side edge leads to, each once.

    Weights may be made of parameters by many steps of their own (a covariance, a doubly stochastic
    matrix), in whose graph there are more ways than could ever be walked.
    """
    found, seen = list[str](), set[int]()
    pending = [edge.target] if edge.side == "parameter" and edge.target is not None else []
    while pending:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        op = ops[index]
        if op.parameter is not None:
            found.append(op.parameter)
        pending += [e.target for e in op.edges if e.target is not None]
    return found


def _has_weight(op: Op) -> bool:
    """Whether a weight takes part: one that trains, one held elsewhere, or a frozen one (no edge)."""
    if op.role not in ("weight", "recurrent"):
        return False
    if any(edge.side == "parameter" for edge in op.edges):
        return True
    # Two signals multiplied (attention scores under a constant mask) have no weight among them.
    signals = sum(edge.target is not None for edge in op.edges)
    return signals < 2 and any(edge.target is None for edge in op.edges)


def _weights_of(ops: Sequence[Op], segment: Sequence[int]) -> list[str]:
    """Names of the parameters of the weighted ops here; none where they are frozen."""
    names: list[str] = []
    for index in segment:
        op = ops[index]
        if op.role in ("weight", "recurrent"):
            names += [name for edge in op.edges for name in parameters_behind(ops, edge)]
    return names


def _elasticity(
    ops: Sequence[Op], segment: Sequence[int], weights: Mapping[str, float]
) -> float | None:
    """Norm over weights of |dL/dw| |w|, each use of a tied weight counted where it happens."""
    parts: list[float] = []
    for index in segment:
        for edge in ops[index].edges:
            for name in parameters_behind(ops, edge):
                if name in weights and edge.norm is not None:
                    parts.append(edge.norm * weights[name])
    return math.hypot(*parts) if parts else None


def _common_module(modules: tuple[str, ...], parameters: list[str]) -> str:
    """The smallest module that holds all of these: the longest common dotted prefix."""
    if not modules:
        modules = tuple(name.rpartition(".")[0] for name in parameters) or ("",)
    parts = [module.split(".") for module in modules]
    common: list[str] = []
    for pieces in zip(*parts, strict=False):
        if len(set(pieces)) > 1:
            break
        common.append(pieces[0])
    return ".".join(common)
