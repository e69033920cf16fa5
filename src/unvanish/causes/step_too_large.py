"""UV701 step-too-large: the optimizer's steps throw the weights away."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.level import converged
from unvanish.causes.standing_still import overstepping, too_long
from unvanish.experiments.rehearsal import Movement, Rehearsal

CARD = Card(
    code="UV701",
    name="step-too-large",
    title="the step is too large",
    says="The step is too large: {where} changes by {update_to_weight:.2g} of its own size in "
    "a step and the loss goes from {initial:.3g} to {final:.3g}; at {better_rate:g} times "
    "the step size it goes to {better_final:.3g}.",
    what="The learning rate, times the gradient as the optimizer scales it, moves the weights "
    "so far that the loss rises instead of falling.",
    hurts="The loss jumps, ends in NaN, or settles at a constant guess because units were "
    "killed on the way.",
    apart="Not a threshold on the rate: a copy took real steps with a copy of the optimizer and "
    "its loss rose, another one took them at a smaller rate and its loss fell; or one that took "
    "hundreds learned nothing, where a smaller rate begins to in a tenth of them. Where "
    "scaling the data mends it at the same rate, that is named first.",
    do="Lower the learning rate to where the what-if falls, or warm it up; clip the gradient "
    "norm if only the first steps are too large.",
    reference="LeCun et al. 1998, Efficient BackProp; Karpathy, A recipe for training neural "
    "networks (update to weight about 1e-3)",
    clear="the loss falls in {steps:.0f} real steps; weights change by up to "
    "{update_to_weight:.1g} of their size a step",
)

REMEDIES = ("step-size", "clip", "scale-input")
LARGE = 1.0
"""Steps of unrelated directions add up as a random walk: a tensor that n of them move by the square
root of n times their size has been replaced where that reaches its own size. Below, what was there
before is still the larger part, and a rise of the loss may be one that training recovers from."""
SETTLED = 20
"""After fewer steps a run whose loss falls may still be the slower one by the chance of its start."""
LONGER = 3
"""How many times as long a run is that is asked before a loss which only rose is held against it."""
ALL_THE_SAME = 200
"""Steps in which a run that only rose so far has learned something, or shows that it does not."""
FIFTH = 0.2
"""Of the loss: what is well below, for one run beside another or beside its own start."""
RATES = (0.1, 0.01, 1e-4)
FURTHER = (1e-6, 1e-8, 1e-10, 1e-12)
"""Asked only while steps go on to throw the weights away: small enough ones let every loss fall."""


def overstepped(case: Case) -> Iterable[Finding]:
    """The loss did not rise, and these steps teach nothing that smaller ones teach; asked last of all."""
    stand, base = overstepping(case), case.laboratory.rehearsal()
    if stand is None or base is None:
        return
    moved = [m.name for m in sorted(base.weights, key=lambda m: -largest(m))]
    said = f"The step is too large: {stand.told}."
    yield found(CARD, "harmful", moved[:8], stand.evidence, REMEDIES, detail=said)


def find(case: Case) -> Iterable[Finding]:
    """The loss rose with the user's step and falls with a smaller one."""
    base = case.laboratory.rehearsal()
    if base is None or not thrown(base) or _decayed(case, base):
        return
    if base.finite and converged(case):
        return  # next to nothing can rise a hundredfold and still be next to nothing
    moved = sorted(base.weights, key=lambda m: -largest(m))
    for rate in RATES + FURTHER:
        smaller = case.laboratory.rehearsal(rate=rate, share=0.5)
        shown = _well(case, base, smaller, rate) if smaller is not None else None
        if shown is not None:
            yield _finding(base, shown, rate, moved)
            return
        if rate <= min(RATES) and (smaller is None or not thrown(smaller)):
            return


def _well(case: Case, base: Rehearsal, smaller: Rehearsal, rate: float) -> Rehearsal | None:
    """The run with smaller steps that shows that these are too large; ``None``: none does.

    One that ends well below, which longer ones of these steps do not make good. Where these end with
    a net in which nothing moves any more, one that gets below it in any time. Where both still stand
    at a guess, one that learns while these do not.
    """
    if smaller.fell > 0 and clearly_better(smaller, base) and not goes_by(case, base, rate):
        return smaller
    if smaller.fell > 0 > base.fell and len(base.losses) >= SETTLED and base.finite:
        learned = _learns_instead(case, base, rate)
        if learned is not None:
            return learned
    dead = went_dead(base, case.trace.conditions.batches)
    later = case.laboratory.rehearsal(rate=rate, share=LONGER) if dead else None
    return later if later is not None and later.finite and later.final < base.final else None


