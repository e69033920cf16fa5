"""drop-softmax, single-logit, logits-loss: the last function of the model and the loss behind it."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.double_softmax import SIGMOIDS, TAKES_LOGITS
from unvanish.causes.forgotten_logarithm import without_logarithm
from unvanish.causes.level import SQUASHING
from unvanish.causes.single_unit_softmax import SOFTMAXES, is_single
from unvanish.remedies.called import rewritten_call
from unvanish.remedies.chart import flow, module_at
from unvanish.remedies.drafts import advice, listed, replaced
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.calls import NOTHING
from unvanish.surgery.edits import Edit, Part
from unvanish.trace import Operation

DROP = RemedyCard(
    name="drop-softmax",
    title="raw scores for a loss that makes probabilities itself",
    what="The softmax or sigmoid in front of the loss gives way to the identity.",
    harms="Where probabilities are read (metrics, thresholds, exports) they now have to be computed "
    "there.",
    reference="torch.nn.CrossEntropyLoss and BCEWithLogitsLoss: input is expected to contain "
    "unnormalized logits",
)
SINGLE = RemedyCard(
    name="single-logit",
    title="a sigmoid for one class",
    what="The softmax over one class, which is one whatever the model says, gives way to a "
    "sigmoid. Under a cross entropy over one class the loss has to change: BCEWithLogitsLoss "
    "for one output, or two outputs.",
    harms="A regression wants neither.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.2.2",
)
LOGITS = RemedyCard(
    name="logits-loss",
    title="an output that reaches its targets, a loss that takes scores",
    what="Where targets lie outside of what the last function can give, it gives way to the "
    "identity. Where a squashed output is compared with classes, cross_entropy or "
    "binary_cross_entropy_with_logits on the raw scores neither overflow nor go flat.",
    harms="Outputs are then no probabilities and not bounded: whoever reads them has to know.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.2.2; torch.nn.BCEWithLogitsLoss "
    "(log-sum-exp)",
)
SQUASHES = frozenset(SQUASHING) | SOFTMAXES | SIGMOIDS
IDENTITY = Part(type="torch.nn.Identity")


def drop(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The squashing in front of the one that the loss applies."""
    graph = flow(patient)
    firsts = dict.fromkeys(
        first
        for index in sorted(graph.to_loss)
        if (first := graph.argument(index)) is not None
        and graph[index].function in TAKES_LOGITS
        and graph[first].function in SOFTMAXES | SIGMOIDS
        and first in graph.trained
    )
    # The last one first: what is exchanged is no longer counted.
    made = [_exchanged(patient, graph[i], IDENTITY) for i in reversed(firsts)]
    edits = [edit for edit in made if edit is not None]
    if edits:
        yield tuple(edits)
    said = finding.detail or "softmax twice"
    yield advice(f"Return raw scores from {listed(finding.where)} ({said}).", finding.where)


def one_class(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """A sigmoid where the loss takes probabilities; else what the loss has to become."""
    graph = flow(patient)
    single = [graph[i] for i in sorted(graph.to_loss) if is_single(graph, i)]
    sigmoid = Part(type="torch.nn.Sigmoid")
    edits = [_exchanged(patient, operation, sigmoid) for operation in single]
    if single and _takes_probabilities(graph) and all(edit is not None for edit in edits):
        yield tuple(edit for edit in edits if edit is not None)
    yield advice(
        f"Behind {listed(finding.where)}: one output with BCEWithLogitsLoss and no softmax, or two "
        "outputs with CrossEntropyLoss.",
        finding.where,
    )


def logits(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The identity where targets are out of reach, the logarithm that a likelihood takes; else words."""
    if is_flat(finding):
        yield _sloping(patient, finding)
        return
    if "straight" in finding.evidence:
        return  # no matter of ranges and units: swap-activation
    if "missed" in finding.evidence:
        graph = flow(patient)
        last = [i for i in sorted(graph.near_loss) if graph[i].function in SQUASHING]
        here = [i for i in last if i in graph.trained and graph[i].module in finding.where]
        edits = [_exchanged(patient, graph[i], IDENTITY) for i in here[-1:]]
        if edits and edits[0] is not None:
            yield (edits[0],)
    unlogged = without_logarithm(patient.diagnosis.trace)
    made = unlogged[1] if unlogged is not None else None
    if made is not None and made.dim is not None:
        logarithm = Part(type="torch.nn.LogSoftmax", arguments={"dim": made.dim})
        edit = _exchanged(patient, made, logarithm)
        if edit is not None:
            yield (edit,)
    yield advice(
        f"Give raw scores from {listed(finding.where)} to cross_entropy (classes) or "
        "binary_cross_entropy_with_logits (yes or no).",
        finding.where,
    )


def is_flat(finding: Finding) -> bool:
    """Whether no tensor gets anything at all: then it is no matter of ranges and units."""
    return finding.name == "unfit-loss" and "tensors" in finding.evidence


def _sloping(patient: Patient, finding: Finding) -> Plan:
    operations = patient.diagnosis.trace.ops
    ends = dict.fromkeys(op.kind for op in operations if op.norm and op.left == 0)
    return advice(
        f"Let the loss slope where the outputs are: take out {', '.join(ends) or 'what is flat'}, "
        "where the gradient ends, or let what slopes everywhere take its place.",
        finding.where,
    )


def _takes_probabilities(graph: Dataflow) -> bool:
    return any(graph[index].function == "binary_cross_entropy" for index in graph.near_loss)


def _exchanged(patient: Patient, operation: Operation, part: Part) -> Edit | None:
    """Another function in its place; ``None`` where it runs outside of the model."""
    if not operation.inside or operation.function not in SQUASHES:
        return None
    module = module_at(patient, operation.module)
    if type(module).__module__ == "torch.nn.modules.activation":
        return replaced(operation.module, part)
    return rewritten_call(patient, operation, NOTHING if part == IDENTITY else part)


DROP_SOFTMAX = Remedy(
    card=DROP,
    level="wiring",
    keep="function",
    safety="changes the function",
    treats=("double-softmax",),
    plan=drop,
)
SINGLE_LOGIT = Remedy(
    card=SINGLE,
    level="wiring",
    keep="function",
    safety="changes the function",
    treats=("single-unit-softmax",),
    plan=one_class,
)
LOGITS_LOSS = Remedy(
    card=LOGITS,
    level="wiring",
    keep="function",
    safety="changes the function",
    treats=("unfit-loss", "nonfinite-forward"),
    plan=logits,
)
