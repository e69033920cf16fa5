"""UV205 no-nonlinearity: linear layers follow each other with nothing between them."""

from collections.abc import Iterable, Sequence

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import DROPOUTS, SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.probe.flow import MULTIPLYING

CARD = Card(
    code="UV205",
    name="no-nonlinearity",
    title="linear layers follow each other with nothing between them",
    says="{layers:.0f} weighted layers from {where} on follow each other with no activation "
    "between them: together they can do no more than one.",
    what="A product of matrices is a matrix. Without a nonlinear function between them, layers "
    "add parameters and depth, but no function that a single layer does not have.",
    hurts="The model stays a linear one, and the gradient runs through a product of weights that "
    "shrinks or grows with every layer.",
    apart="Decided from the operations: nothing but views, dropout and biases between layers whose "
    "middle is wide enough to hold the whole product. Low-rank pairs (LoRA, bottlenecks), "
    "attention projections, depthwise and resampling convolutions are such on purpose; two layers "
    "are a note; three in a row, or a whole model of three or more without any nonlinear function "
    "(batch norm is linear once trained), are harmful.",
    do="Put an activation (ReLU, GELU, tanh) between the layers, or leave one of them.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.1; Saxe, McClelland, "
    "Ganguli 2014, arXiv:1312.6120",
)

REMEDIES = ("insert-activation",)
CONVOLUTIONS = frozenset(f"conv{d}d" for d in (1, 2, 3))
TRANSPOSED = frozenset(f"conv_transpose{d}d" for d in (1, 2, 3))
PRODUCTS = frozenset("matmul mm bmm addmm baddbmm rmatmul".split())
LINEAR = (
    VIEWS
    | DROPOUTS
    | SUMS
    | frozenset(
        "neg mean sum cat concat stack pad batch_norm avg_pool1d avg_pool2d avg_pool3d split chunk "
        "unbind roll flip adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d".split()
    )
)
ENOUGH = 3
"""Two layers can be one factorised pair; no linear map needs a third factor."""


def find(case: Case) -> Iterable[Finding]:
    """The longest run of layers without anything nonlinear between them."""
    flow = Dataflow(case.trace)
    layers = [i for i in sorted(flow.to_loss) if _is_layer(flow, i) and _trains(flow, i)]
    if len(layers) < 2:
        return
    whole = _whole_model(flow, layers)
    run = whole if len(whole) >= ENOUGH else _longest_run(flow, layers)
    if len(run) < ENOUGH and not (len(run) == 2 and _wide(flow, *run)):
        return
    yield found(
        CARD,
        "harmful" if len(run) >= ENOUGH else "note",
        [flow[index].module or "(model)" for index in run],
        {"layers": float(len(run)), "whole_model": float(run is whole)},
        REMEDIES,
    )


def data_of(flow: Dataflow, index: int) -> int | None:
    """Which argument of a product with weights is the signal; ``None`` if it is none such."""
    operation = flow[index]
    carries = [m is not None and flow[m].from_data for m in operation.inputs]
    if operation.function in CONVOLUTIONS | TRANSPOSED | {"linear"}:
        return 0 if len(carries) > 1 and not any(carries[1:]) else None
    if operation.function in PRODUCTS and sum(carries) <= 1:
        held = any(len(shape) >= 2 for shape in operation.input_shapes) and (
            bool(operation.parameters) or any(flow.leaves(m) for m in _held(flow, index))
        )
        first = 1 if operation.function in ("addmm", "baddbmm") else 0
        return (carries.index(True) if any(carries) else first) if held else None
    return None


def _held(flow: Dataflow, index: int) -> list[int]:
    makers = flow[index].inputs
    return [m for m in makers if m is not None and not flow[m].from_data]


def _is_layer(flow: Dataflow, index: int) -> bool:
    return flow[index].from_data and data_of(flow, index) is not None


def _trains(flow: Dataflow, index: int) -> bool:
    names = set(flow[index].parameters).union(*(flow.leaves(m) for m in _held(flow, index)))
    return flow.trainable(names)


def _longest_run(flow: Dataflow, layers: Sequence[int]) -> list[int]:
    """The longest row of full-rank layers each of which is read by the next one alone."""
    runs: dict[int, list[int]] = {}
    for index in layers:
        before = _linked(flow, index)
        runs[index] = [*runs.get(before, []), index] if before in runs else [index]
    return max(runs.values(), key=len)


