"""UV203 single-unit-softmax: a softmax over one class."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import DROPOUTS, SCALINGS, VIEWS, Dataflow
from unvanish.probe.flow import MULTIPLYING
from unvanish.trace import Operation

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
    "size one, with nothing weighted between it and the loss; or weights of attention that were "
    "normalised over a dimension of size one and are then summed over another one, or multiply "
    "several entries as they stand, which only one of them can. Attention over "
    "one key and a router over one expert are not meant.",
    do="For two classes either one output with BCEWithLogitsLoss (no softmax), or two outputs with "
    "CrossEntropyLoss. For a regression no softmax at all.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.2.2 (output units)",
)

REMEDIES = ("single-logit",)
SOFTMAXES = frozenset("softmax log_softmax softmin gumbel_softmax".split())
PRODUCTS = frozenset(("matmul", "bmm"))


def find(case: Case) -> Iterable[Finding]:
    """Softmax functions over one class before the loss, and weights normalised over the wrong one."""
    flow = Dataflow(case.trace)
    single = [
        i
        for i in sorted(flow.to_loss)
        if is_single(flow, i)
        and (i in flow.near_loss or _summed_along(flow, i) or _spread_over_many(flow, i))
    ]
    if not single:
        return
    places = [flow.feeder(i) or flow[i].module or "(model)" for i in single]
    if single[0] not in flow.near_loss and (along := _summed_along(flow, single[0])):
        said = _pooling(flow[single[0]].function, places[0], along)
        yield found(CARD, "broken", places, {"classes": 1.0}, detail=said)
        return
    dead = sum(1 for p in case.trace.parameters if p.state == "zero")
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
    dim = softmax_dim(operation)
    # Along the first dimension stand the samples: of one sample there is one.
    return dim % len(shape) > 0 and shape[dim] == 1


def softmax_dim(operation: Operation) -> int:
    """The dimension that it runs over; without one torch takes the first of 1 and 3, else the second."""
    implied = int(len(operation.input_shapes[0]) not in (1, 3))
    return implied if operation.dim is None else operation.dim


def _pooling(function: str, place: str, along: tuple[int, int | None]) -> str:
    terms, dim = along
    said = (
        "the dimension that is summed"
        if dim is None
        else f"the dimension that is summed, dim={dim}"
    )
    return (
        f"The weights that {function} makes after {place} are all one, whatever the model says: it runs "
        f"over a dimension of size one, and a sum of {terms} terms is weighed with it. Let it run over "
        f"{said}."
    )


def _summed_along(flow: Dataflow, index: int) -> tuple[int, int | None] | None:
    """Over how many entries what was normalised over one entry is summed, and along which dimension.

    ``None``: it weighs no sum over a dimension that has several (the second: which one is not known).
    Such weights are all one: the softmax ran along a wrong dimension. With one key (one expert) the
    sum itself has one term.
    """
    pending, seen = [index], {index}
    while pending:
        made = pending.pop()
        for reader in flow.consumers.get(made, ()):
            function = flow[reader].function
            if function in VIEWS | DROPOUTS and reader not in seen:
                seen.add(reader)
                pending.append(reader)
            elif function in PRODUCTS | SCALINGS:
                shape = flow[reader].input_shapes[flow[reader].inputs.index(made)]
                dim = (_contracted if function in PRODUCTS else _summed)(flow, made, reader)
                if dim is not None and -dim <= len(shape) and shape[dim] > 1:
                    return shape[dim], _own_dim(flow, index, shape, dim)
    return None


def _own_dim(flow: Dataflow, index: int, shape: tuple[int, ...], dim: int) -> int | None:
    """The same dimension of the softmax's own output; behind a change of shape the only one as long."""
    own = flow[index].output_shape
    if own == shape:
        return dim + len(own)
    as_long = [place for place, size in enumerate(own) if place and size == shape[dim]]
    return as_long[0] if len(as_long) == 1 else None


def _spread_over_many(flow: Dataflow, index: int) -> bool:
    """Whether its one entry multiplies several of another signal as it stands.

    With two entries and more the product would not run: the program has no other number of them
    than one, unlike a router, which picks an expert's share before it multiplies.
    """
    own = flow[index].input_shapes[0]
    dim = flow[index].dim
    if not own or dim is None:
        return False
    place = dim % len(own) - len(own)  # counted from the end, as broadcasting does
    for reader in flow.consumers.get(index, ()):
        others = [
            shape
            for maker, shape in zip(flow[reader].inputs, flow[reader].input_shapes, strict=True)
            if maker != index
        ]
        if flow[reader].function in MULTIPLYING and any(
            -place <= len(shape) and shape[place] > 1 for shape in others
        ):
            return True
    return False


def _contracted(flow: Dataflow, made: int, product: int) -> int:
    """Along which dimension of the weights, counted from the end, a matrix product sums."""
    place = flow[product].inputs.index(made)
    return -1 if place == 0 or len(flow[product].input_shapes[place]) < 2 else -2


def _summed(flow: Dataflow, made: int, product: int) -> int | None:
    """Along which one the sum right behind a product by entries runs; ``None``: there is no such sum."""
    whole = flow[product].output_shape
    for reader in flow.consumers.get(product, ()):
        dim = flow[reader].dim
        if flow[reader].function == "sum" and dim is not None and whole:
            return dim % len(whole) - len(whole)  # counted from the end, as broadcasting does
    return None


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=("symmetric-init", "stuck-saddle", "dead-units", "depth-decay", "double-softmax"),
    exact=True,
)
