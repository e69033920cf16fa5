"""Values that are detached by name and go on into what trains: listed, as it is often meant."""

from collections.abc import Iterator

from unvanish.causes.cause import Expected
from unvanish.causes.dataflow import DROPOUTS, SCALINGS, SUMS, VIEWS, Dataflow
from unvanish.trace import Trace

DETACHING = frozenset(("detach", "data"))
"""How a value is taken out of the graph by name."""
HANDING = VIEWS | SCALINGS | DROPOUTS | DETACHING


def passed_on(trace: Trace, flow: Dataflow) -> Iterator[Expected]:
    """Detached values that go back into the weights that made them, or on beside a branch of theirs.

    All weights get their gradient, over other ways: the state of a recurrent cell that is cut off
    between time steps, a skip connection that hands on values alone. Truncated back-propagation and
    memories are just that, so it is no fault. Targets, stopped gradients of a loss and straight-through
    sums meet neither.
    """
    cuts = [i for i in range(len(flow.operations)) if _is_cut(flow, i)]
    if not cuts:
        return
    made_by = _made_by(flow)
    back = [i for i in cuts if _goes_back(flow, i, made_by[i])]
    beside = [i for i in cuts if i not in back and _is_beside(flow, i)]
    if back:
        said = (
            f"a value passes on without gradient (times: {len(back)}): it goes back into weights that "
            "made it, and they learn nothing from how they made it"
        )
        yield _listed(flow, back, said, "they are to learn what only shows steps later")
    if beside:
        said = (
            f"a value passes on without gradient (times: {len(beside)}): it is added to what a branch "
            "makes of it, and what lies before gets its gradient through the branch alone"
        )
        unless = "it was meant as a skip connection, which hands the gradient on"
        yield _listed(flow, beside, said, unless)


def _listed(flow: Dataflow, cuts: list[int], because: str, unless: str) -> Expected:
    return Expected(
        name="passed-on-without-gradient",
        where=tuple(dict.fromkeys(flow[i].module or "(model)" for i in cuts)),
        because=because,
        unless=unless,
        evidence={"count": float(len(cuts))},
    )


def _is_cut(flow: Dataflow, index: int) -> bool:
    """Whether what trains goes in here, and what comes out flows into the loss without gradient."""
    operation = flow[index]
    named = operation.function in DETACHING and operation.from_data
    carried = not flow.trained.isdisjoint(operation.inputs) and not operation.requires_grad
    return named and carried and index in flow.to_loss


def _source(flow: Dataflow, cut: int) -> int:
    return next(maker for maker in flow[cut].inputs if maker in flow.trained)


def _made_by(flow: Dataflow) -> list[frozenset[str]]:
    """For every operation the parameters that get gradient and that its value is made of."""
    made: list[frozenset[str]] = []
    for operation in flow.operations:
        reached = {n for n in operation.parameters if flow.states.get(n) not in ("none", "frozen")}
        before = [made[maker] for maker in operation.inputs if maker is not None]
        made.append(frozenset(reached).union(*before))
    return made


def _goes_back(flow: Dataflow, cut: int, makers: frozenset[str]) -> bool:
    """Whether the first weights that read the value are among those that made it."""
    pending, seen, source = [cut], set[int](), _source(flow, cut)
    while pending:
        for reader in flow.consumers.get(pending.pop(), ()):
            if reader in seen or reader not in flow.to_loss or _carried_on(flow, reader, source):
                continue
            seen.add(reader)
            if not flow.trainable(flow[reader].parameters):
                pending.append(reader)
            elif not makers.isdisjoint(flow[reader].parameters):
                return True
    return False


def _carried_on(flow: Dataflow, reader: int, source: int) -> bool:
    """Whether what the value was made of meets it here, and brings its gradient with it.

    A straight-through sum, a norm that divides as a number.
    """
    if flow[reader].function not in SUMS | SCALINGS:
        return False
    others = [m for m in flow[reader].inputs if m is not None and m in flow.trained]
    return any(m in flow.ancestors([source], lowest=m) for m in others)


def _is_beside(flow: Dataflow, cut: int) -> bool:
    """Whether the value is added to what weights make of it as it was before the cut."""
    pending, source = [cut], _source(flow, cut)
    while pending:
        for reader in flow.consumers.get(pending.pop(), ()):
            makers = [maker for maker in flow[reader].inputs if maker is not None]
            if reader in flow.to_loss and flow[reader].function in SUMS:
                if any(_branches(flow, source, m, cut) for m in makers if m in flow.trained):
                    return True
            elif len(makers) == 1 and flow[reader].function in HANDING:
                pending.append(reader)
    return False


def _branches(flow: Dataflow, source: int, end: int, cut: int) -> bool:
    """Whether weights that train stand between the two, on a way around the cut."""
    between = flow.ancestors([end], lowest=source, around=cut)
    fed = {source} & between
    for index in sorted(between - {source}):
        if not fed.isdisjoint(flow[index].inputs):
            fed.add(index)
    return any(flow.trainable(flow[i].parameters) for i in fed - {source})
