"""UV602 detached: trainable parameters that no path of this loss reaches."""

from collections.abc import Iterable, Sequence

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Expected, Finding, found
from unvanish.causes.flat_functions import FLAT, flat_cuts
from unvanish.causes.meant_cuts import meant_cuts, only_targets, own_turn, reached_later
from unvanish.causes.unseen_ways import followed
from unvanish.causes.zeroed import zeroed
from unvanish.experiments.laboratory import Laboratory
from unvanish.probe.flow import EXITS, REENTRANT
from unvanish.trace import Parameter

CARD = Card(
    code="UV602",
    name="detached",
    title="values flow into the loss, their gradient is cut off",
    says="The gradient is cut by {detail} in {where}: {parameters:.0f} trainable tensors feed "
    "the loss but get no gradient.",
    what="The parameters' values reach the loss, but on the way the autograd graph was left: "
    ".detach(), .data, .item(), numpy, torch.no_grad(), argmax or a cast to integers. Rounding, or "
    "zeros written over all values (a mask that keeps nothing), cut as well: autograd goes through "
    "them and hands on zeros.",
    hurts="These parameters never change, whatever the loss says. The rest trains, so the loss "
    "may even fall.",
    apart="Decided from the graph: autograd gave None although the value flows into the loss; where "
    "that cannot be seen, other values are tried and the loss is asked. A head that is not in "
    "this loss, an expert that was not selected, a frozen part, an exact copy of what trains "
    "(teachers, target networks) or a part that the given optimizer does not hold is expected and "
    "listed as such; so is what another backward call of the given training step reaches. Without an "
    "optimizer, the turn of a network of its own that also reads the batch itself (a critic) is a "
    "note, and so is a network of its own of which a loss function takes its targets and nothing else.",
    do="Remove the cut (leave a norm over a single value out), or freeze the parameters "
    "(requires_grad_(False)) if it is meant.",
    reference="torch documentation, autograd mechanics: setting requires_grad, grad modes",
    clear="the gradient reaches {reached:.0f} of {trainable:.0f} trainable tensors",
)

REMEDIES = ("rewire",)
LEAPING = frozenset(
    "argmax argmin argsort bucketize searchsorted multinomial gt ge lt le greater greater_equal less "
    "less_equal long int".split()
)
"""Functions that choose, compare or round: no way around them is a cut less, they have no slope."""


def find(case: Case) -> Iterable[Finding | Expected]:
    """Unreached parameters: those cut off on the way to the loss, and those that were not asked for."""
    for flat in flat_cuts(case.trace):
        if flat.single:
            said = "a norm over a single value, which gives the same whatever comes in,"
        elif flat.op.kind in FLAT:
            said = _leap(flat.op.kind.lower())
        else:
            said = f"{flat.op.kind.lower()}, which keeps nothing of what comes in,"
        remedies = () if flat.single or flat.op.kind in FLAT else REMEDIES
        yield _finding(flat.op.module, flat.parameters, said, remedies=remedies)
    for zeros in zeroed(case.trace):
        said = f"{zeros.function}, which writes zeros over all that comes in,"
        yield _finding(zeros.module, zeros.parameters, said)
    meant = meant_cuts(case)
    yield from meant
    told = dict.fromkeys(name for expected in meant for name in expected.where)
    for cut in case.trace.cuts:
        lost = [name for name in cut.parameters if name not in told]
        if cut.to_loss and lost and cut.operation not in EXITS:
            told |= dict.fromkeys(lost)
            if cut.operation != REENTRANT:  # else frozen-by-checkpoint says more
                turn = case.optimizer is None and (
                    own_turn(case.trace, lost) or only_targets(case.trace, lost)
                )
                leaps = cut.operation in LEAPING
                said = _leap(cut.operation) if leaps else cut.operation
                severity, remedies = "note" if turn else "broken", () if leaps else REMEDIES
                yield _finding(cut.module, lost, said, severity, remedies)
    aside = [p.name for p in _unreached(case) if p.used is not False and p.name not in told]
    if lost := followed(case, aside):
        told |= dict.fromkeys(lost)
        out = next((c for c in case.trace.cuts if not set(lost).isdisjoint(c.parameters)), None)
        said = "a way around torch's graph" if out is None else out.operation
        yield _finding("" if out is None else out.module, lost, said)
    rest = [p for p in _unreached(case) if p.name not in told]
    if lost := _nothing_reached(case, rest):
        said = f"The loss reaches none of the {len(lost)} tensors that are to train."
        evidence = {"tensors": float(len(lost))}
        yield found(CARD, "broken", ["(model)", *lost], evidence, REMEDIES, detail=said)
        return
    yield from _expected(rest)


def _leap(function: str) -> str:
    return (
        f"{function}, which is flat everywhere (a straight-through estimator or, for a choice, a softmax "
        "or a Gumbel softmax hands a gradient on),"
    )


def _nothing_reached(case: Case, unreached: list[Parameter]) -> list[str]:
    """What is to train here, by this optimizer if one is given, if this loss reaches nothing of it.

    A loss of something else: of the real samples for those of the generator, of another net's output.
    What is seen of a running training may be the turn of another player, whose step comes later.
    """
    if type(case.laboratory) is Laboratory:
        return []
    left_out = set(case.optimizer.missing) if case.optimizer is not None else set[str]()
    held = [p for p in case.trace.parameters if p.state != "frozen"]
    held = [p for p in held if left_out.isdisjoint(p.names)]
    lost = [p.name for p in unreached if left_out.isdisjoint(p.names)]
    if len(lost) < len(held) or reached_later(case, {p.name: p for p in held}):
        return []
    return lost


def _unreached(case: Case) -> list[Parameter]:
    return [p for p in case.trace.parameters if p.state == "none"]


def _finding(
    place: str,
    lost: Sequence[str],
    said: str,
    severity: str = "broken",
    remedies: tuple[str, ...] = REMEDIES,
) -> Finding:
    evidence = {"parameters": float(len(lost))}
    return found(CARD, severity, [place or "(model)", *lost], evidence, remedies, detail=said)


def _expected(unreached: list[Parameter]) -> Iterable[Expected]:
    unused = [p.name for p in unreached if not p.used]
    aside = [p.name for p in unreached if p.used]
    if unused:
        yield Expected(
            name="not-used-in-this-pass",
            where=tuple(unused),
            because="this forward pass did not touch them (another branch, expert or head)",
            unless="no batch ever uses them",
        )
    if aside:
        yield Expected(
            name="head-not-in-this-loss",
            where=tuple(aside),
            because="their output does not go into this loss",
            unless="it should",
        )


def clear(case: Case) -> dict[str, float] | None:
    """How many trainable tensors the gradient reaches; nothing where exact zeros are what arrives."""
    states = [p.state for p in case.trace.parameters if p.state != "frozen"]
    if "zero" in states:
        return None
    reached = len(states) - states.count("none")
    return {"reached": float(reached), "trainable": float(len(states))} if reached else None


CAUSE = Cause(card=CARD, find=find, clear=clear, exact=True)
