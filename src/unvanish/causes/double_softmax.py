"""UV204 double-softmax: probabilities go into a loss that makes probabilities itself."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.causes.single_unit_softmax import SOFTMAXES, softmax_dim

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
    apart="Decided from the operations: one squashing, written out or not, feeds the other through "
    "nothing but views, clamps and fixed factors of at most one, before the loss. Attention "
    "weights, gates and targets are not meant. A log-softmax before a log-softmax changes nothing "
    "and is only a note.",
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
LOGARITHMIC = TAKES_LOGITS - {"softmax", "sigmoid", "softmin", "gumbel_softmax"}
"""Those that are of use in a loss only, wherever in it they stand."""
KEEPING = VIEWS | {"clamp", "clip", "clamp_min", "clamp_max"}
"""Functions that leave probabilities what they are."""
QUOTIENTS = frozenset("div truediv true_divide divide rdiv rtruediv reciprocal".split())
MINUS = frozenset(("sub", "isub", "subtract"))
PLUS = VIEWS | SUMS
SHIFT_INVARIANT = SOFTMAXES | {"cross_entropy"}
"""Functions that undo a log-softmax: it only shifts each sample's scores."""


def find(case: Case) -> Iterable[Finding]:
    """Pairs of squashings with only views between them, at the loss."""
    flow = Dataflow(case.trace)
    pairs = [pair for index in sorted(flow.to_loss) if (pair := _pair(flow, index)) is not None]
    if not pairs:
        return
    harmful = [pair for pair in pairs if not _harmless(flow, *pair)]
    first, second = (harmful or pairs)[0]
    function = _named(flow, second)
    yield found(
        CARD,
        "harmful" if harmful else "note",
        [flow.feeder(first) or "(model)", flow[first].module or "(model)"],
        {"classes": _classes(flow, first), "pairs": float(len(pairs))},
        REMEDIES,
        detail=f"{_named(flow, first)} and then {function}",
    )


def _classes(flow: Dataflow, index: int) -> float | None:
    """Entries along the dimension that a softmax runs over; of a sigmoid along the last."""
    shape, dim = flow[index].output_shape, flow[index].dim
    if _written_out(flow, index) == "softmax":
        summed = flow.argument(index, 1, PLUS)
        dim = None if summed is None else flow[summed].dim
    elif shape and flow[index].function in SOFTMAXES:
        dim = softmax_dim(flow[index])
    return float(shape[-1 if dim is None else dim]) if shape else None


def _pair(flow: Dataflow, index: int) -> tuple[int, int] | None:
    normalised = _normalises_scores(flow, index)
    function = "log_softmax" if normalised else flow[index].function
    if function not in (TAKES_LOGITS if index in flow.near_loss else LOGARITHMIC):
        return None
    first = _unscaled(flow, flow.argument(index, 0, KEEPING))
    if first is None or first not in flow.trained:
        return None
    if flow[first].function not in SOFTMAXES | SIGMOIDS and not _written_out(flow, first):
        return None
    # A softmax of log-probabilities gives back the probabilities: that is meant.
    meant = flow[first].function == "log_softmax" and function == "softmax"
    # Categorical(logits=) takes logarithms of what is no distribution yet, of probabilities too.
    meant = meant or (normalised and flow[first].function in LOGARITHMIC)
    return None if meant else (first, index)


def _normalises_scores(flow: Dataflow, index: int) -> bool:
    """``x - logsumexp(x)``, as torch.distributions writes it, or ``x - log(sum(exp(x)))``."""
    if flow[index].function not in MINUS or len(flow[index].inputs) != 2:
        return False
    scores, made = flow.argument(index), flow.argument(index, 1)
    functions = list[str]()
    while made is not None and made != scores:
        functions.append(flow[made].function)
        made = flow.argument(made)
    return made is not None and functions in (["logsumexp"], ["log", "sum", "exp"])


def _unscaled(flow: Dataflow, index: int | None) -> int | None:
    """What stands before fixed factors of at most one, such as a temperature that divides.

    Scores that part by s at most give no class of k more than e^s / (e^s + k - 1): with s below one
    that is less than what bare probabilities give. A larger factor makes scores of them again.
    """
    while index is not None and flow[index].function in SCALINGS:
        maker = flow.argument(index, 0, frozenset())
        if (
            maker is None
            or flow.signals(index) != [maker]
            or flow.trainable(flow[index].parameters)
        ):
            return index
        made, given = flow[index].output_rms, flow[maker].output_rms
        if made is None or given is None or made > given:
            return index
        index = flow.before(maker, KEEPING)
    return index


def _written_out(flow: Dataflow, index: int) -> str | None:
    """``exp(x) / sum(exp(x))`` or ``1 / (1 + exp(-x))``, by the name of what it is."""
    if flow[index].function not in QUOTIENTS:
        return None
    above, below = flow.argument(index), flow.argument(index, len(flow[index].inputs) - 1, PLUS)
    if above is None or below is None:
        return None
    if len(flow[index].inputs) == 2 and flow[above].function == "exp":
        term = flow.argument(below) if flow[below].function == "sum" else None
        same = term is not None and flow[term].function == "exp"
        return "softmax" if same and flow.argument(term or 0) == flow.argument(above) else None
    # 1 / (1 + exp(-x)): a number over a sum, and over nothing else.
    alone = len(flow[index].inputs) == 1 and flow[index].function not in ("div", "truediv")
    summed = flow[above].function in SUMS and flow[below].function == "exp"
    return "sigmoid" if alone and summed else None


def _named(flow: Dataflow, index: int) -> str:
    written = "log_softmax" if _normalises_scores(flow, index) else _written_out(flow, index)
    return flow[index].function if written is None else f"a {written} written out"


def _harmless(flow: Dataflow, first: int, second: int) -> bool:
    return flow[first].function == "log_softmax" and flow[second].function in SHIFT_INVARIANT


CAUSE = Cause(card=CARD, find=find, explains=("unfit-loss", "depth-decay"), exact=True)
