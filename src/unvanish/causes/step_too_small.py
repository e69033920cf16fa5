"""UV702 step-too-small: the weights hardly move, though the gradient is fine."""

import statistics
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.half_precision_weights import RESOLUTIONS
from unvanish.causes.level import converged
from unvanish.causes.rounded_away import rounded_away
from unvanish.causes.standing_still import even_fall, proportional, stands_still, teaches
from unvanish.causes.updates import fastest, held_back, pushed, update_to_weight
from unvanish.experiments.rehearsal import Movement, Rehearsal

CARD = Card(
    code="UV702",
    name="step-too-small",
    title="the step is too small",
    says="The step is too small: weights change by {update_to_weight:.1g} of their size a step "
    "({where} first), so {steps_needed:.1g} steps would be needed to change them by their "
    "own size; at {better_rate:g} times the rate the loss falls {better:.0f} times as "
    "fast.",
    what="The learning rate is orders of magnitude below where this net learns. Its gradients "
    "are fine.",
    hurts="The loss looks flat: it falls, but too slowly to see.",
    apart="The real change of the weights is measured on a copy, momentum and all, and the same "
    "steps at a hundred times the rate are tried: only if they stay stable and the loss "
    "falls ten times as fast is this named. Where the gradient falls with depth, so is a rate that "
    "teaches nothing in ten times the steps that Adam needs, beside a larger one that does, and one of "
    "a part of the net that float32 rounds away while other parts move. Converged "
    "nets, a rate of zero in warm-up and steps swallowed by Adam's epsilon are told apart.",
    do="Raise the learning rate (a range test: raise it until the loss stops falling, then "
    "take a tenth), or use Adam.",
    reference="Karpathy, A recipe for training neural networks (update to weight about 1e-3); Smith "
    "2017, arXiv:1506.01186",
)

REMEDIES = ("step-size",)
SMALL = 1e-5
"""A hundredth of the customary update to weight: a hundred thousand steps to turn a weight over."""
TIMES, MOST_TIMES = 100.0, 1e20
"""The larger rate that is tried, as a factor; and how far it goes where steps are rounded away."""
_FASTER = 10
CUSTOMARY = 1e-3
"""Update to weight where nets learn: a hundredfold rate would throw such a layer away."""


def find(case: Case) -> Iterable[Finding]:
    """Steps that hardly move the weights; that a net stands still with; that move a part of it alone."""
    slow = _standing(case) or next(iter(_slow(case)), None) or _in_part(case)
    return [] if slow is None else [slow]


def _in_part(case: Case) -> Finding | None:
    """Parameter groups whose rate is so far below that of others that their steps are rounded away."""
    part = rounded_away(case)
    if part is None:
        return None
    count, first, own, lifted = len(part.names), part.names[0], part.own.final, part.lifted.final
    said = [
        f"{count} weight tensors (first {first}) change in no bit in {part.steps} steps: at a "
        f"learning rate of {part.rate:.1g} each step is rounded away."
    ]
    if part.needed:
        said.append(
            f"With the largest rate of the others, {part.top:.1g}, the loss falls to {lifted:.3g} "
            f"where it falls to {own:.3g} now."
        )
    evidence = {"tensors": float(count), "learning_rate": part.rate}
    severity = "harmful" if part.needed else "note"
    return found(CARD, severity, part.names, evidence, detail=" ".join(said))


def _standing(case: Case) -> Finding | None:
    """Where the gradient falls with depth: a rate that begins where the user's own does not."""
    stand, base = stands_still(case), case.laboratory.rehearsal()
    if stand is None or base is None or stand.better_rate is None or stand.better_rate <= 1:
        return None
    slow = [m.name for m in _slowest(base)]
    evidence = {"update_to_weight": update_to_weight(base) * held_back(case), **stand.evidence}
    said = f"The step is too small: {stand.told}."
    return found(CARD, "harmful", slow[:8], evidence, REMEDIES, detail=said)


def _slow(case: Case) -> Iterable[Finding]:
    """Updates far below where learning happens, and a hundredfold rate that really helps."""
    base = case.laboratory.rehearsal()
    if base is None or not base.finite or not pushed(base):
        return
    typical = update_to_weight(base) * held_back(case)
    if typical >= SMALL:
        return
    # The rate is right for some layer: others get less gradient, not smaller steps.
    if fastest(base) >= CUSTOMARY or converged(case):
        return
    rate, larger = _at_a_larger_rate(case, base)
    if larger is None or larger.fell <= 0:
        return
    typical = typical or update_to_weight(larger) / rate * held_back(case)
    if not 0 < typical < SMALL:
        return
    pace, before = _pace(larger), max(_pace(base), 0.0)
    if pace < _FASTER * before:
        return
    falls = proportional(case) and even_fall(case.trace) is not None
    if falls and (stands_still(case) is not None or not teaches(case, rate)):
        return
    yield _finding(base, typical, rate, min(pace / before, 1e6) if before > 0 else 1e6)


def _finding(base: Rehearsal, typical: float, rate: float, better: float) -> Finding:
    slow = _slowest(base)
    evidence = {
        "update_to_weight": typical,
        "steps_needed": 1 / typical,
        "learning_rate": slow[0].rate,
        "better_rate": rate,
        "better": better,
    }
    return found(CARD, "harmful", [m.name for m in slow[:8]], evidence, REMEDIES)


def _slowest(base: Rehearsal) -> list[Movement]:
    return sorted(pushed(base), key=lambda m: statistics.median(m.update_to_weight))


def _at_a_larger_rate(case: Case, base: Rehearsal) -> tuple[float, Rehearsal | None]:
    """A hundred times the rate; where steps are rounded away, the first such power that is felt.

    A weight w of 24 bits does not feel a step below w / 2^24: its update is zero, and that of a
    hundredfold rate may be. Weights of 16 bits are another finding's.
    """
    rate = TIMES
    larger = case.laboratory.rehearsal(rate=rate, share=0.5)
    if not any(m.rate for m in pushed(base)) or _of_16_bits(case):
        return rate, larger if update_to_weight(base) else None
    while larger is not None and _unfelt(larger, base) and rate < MOST_TIMES:
        rate *= TIMES
        larger = case.laboratory.rehearsal(rate=rate, share=0.5)
    return rate, larger


def _unfelt(larger: Rehearsal, base: Rehearsal) -> bool:
    """Whether its steps are too small as well, and what rounding leaves of them leads nowhere."""
    return update_to_weight(larger) < SMALL and _pace(larger) <= _FASTER * max(_pace(base), 0.0)


def _pace(rehearsal: Rehearsal) -> float:
    """By how much the loss falls a step."""
    return rehearsal.fell / len(rehearsal.losses)


def _of_16_bits(case: Case) -> bool:
    return any(p.dtype in RESOLUTIONS and p.state != "frozen" for p in case.trace.parameters)


CAUSE = Cause(card=CARD, find=find)
