"""UV711 wrong-sign: steps go up the loss."""

import statistics
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.dataflow import Dataflow
from unvanish.causes.objective import loss_term
from unvanish.causes.written_likelihood import likelihood_went_up
from unvanish.experiments.rehearsal import Rehearsal
from unvanish.trace import Op, Trace
from unvanish.training.optimizer import ParameterGroup

CARD = Card(
    code="UV711",
    name="wrong-sign",
    title="the steps go up the loss",
    says="The steps go the wrong way: {detail} ({where}).",
    what="The optimizer maximizes (maximize=True, a negative rate), or the loss function's "
    "value is negated before backward.",
    hurts="Training makes the net worse as fast as it can; the loss runs away.",
    apart="From the real step of a copy: the angle between the change of the weights and the "
    "gradient; and from the graph: a minus sign right behind a loss function that is "
    "bounded below, or a negative loss made of nothing but logarithms of probabilities of labels; "
    "and from a copy: a negative loss that falls as outputs move away from the batch (a likelihood "
    "or an evidence bound). Losses that are negative by nature are not named. Maximizing "
    "is a fault where a term that is never negative enters the loss with a plus; of a reward, a "
    "likelihood, a critic's gap, through weights that are held still (an attack on a net), or of some "
    "groups only (a multiplier), it is a note.",
    do="Take the minus sign away, or maximize=True.",
    reference="torch.optim documentation: maximize",
)

