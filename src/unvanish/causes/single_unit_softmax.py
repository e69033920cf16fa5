"""UV203 single-unit-softmax: a softmax over one class."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import Dataflow

CARD = Card(
    code="UV203",
    name="single-unit-softmax",
    title="a softmax over one class is constant",
    says="{detail} after {where} runs over a single class: its result is the same whatever the "
    "model says, and its gradient is exactly zero ({dead:.0f} trainable tensors get zeros).",
    what="A softmax makes its entries add up to one. Over a single entry it is one, always, and "
    "its logarithm zero: cross entropy over one class is zero for every model.",
    hurts="Whatever feeds it gets a gradient of exactly zero and never learns.",
    apart="Decided from shapes: a softmax, log-softmax or cross entropy whose class dimension has "
    "size one, with nothing weighted between it and the loss. Attention over one key and a "
    "router over one expert weigh other signals and are not meant.",
    do="For two classes either one output with BCEWithLogitsLoss (no softmax), or two outputs with "
    "CrossEntropyLoss. For a regression no softmax at all.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.2.2 (output units)",
)

REMEDIES = ("single-logit",)
SOFTMAXES = frozenset("softmax log_softmax softmin gumbel_softmax".split())


def find(case: Case) -> Iterable[Finding]:
    """Softmax functions over one class on the last stretch before the loss."""
    flow = Dataflow(case.trace)
    single = [i for i in sorted(flow.near_loss) if is_single(flow, i)]
    if not single:
        return
    dead = sum(1 for p in case.trace.parameters if p.state == "zero")
    places = [flow.feeder(i) or flow[i].module or "(model)" for i in single]
    yield found(
        CARD,
        "broken",
        places,
        {"classes": 1.0, "dead": float(dead)},
        REMEDIES,
        detail=flow[single[0]].function,
    )


def is_single(flow: Dataflow, index: int) -> bool:
    """Whether this operation normalises over a class dimension of size one."""
    operation = flow[index]
    if index not in flow.trained or not operation.input_shapes:
        return False
    shape = operation.input_shapes[0]
    if operation.function == "cross_entropy":
        return (shape[1] if len(shape) > 1 else shape[0] if shape else 1) == 1
    if operation.function not in SOFTMAXES:
        return False
    if not shape:
        return True
    # Without dim torch takes the first for 0, 1 and 3 dimensions, else the second.
    dim = operation.dim if operation.dim is not None else int(len(shape) not in (1, 3))
    # Along the first dimension stand the samples: of one sample there is one.
    return dim % len(shape) > 0 and shape[dim] == 1


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=("symmetric-init", "stuck-saddle", "dead-units", "depth-decay", "double-softmax"),
    exact=True,
)
