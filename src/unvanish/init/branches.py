"""Residual branches: divided by the root of their number, or DeepNorm's factors where a norm follows."""

import math

from unvanish.init.fresh import NORMS
from unvanish.init.residual import (
    Branch,
    before_activations,
    is_learned_scale,
    longest,
    value_path,
)
from unvanish.init.situation import Situation
from unvanish.probe.flow import NORMALIZING

TOLERATED = 10.0
"""Growth of the gradient over all branches that end in a norm. Dividing these, too, by the root of
their number made a ResNet of 12 blocks learn more slowly (digits, SGD: 95 % instead of 98 %)."""


def deep_norm_factors(sums: int) -> tuple[float, float]:
    """Alpha (on the skip) and beta (on the branch's weights) for this many normed sums in a row.

    Wang et al. 2022 (arXiv:2203.00555, figure 2) for N layers of two sums each:
    alpha = (2N)^(1/4), beta = (8N)^(-1/4).

    >>> [round(factor, 4) for factor in deep_norm_factors(2 * 50)]
    [3.1623, 0.2236]
    """
    return sums**0.25, (4 * sums) ** -0.25


def apply(situation: Situation) -> None:
    """Note the gain of every weight, norm and attention that ends or carries a branch."""
    added = frozenset(b.sum for b in situation.branches if not b.normed)
    normed = frozenset(b.sum for b in situation.branches if b.normed)
    graph = situation.graph
    count = longest(graph, added)
    alpha, beta = deep_norm_factors(max(1, longest(graph, normed)))
    for branch in situation.branches:
        if branch.normed:
            _scale(situation, branch, beta, beta / alpha, beta / alpha)
        else:
            outer = _stream(situation, branch) / math.sqrt(count)
            _scale(situation, branch, 1.0, outer, min(1.0, TOLERATED / math.sqrt(count)))


def _scale(situation: Situation, branch: Branch, inner: float, outer: float, norm: float) -> None:
    """``outer`` on what ends the branch, ``inner`` on what else sets the size of its output.

    ``norm`` where a norm ends it: then branches of scale one add up to a gradient that grows with
    the root of their number only, which is left alone up to the gate's factor of ten.
    """
    graph = situation.graph
    last = before_activations(graph, branch.last)
    operation = graph[last]
    if is_learned_scale(graph, last):
        for name in operation.parameters:
            situation.notes[name] = "a learned scale of a residual branch, which does its work"
        return
    if operation.function in NORMALIZING:
        situation.norm_gains[_norm_of(situation, last)] = norm
        return
    path = value_path(graph, branch, dict(situation.parts))
    size = 1.0
    for index in path:
        situation.gains[index] = outer if index == last else inner
        size *= situation.gains[index]
        situation.sizes[index] = size
    for index in branch.operations:
        if graph[index].function == "multi_head_attention_forward":
            ends = index == last
            situation.attention_gains[graph[index].module] = (inner, outer if ends else inner)


def _norm_of(situation: Situation, index: int) -> str:
    path = situation.graph[index].module
    module = situation.model.get_submodule(path)
    return path if isinstance(module, NORMS) else ""


def _stream(situation: Situation, branch: Branch) -> float:
    """The scale of what the branch is added to: one, unless it comes from where nothing changes."""
    graph, sums = situation.graph, {b.sum: b for b in situation.branches}
    start: int | None = branch.start
    while start is not None:
        if start in sums:
            start = sums[start].start
            continue
        operation = graph[start]
        if start in situation.parts and situation.may_change(situation.parts[start]):
            return 1.0
        if operation.function in NORMALIZING or start in graph.bend_ends:
            return 1.0
        signals = graph.signals(start)
        fixed = operation.function == "embedding" or len(signals) != 1
        if fixed:
            return operation.output_rms or 1.0
        start = signals[0]
    return situation.input_rms or 1.0
