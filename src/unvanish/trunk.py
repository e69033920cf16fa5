"""The depth axis of any architecture: the tensors that every path from loss to input crosses.

They are the dominators of the input in the backward graph. On an acyclic graph laid out in a
topological order, a node is one of them exactly when no edge jumps over it: an edge from before
to after would be a path around, and a path around must contain such an edge. That takes one pass.
"""

import dataclasses
import itertools
import math
from collections.abc import Collection, Sequence

from unvanish.kinds import EMBEDDINGS, NORMALIZERS, PARTIAL_VIEWS, PASSIVE_ROLES
from unvanish.trace import Edge, Op, TrunkPoint


def data_depth(ops: Sequence[Op]) -> list[int]:
    """For each op the longest way from the loss, counted in ops along data edges."""
    depth = [0] * len(ops)
    for op in ops:  # ops come in topological order: every consumer before what it consumed
        for edge in op.edges:
            if edge.target is not None and edge.side == "data":
                depth[edge.target] = max(depth[edge.target], depth[op.index] + 1)
    return depth


def deepest_source(ops: Sequence[Op], inputs: set[int], root: int | None = 0) -> int | None:
    """The op where the deepest input comes in: an input leaf or an embedding.

    Where data needs no gradient (a frozen embedding below), it is the deepest op of all. With
    several inputs (a mask, a time step) only the deepest one defines the trunk: the others join
    it further up, and asking for all paths to all of them would leave no trunk at all.
    """
    if root is None:
        return None
    depth = data_depth(ops)
    reached = [op.index for op in ops if depth[op.index] or op.index == root]
    entries = [index for index in reached if index in inputs or ops[index].kind in EMBEDDINGS]
    return max(entries or reached, key=lambda index: depth[index], default=None)


def between(ops: Sequence[Op], root: int, sink: int) -> list[int]:
    """Indices, in order, of the ops on some path of data edges from ``root`` to ``sink``."""
    reaches = [False] * len(ops)
    reaches[sink] = True
    for op in reversed(ops):
        if any(e.target is not None and e.side == "data" and reaches[e.target] for e in op.edges):
            reaches[op.index] = True
    reached = [False] * len(ops)
    reached[root] = True
    on_path: list[int] = []
    for op in ops:
        if not (reached[op.index] and reaches[op.index]):
            continue
        on_path.append(op.index)
        for edge in op.edges:
            if edge.target is not None and edge.side == "data":
                reached[edge.target] = True
    return on_path


def cut_points(ops: Sequence[Op], on_path: Sequence[int]) -> list[int]:
    """The ops on the way that no edge jumps over: the dominators of the last one."""
    place = {index: position for position, index in enumerate(on_path)}
    over = [0] * (len(on_path) + 1)
    for index in on_path:
        for target in {e.target for e in ops[index].edges if e.side == "data"}:
            if target is not None and target in place:
                over[place[index] + 1] += 1
                over[place[target]] -= 1
    cuts: list[int] = []
    covering = 0
    for position, index in enumerate(on_path):
        covering += over[position]
        if covering == 0:
            cuts.append(index)
    return cuts


def find_trunk(
    ops: Sequence[Op],
    root: int,
    sink: int,
    seams: Collection[int] = (),
    inside: Collection[int] | None = None,
) -> tuple[list[TrunkPoint], list[list[int]]]:
    """The trunk from the loss to the input, and the ops of the segment behind each point.

    Segment ``i`` holds the op of point ``i`` and everything strictly between it and point
    ``i + 1``; its gain is the ratio of the gradients that arrive at the two. ``seams`` are ops
    that only join a recomputed stretch to the rest: they are no points of their own. ``inside``
    are the ops that the model made: terms of a loss that read several of its outputs go around
    weights too, but are no skip.
    """
    on_path = between(ops, root, sink)
    cuts = [index for index in cut_points(ops, on_path) if index not in seams]
    if not cuts:
        return [], []
    place = {index: position for position, index in enumerate(on_path)}
    points: list[TrunkPoint] = []
    segments: list[list[int]] = []
    for index, following in zip(cuts, [*cuts[1:], None], strict=True):
        op = ops[index]
        if following is None:
            points.append(_point(op, "end", None, None))
            continue
        segment = list(on_path[place[index] : place[following]])
        solid = [inner for inner in segment if inner not in seams]
        role, skip = _segment_role(ops, segment if len(solid) > 1 else solid, following)
        points.append(_point(op, role, _decades(op.norm, ops[following].norm), skip))
        segments.append(solid)
    if inside is not None:
        points = _without_loss_terms(points, inside)
    return _with_affine_norms(ops, points), segments


