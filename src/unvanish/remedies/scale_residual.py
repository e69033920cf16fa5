"""scale-residual: residual branches that add up to what one of them would."""

import math
from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.init.graph import DROPOUTS, SCALINGS, VIEWS, Graph
from unvanish.init.residual import Branch, find_branches, is_learned_scale, longest
from unvanish.remedies.chart import body
from unvanish.remedies.drafts import initialise
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

CARD = RemedyCard(
    name="scale-residual",
    title="residual branches divided by the root of their number",
    what="L branches of scale one on a stream of scale one double its variance at each sum, 2^L in "
    "all. Divided by sqrt(L) each, they multiply it by (1 + 1/L)^L < e. The factor goes into "
    "the last weight of each branch; where a norm follows the sum, unvanish.init.critical_ "
    "writes DeepNorm's factors instead.",
    harms="Where branches end in a norm the growth is polynomial already: dividing more slows "
    "learning. A branch whose last weight is shared with another place is left alone.",
    reference="De and Smith 2020, arXiv:2002.10444; Hayou et al. 2021, arXiv:2010.12859; Wang et al. "
    "2022, arXiv:2203.00555 (DeepNorm)",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The last weight of each branch by 1 / sqrt(L); all initial values anew, DeepNorm's included."""
    graph = Graph(body(patient), patient.diagnosis.trace)
    branches = find_branches(graph)
    added = [branch for branch in branches if not branch.normed]
    count = longest(graph, frozenset(branch.sum for branch in added))
    names = _last_weights(patient, graph, added)
    if count > 1 and names:
        factor = 1 / math.sqrt(count)
        yield (Edit(action="scale", where=names, options={"factor": factor}),)
    if branches:
        yield (initialise(),)


def _last_weights(patient: Patient, graph: Graph, branches: Iterable[Branch]) -> tuple[str, ...]:
    """The parameters of what ends each branch: weight and bias, as the sum sees both."""
    held = {name: p.requires_grad for name, p in body(patient).named_parameters()}
    uses = [name for operation in graph.operations for name in operation.parameters]
    names: list[str] = []
    for branch in branches:
        own = _weights_behind(graph, branch.last)
        if own and all(held.get(name) and uses.count(name) == 1 for name in own):
            names += own
    return tuple(dict.fromkeys(names))


def _weights_behind(graph: Graph, index: int) -> tuple[str, ...]:
    """The parameters of the weighted operation here, or before views and products with numbers."""
    while not graph[index].parameters and graph[index].function in VIEWS | DROPOUTS | SCALINGS:
        before = graph.signals(index)
        if len(before) != 1:
            return ()
        index = before[0]
    return () if is_learned_scale(graph, index) else graph[index].parameters


REMEDY = Remedy(
    card=CARD,
    level="values",
    keep="function",
    safety="changes the function",
    treats=("depth-growth", "post-norm-depth"),
    plan=plan,
)
