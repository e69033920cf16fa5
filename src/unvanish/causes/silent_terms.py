"""Terms of the loss that are made of what trains, through functions that have no derivative."""

from collections.abc import Iterator

from unvanish.causes.cause import Expected
from unvanish.causes.dataflow import SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.trace import Trace

DECIDING = frozenset(
    "argmax argmin argsort eq ne gt ge lt le logical_and logical_or logical_not long int bool "
    "isclose searchsorted bucketize".split()
)
"""Functions from numbers to decisions: nothing that is computed of those has a gradient."""
DERIVING = frozenset(("grad",))
"""torch.autograd.grad, which makes numbers that nobody can derive again unless it is told to."""


def silent_terms(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    """Whole terms of the loss that are computed of decisions alone, or of derivatives without graph.

    That an input asks for a gradient, as the points of a differential equation do, trains nothing.
    Where a value was detached by name somebody knew what he did, and nothing is said.
    """
    start = trace.loss_operation
    for term in _terms(flow, start) if start is not None else ():
        exits = [i for i in sorted(flow.ancestors([term])) if _leaves_graph(flow, i)]
        functions = dict.fromkeys(flow[i].function for i in exits)
        if term in flow.trained or not exits:
            continue
        if DECIDING.issuperset(functions):
            said = (
                f"a term of the loss comes through {', '.join(functions)}, which has no "
                "derivative: it adds to the value and trains nothing"
            )
        elif DERIVING.issuperset(functions):
            said = (
                "a term of the loss comes through autograd.grad without create_graph=True: no weight "
                "is reached over that term, it adds to the value and trains nothing"
            )
        else:
            continue
        yield Expected(
            name="term-without-gradient",
            where=tuple(dict.fromkeys(flow[i].module or "(model)" for i in exits)),
            because=said,
            unless="it was meant to train something",
        )


def _terms(flow: Dataflow, start: int) -> list[int]:
    """What the loss is the sum of, looking through numbers that a term is multiplied by."""
    pending, seen, terms = [start], set[int](), list[int]()
    while pending:
        index = pending.pop()
        if index in seen:
            continue
        seen.add(index)
        made = [maker for maker in flow[index].inputs if maker is not None]
        single = len(made) == 1 and flow[index].function in VIEWS | SCALINGS
        if made and (single or flow[index].function in SUMS):
            pending += made
        else:
            terms.append(index)
    return terms


def _leaves_graph(flow: Dataflow, index: int) -> bool:
    """Whether what trains goes in and nothing that carries a gradient comes out."""
    operation = flow[index]
    fed = any(maker in flow.trained for maker in operation.inputs)
    return not operation.requires_grad and (fed or flow.trainable(operation.parameters))