def _without_loss_terms(points: list[TrunkPoint], inside: Collection[int]) -> list[TrunkPoint]:
    output = next((place for place, p in enumerate(points) if p.op in inside), 0)
    return [
        dataclasses.replace(point, role="parallel", skip_share=None)
        if place < output and point.role == "residual"
        else point
        for place, point in enumerate(points)
    ]


def _with_affine_norms(ops: Sequence[Op], points: list[TrunkPoint]) -> list[TrunkPoint]:
    """A product with a parameter right behind a norm is that norm's scale: it is part of it."""
    result = list(points)
    for place, (point, behind) in enumerate(itertools.pairwise(points)):
        op = ops[point.op]
        scaled = point.role == "product" and any(e.side == "parameter" for e in op.edges)
        if scaled and behind.role == "norm" and ops[behind.op].module == op.module:
            result[place] = dataclasses.replace(point, role="norm")
    return result


def _point(op: Op, role: str, decades: float | None, skip: float | None) -> TrunkPoint:
    return TrunkPoint(
        op=op.index,
        norm=op.norm,
        output_rms=op.output_rms,
        role=role,
        decades=decades,
        skip_share=skip,
    )


def _decades(near: float | None, far: float | None) -> float | None:
    if not near or not far:
        return None
    return math.log10(far) - math.log10(near)


def _segment_role(
    ops: Sequence[Op], segment: list[int], following: int
) -> tuple[str, float | None]:
    """What a segment is, and for parallel ways the energy share of the shortest (the skip)."""
    if len(segment) == 1:
        return ops[segment[0]].role, None
    roles = {ops[index].role for index in segment}
    arriving = _arriving(ops, segment, following)
    if "weight" not in roles and "recurrent" not in roles:
        return _weightless_role(ops, segment, roles), None
    if len(arriving) < 2:
        return "parallel", None
    depth = _depth_within(ops, segment)
    source, edge = min(arriving, key=lambda pair: depth[pair[0]])
    energies = [(e.norm or 0.0) ** 2 for _, e in arriving]
    total = math.fsum(energies)
    share = (edge.norm or 0.0) ** 2 / total if total > 0 else None
    is_skip = _is_skip(ops, set(segment), segment[0], source)
    return ("residual", share) if is_skip else ("parallel", None)


def _weightless_role(ops: Sequence[Op], segment: list[int], roles: set[str]) -> str:
    """Of parallel elementwise ways: a composite activation (x * sigmoid(x)), a written-out norm."""
    if "norm" in roles or any(ops[index].kind in NORMALIZERS for index in segment):
        return "norm"
    for role in ("activation", "softmax", "product", "pool", "sum"):
        if role in roles:
            return role
    return "rest"


def _arriving(ops: Sequence[Op], segment: list[int], following: int) -> list[tuple[int, Edge]]:
    return [
        (index, edge) for index in segment for edge in ops[index].edges if edge.target == following
    ]


def _depth_within(ops: Sequence[Op], segment: list[int]) -> dict[int, int]:
    depth = dict.fromkeys(segment, len(segment))
    depth[segment[0]] = 0
    for index in segment:
        for edge in ops[index].edges:
            if edge.target in depth:
                depth[edge.target] = min(depth[edge.target], depth[index] + 1)
    return depth


def _is_skip(ops: Sequence[Op], segment: set[int], start: int, end: int) -> bool:
    """Whether some way from start to end holds only sums, views and (projection) weights' norms.

    A skip may pass a projection convolution and its norm (a ResNet's downsampling), but no
    activation: its share of the ops is then still smaller than the branch's.
    """
    allowed = PASSIVE_ROLES | {"weight", "norm", "pool"}
    pending, seen = [start], {start}
    while pending:
        index = pending.pop()
        if index == end:
            return end == start or (ops[end].role in allowed and not _drops_most(ops[end]))
        for edge in ops[index].edges:
            target = edge.target
            if target in segment and target not in seen and edge.side == "data":
                carries = ops[target].role in allowed and not _drops_most(ops[target])
                if carries or target == end:
                    seen.add(target)
                    pending.append(target)
    return False


def _drops_most(op: Op) -> bool:
    """Whether the op passes on less than half of its input (one time step of a sequence)."""
    if op.kind not in PARTIAL_VIEWS or op.elements is None:
        return False
    whole = max((edge.elements or 0 for edge in op.edges), default=0)
    return 2 * op.elements < whole