def _linked(flow: Dataflow, index: int) -> int | None:
    """The layer that feeds this one directly, where their product holds more than one layer."""
    current = flow[index].inputs[data_of(flow, index) or 0]
    while current is not None:
        if len(flow.to_loss.intersection(flow.consumers.get(current, ()))) != 1:
            return None
        operation = flow[current]
        if _is_layer(flow, current):
            return current if _full_rank(flow, current, index) else None
        biased = operation.function in SUMS and len(flow.signals(current)) == 1
        if biased and not (operation.parameters and _is_bias(flow, current)):
            return None
        if not biased and operation.function not in VIEWS | DROPOUTS:
            return None
        current = flow.signals(current)[0] if flow.signals(current) else None
    return None


def _is_bias(flow: Dataflow, index: int) -> bool:
    shapes = zip(flow[index].inputs, flow[index].input_shapes, strict=True)
    return all(len(shape) <= 1 for maker, shape in shapes if maker is None)


def _widths(flow: Dataflow, index: int) -> tuple[int, int]:
    operation = flow[index]
    if operation.function in CONVOLUTIONS | TRANSPOSED:
        first, second = operation.input_shapes[1][:2]
        return (second, first) if operation.function in CONVOLUTIONS else (first, second)
    shape = operation.input_shapes[data_of(flow, index) or 0]
    return (shape[-1] if shape else 1), (
        operation.output_shape[-1] if operation.output_shape else 1
    )


def _full_rank(flow: Dataflow, first: int, second: int) -> bool:
    """Same kind, channels whole, nothing resampled, and a middle that holds the whole product."""
    one, two = flow[first], flow[second]
    (inside, middle), (read, outside) = _widths(flow, first), _widths(flow, second)
    if middle != read or middle < min(inside, outside):
        return False
    if one.function not in CONVOLUTIONS and two.function not in CONVOLUTIONS:
        return {one.function, two.function}.isdisjoint(TRANSPOSED)
    if one.function != two.function or one.input_shapes[1][2:] != two.input_shapes[1][2:]:
        return False
    channels = one.input_shapes[0][1 - len(one.input_shapes[1])]
    kept = all(
        2 * after > before
        for operation in (one, two)
        for before, after in zip(
            _places(operation.input_shapes[0], operation.input_shapes[1]),
            _places(operation.output_shape, operation.input_shapes[1]),
            strict=True,
        )
    )
    return kept and channels == inside


def _places(shape: tuple[int, ...], weight: tuple[int, ...]) -> tuple[int, ...]:
    return shape[2 - len(weight) :]


def _wide(flow: Dataflow, first: int, second: int) -> bool:
    """Whether the middle is narrower than neither end: no bottleneck, no projection."""
    inside, middle = _widths(flow, first)
    return middle >= max(inside, _widths(flow, second)[1])


def _whole_model(flow: Dataflow, layers: Sequence[int]) -> list[int]:
    """The longest row of layers, if no operation between any two layers is nonlinear."""
    between = flow.descendants(layers) & flow.ancestors(layers)
    if any(not _is_linear(flow, index) for index in between if flow[index].from_data):
        return []
    rows: dict[int, list[int]] = {}
    for index in sorted(between):
        best = max((rows.get(m, []) for m in flow.signals(index)), key=len, default=[])
        if index in layers:
            # A pair through a narrow middle is one layer of low rank.
            narrow = bool(best) and _widths(flow, best[-1])[1] < min(
                _widths(flow, best[-1])[0], _widths(flow, index)[1]
            )
            best = [*best[:-1], index] if narrow else [*best, index]
        rows[index] = best
    return max(rows.values(), key=len, default=[])


def _is_linear(flow: Dataflow, index: int) -> bool:
    if _is_layer(flow, index) or flow[index].function in LINEAR:
        return True
    # The signal may be divided by something, not something by the signal.
    scaled = flow[index].function in SCALINGS and len(flow.signals(index)) == 1
    divides = flow[index].function not in MULTIPLYING
    return scaled and (not divides or flow[index].inputs[0] == flow.signals(index)[0])


CAUSE = Cause(
    card=CARD,
    find=find,
    explains=("depth-decay", "depth-growth", "init-too-small", "init-too-large"),
    exact=True,
)