def _learns_instead(case: Case, base: Rehearsal, rate: float) -> Rehearsal | None:
    """The run with smaller steps that learns in a time in which these do not; ``None``: they do, too."""
    if too_long(case):
        return None
    share = max(ALL_THE_SAME / len(base.losses), 1.0)
    longer = case.laboratory.rehearsal(share=share)
    if longer is None or longer.fell >= FIFTH:
        return None
    learned = case.laboratory.rehearsal(rate=rate, share=share)
    shown = learned is not None and learned.fell >= FIFTH and clearly_better(learned, longer)
    return learned if shown else None


def thrown(base: Rehearsal) -> bool:
    """Whether the loss is no number any more, or the steps replaced some weight."""
    return not base.finite or any(replaced(m) for m in base.weights)


def went_dead(run: Rehearsal, batches: int) -> bool:
    """Whether every tensor began with a gradient and no batch gives it one, short of a loss of zero.

    In the end a batch may be done that others are not: each one must have been met since.
    """
    begun = [m for m in run.movements if m.gradient and m.gradient[0]]
    met = begun and len(run.losses) > batches and run.finite and run.final != 0
    return bool(met) and all(not any(m.gradient[-batches:]) for m in begun)


def replaced(movement: Movement) -> bool:
    """Whether steps like the largest one, in any directions, add up to the tensor's own size."""
    return largest(movement) * math.sqrt(len(movement.update)) >= LARGE


def goes_by(case: Case, base: Rehearsal, rate: float) -> bool:
    """Whether longer runs no longer tell the two apart: a rise at the start that training leaves behind.

    A net with batch norm and momentum often begins so. What blew up is not asked again. Training has
    left it behind where it learned something since: a loss that is no lower than it began has only
    come back to a constant guess.
    """
    if not base.finite or blew_up(base) or len(base.losses) >= LONGER * SETTLED:
        return False
    longer = case.laboratory.rehearsal(share=LONGER)
    smaller = case.laboratory.rehearsal(rate=rate, share=LONGER / 2)
    if longer is None or smaller is None:
        return False
    worse = smaller.fell > 0 and (longer.fell <= 0 or clearly_better(smaller, longer))
    return longer.finite and not worse


def _decayed(case: Case, base: Rehearsal) -> bool:
    """Whether weight decay makes up half and more of every change that replaced a tensor."""
    if case.optimizer is None or not base.finite:
        return False
    groups = [(m, case.optimizer.group_of(m.name)) for m in base.weights if replaced(m)]
    return all(
        group is not None and 2 * m.rate * (group.weight_decay or 0.0) >= largest(m)
        for m, group in groups
    )


def blew_up(run: Rehearsal) -> bool:
    """Whether the loss rose on the way beyond what leaves a trace of the weights it began with."""
    return max(run.losses, default=0.0) > 10**HARMFUL_DECADES * abs(run.initial)


def clearly_better(other: Rehearsal, base: Rehearsal) -> bool:
    """Whether another run ended well below: by a fifth of the loss.

    A loss that fell all the same is a bad run only where it had the time to settle, or where it
    blew up before: what it falls to then is what a constant guess has.
    """
    if not other.finite or not base.finite:
        return other.finite
    if blew_up(base) and not blew_up(other):
        return other.final < base.final
    if base.fell > 0 and len(base.losses) < SETTLED:
        return False
    return base.final - other.final > FIFTH * abs(base.final)


def _finding(base: Rehearsal, smaller: Rehearsal, rate: float, moved: list[Movement]) -> Finding:
    names = [m.name for m in moved if replaced(m)][:8] or [m.name for m in moved[:1]]
    return found(
        CARD,
        "harmful" if base.finite and base.fell > -1 else "broken",
        names or ["(model)"],
        {
            "update_to_weight": largest(moved[0]) if moved else None,
            "initial": base.initial,
            "final": base.final if base.finite else math.inf,
            "steps": float(len(base.losses)),
            "better_rate": rate,
            "better_final": smaller.final,
            "learning_rate": moved[0].rate if moved else None,
        },
        REMEDIES,
    )


def largest(movement: Movement) -> float:
    """The largest relative change of a tensor in one step (NaN counts as without bound)."""
    ratios = movement.update_to_weight
    return max((r if math.isfinite(r) else math.inf for r in ratios), default=0.0)


def clear(case: Case) -> dict[str, float] | None:
    """Steps that went well; of weights that no step moves there is nothing to say."""
    base = case.laboratory.rehearsal()
    if base is None or base.fell <= 0:
        return None
    largest_of_all = max((largest(m) for m in base.weights), default=0.0)
    if not largest_of_all:
        return None
    return {"steps": float(len(base.losses)), "update_to_weight": largest_of_all}


CAUSE = Cause(
    card=CARD,
    find=find,
    clear=clear,
    otherwise=overstepped,
    explains=("dead-units", "saturated-activation", "weight-decay-dominates"),
)
