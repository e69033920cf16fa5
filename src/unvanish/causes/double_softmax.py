"""UV204 double-softmax: probabilities go into a loss that makes probabilities itself."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.single_unit_softmax import SOFTMAXES

CARD = Card(
    code="UV204",
    name="double-softmax",
    title="softmax or sigmoid is applied twice",
    says="The output of {where} goes through {detail}: the second one takes the first one's result "
    "for raw scores.",
    what="cross_entropy, log_softmax and binary_cross_entropy_with_logits expect raw scores "
    "(logits) and squash them themselves. Probabilities given to them lie between 0 and 1, so the "
    "second result is close to uniform however sure the model is.",
    hurts="The loss cannot come near zero (over 10 classes not below 1.46), and the gradient is "
    "multiplied by the slope of both squashings, which vanishes as the model becomes sure.",
    apart="Decided from the operations: one squashing feeds the other through nothing but views, "
    "right before the loss. Attention weights, gates and targets are not meant. A log-softmax "
    "before a log-softmax changes nothing and is only a note.",
    do="Return raw scores from the model and let the loss do the rest; apply softmax or sigmoid "
    "only where probabilities are read.",
    reference="torch.nn.CrossEntropyLoss and BCEWithLogitsLoss: input is expected to contain "
    "unnormalized logits",
)

REMEDIES = ("drop-softmax",)
SIGMOIDS = frozenset(("sigmoid", "logsigmoid", "log_sigmoid"))
TAKES_LOGITS = (
    SOFTMAXES
    | SIGMOIDS
    | frozenset(
        ("cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")
    )
)
SHIFT_INVARIANT = SOFTMAXES | {"cross_entropy"}
"""Functions that undo a log-softmax: it only shifts each sample's scores."""


def find(case: Case) -> Iterable[Finding]:
    """Pairs of squashings with only views between them, at the loss."""
    flow = Dataflow(case.trace)
    pairs = [pair for index in sorted(flow.near_loss) if (pair := _pair(flow, index)) is not None]
    if not pairs:
        return
    harmful = [pair for pair in pairs if not _harmless(flow, *pair)]
    first, second = (harmful or pairs)[0]
    shape = flow[first].output_shape
    yield found(
        CARD,
        "harmful" if harmful else "note",
        [flow.feeder(first) or "(model)", flow[first].module or "(model)"],
        {"classes": float(shape[-1]) if shape else None, "pairs": float(len(pairs))},
        REMEDIES,
        detail=f"{flow[first].function} and then {flow[second].function}",
    )


def _pair(flow: Dataflow, index: int) -> tuple[int, int] | None:
    if flow[index].function not in TAKES_LOGITS:
        return None
    first = flow.argument(index)
    if first is None or first not in flow.trained:
        return None
    if flow[first].function not in SOFTMAXES | SIGMOIDS:
        return None
    # A softmax of log-probabilities gives back the probabilities: that is meant.
    meant = flow[first].function == "log_softmax" and flow[index].function == "softmax"
    return None if meant else (first, index)


def _harmless(flow: Dataflow, first: int, second: int) -> bool:
    return flow[first].function == "log_softmax" and flow[second].function in SHIFT_INVARIANT


CAUSE = Cause(card=CARD, find=find, explains=("unfit-loss", "depth-decay"), exact=True)
