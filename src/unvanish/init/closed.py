"""Gates that are closed by design: weights of zero that the signal can go around.

Adapters over a frozen base, modulation that starts as the identity, new heads of a net that is
tuned further: their zero says that at the start the model computes what it did without them, and
the first step opens them, as what they read differs from sample to sample. Written anew they
destroy that function. A zero that the signal must pass through is another matter: behind it all
samples are alike, and nothing that lies there learns.
"""

from unvanish.init.graph import Graph
from unvanish.init.parts import Part
from unvanish.init.situation import Situation

BY_DESIGN = "zero by design: its own gradient opens it; name it in only= to change it all the same"
_ALIKE = 1e-9
"""Spread between samples that is rounding: the mean is taken off in float64."""


def apply(situation: Situation) -> None:
    """Refuse every closed gate, unless the weights to change were named one by one."""
    if situation.permitted.told:
        return
    zeros = {i: p for i, p in situation.parts.items() if not bool(p.weight.detach().any())}
    heads = {i for i in zeros if situation.is_head(i) and _reads(situation.graph, i)}
    gates = heads | {
        index
        for index, part in zeros.items()
        if _reads(situation.graph, index)
        and (heads or _is_reached(situation, part))  # behind a closed head nothing is reached yet
        and _is_bypassed(situation, index, frozenset(zeros))
    }
    opened = {id(part.weight) for index, part in zeros.items() if index not in gates}
    for index in gates:
        if id(zeros[index].weight) not in opened:
            for name in zeros[index].names:
                situation.permitted.refused.setdefault(name, BY_DESIGN)
            situation.closed_head |= index in heads


def _reads(graph: Graph, index: int) -> bool:
    """Whether what it reads differs between samples."""
    return not any(_is_dead(graph, maker) for maker in graph.signals(index)[:1])


def _is_reached(situation: Situation, part: Part) -> bool:
    """Whether its weight got a gradient."""
    return bool(situation.trace.parameter(part.names[0]).gradient_norm)


def _is_bypassed(situation: Situation, index: int, zeros: frozenset[int]) -> bool:
    """Whether the constant it puts out meets a living signal on each of its ways."""
    graph, sums = situation.graph, {branch.sum for branch in situation.branches}
    pending, seen = [index], {index}
    while pending:
        for reader in graph.readers.get(pending.pop(), ()):
            if reader in seen:
                continue
            seen.add(reader)
            if reader in zeros:
                return False  # a zero behind a zero: neither opens
            if _is_dead(graph, reader):
                pending.append(reader)
            elif reader in sums:
                continue  # around it goes what the branch began with, and be it the batch itself
            elif all(maker in seen or _is_dead(graph, maker) for maker in graph.signals(reader)):
                return False  # the loss itself, or what cannot be read: no way around was seen
    return len(seen) > 1


def _is_dead(graph: Graph, index: int) -> bool:
    """Whether the output is the same for every sample, as far as it was read."""
    operation = graph[index]
    alike = operation.output_spread is not None and operation.output_spread < _ALIKE
    return operation.output_rms == 0 or alike