REMEDIES = ("flip-sign",)
BOUNDED = frozenset(("MseLoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "LogSoftmax"))
_LAYERS = frozenset("linear conv1d conv2d conv3d addmm bilinear".split())
UPHILL = -0.5
"""A step may be bent by what scales its entries; below -1/2 it is more than sixty degrees uphill."""


def find(case: Case) -> Iterable[Finding]:
    """A negated loss, or a first step that goes against descent; both together are right again."""
    groups = case.optimizer.groups if case.optimizer is not None else ()
    upward = [g for g in groups if g.maximize != (g.lr is not None and g.lr < 0)]
    turned = _turned(case)
    if turned is not None:
        if not upward or len(upward) < len(groups):
            severity = "note" if _through_a_net_held_still(case) else "broken"
            yield found(CARD, severity, [turned[0] or "loss"], {}, REMEDIES, detail=turned[1])
        return
    if upward:
        said = "the optimizer is set to maximize"
        names = [name for group in upward for name in group.parameters[:8]]
        yield found(CARD, _severity(case, upward), names or ["(model)"], {}, REMEDIES, detail=said)
        return
    if _rewards_misfit(case):
        said = "the loss falls as the outputs come to fit the data worse"
        yield found(CARD, "broken", [_end(case) or "loss"], {}, REMEDIES, detail=said)
        return
    yield from _uphill(case)


def _turned(case: Case) -> tuple[str, str] | None:
    """Where the graph shows that a loss is negated, and what it shows."""
    negated = negated_loss(case.trace)
    if negated is not None:
        return negated.module, f"the value of {negated.kind} is negated before backward"
    if likelihood_went_up(case) is not None:
        said = "a log likelihood of the labels is made smaller: its minus sign is missing"
        return _end(case), said
    return None


def _through_a_net_held_still(case: Case) -> bool:
    """Whether weights that do not train read what does train: an attack on a net is to raise its loss."""
    flow = Dataflow(case.trace)
    return any(
        flow[index].function in _LAYERS
        and not flow.trainable(flow[index].parameters)
        and any(maker in flow.trained for maker in flow[index].inputs)
        for index in flow.to_loss
    )


def _end(case: Case) -> str:
    """The module that made the loss."""
    end = case.trace.loss_operation
    return "" if end is None else case.trace.operations[end].module


def _uphill(case: Case) -> Iterable[Finding]:
    """A first step that goes against descent, whatever the optimizer is set to."""
    base = case.laboratory.rehearsal()
    if base is not None and _descent(base) < UPHILL:
        # What decay takes, and what gradients left behind that were right before an overshoot, is
        # not asked for the sign.
        base = case.laboratory.rehearsal(decay=False, momentum=False)
    if base is None:
        return
    cosine = _descent(base)
    if cosine < UPHILL:
        evidence = {"descent_cosine": cosine}
        names = [m.name for m in base.weights[:8]]
        said = "the optimizer's change of the weights points up the gradient"
        yield found(CARD, "broken", names, evidence, REMEDIES, detail=said)


def _descent(taken: Rehearsal) -> float:
    """The cosine between the first step and descent, in the middle of the weights."""
    cosines = [m.descent[0] for m in taken.weights if m.descent[0] is not None]
    return statistics.median(cosines) if cosines else 0.0


def _rewards_misfit(case: Case) -> bool:
    """Whether a negative loss asks for outputs away from the batch, of all that trains at once.

    Against a net that is held still, or that another optimizer steps, a player of a game does so.
    """
    loss, optimizer = case.trace.conditions.loss, case.optimizer
    if loss is None or not loss < 0:
        return False
    held = any(p.state == "frozen" and not p.written for p in case.trace.parameters)
    if held or (optimizer is not None and (optimizer.missing or optimizer.elsewhere)):
        return False
    return case.laboratory.falls_with_misfit() is True


def _severity(case: Case, upward: list[ParameterGroup]) -> str:
    """A loss is not to be climbed; a reward, a likelihood, a critic's gap is.

    One optimizer that goes both ways, a multiplier up and the rest down, was told so on purpose.
    """
    if any(g.lr is not None and g.lr < 0 for g in upward):
        return "broken"
    groups = case.optimizer.groups if case.optimizer is not None else ()
    both = any(g.parameters and not g.maximize for g in groups)
    return "note" if both or loss_term(case.trace) is None else "broken"


def negated_loss(trace: Trace) -> Op | None:
    """The op that a negative loss is the negative of: a loss that is never negative itself.

    Behind the root only products with numbers, signs and one reduction may come before it: any
    other factor, or a weight for each sample (an advantage), may make a loss negative by right. Of
    a sum, every term has to enter with a minus but for penalties, which read weights alone.
    """
    loss = trace.conditions.loss
    if loss is None or not loss < 0 or not trace.ops:  # NaN is not negative either
        return None
    terms: list[tuple[Op, bool]] = []
    likelihood: Op | None = None
    summed = False
    pending = [(0, False, False)]
    while pending:
        index, minus, reduced = pending.pop()
        op = trace.ops[index]
        if op.kind in _LIKELIHOODS and len(op.edges) == 1 and op.edges[0].target is not None:
            likelihood = (
                op  # minus the picked entries: bounded only if these are logarithms of shares
            )
            pending.append((op.edges[0].target, not minus, True))
        elif op.kind in BOUNDED:
            terms.append((op, minus != (op.kind == "LogSoftmax")))  # that one is never positive
        elif op.kind in _SUMS and not reduced and len(op.edges) == 2:
            summed = True
            second = minus != (op.kind == "Sub")
            for edge, sign in zip(op.edges, (minus, second), strict=True):
                if edge.target is not None and edge.side != "parameter":
                    pending.append((edge.target, sign, reduced))
        else:
            allowed = _ON_SAMPLES if reduced else _ON_SCALARS
            targets = [edge.target for edge in op.edges if edge.target is not None]
            if (op.kind not in allowed and op.role != "reshape") or len(targets) != 1:
                return None
            reduced = reduced or op.kind in ("Mean", "Sum")
            pending.append((targets[0], minus != (op.kind == "Neg"), reduced))
    # A factor may be negative, too. Of one term the value of the loss tells its sign; of several it
    # does not: what is taken off them may be a number.
    turned = not summed or all(minus for _, minus in terms)
    return (likelihood or terms[0][0]) if terms and turned else None


_LIKELIHOODS = frozenset(("NllLoss", "NllLoss2D"))
_SUMS = frozenset(("Add", "Sub"))
_ON_SAMPLES = frozenset(("Neg", "Mean", "Sum", "Gather"))
_ON_SCALARS = _ON_SAMPLES | {"Mul", "Div"}


CAUSE = Cause(card=CARD, find=find, explains=("step-too-large",), exact=True)
