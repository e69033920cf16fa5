"""UV401 time-decay: the gradient vanishes over time steps."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import HARMFUL_DECADES, Case, Cause, Expected, Finding, found
from unvanish.causes.time_profile import TimeCourse, course, time_profiles
from unvanish.experiments.held_out import CLEAR

CARD = Card(
    code="UV401",
    name="time-decay",
    title="the gradient vanishes over time steps",
    says="The gradient vanishes over time in {where}: each step back passes on "
    "{factor_per_step:.2g} of it; {lost_steps:.0f} of {steps:.0f} steps get less than "
    "rounding error of what the nearest one gets.",
    what="In a recurrent module the gradient with respect to step t is a product over all "
    "later steps. Here that product shrinks step by step (dL/dx_t, measured at the input "
    "of the sequence).",
    hurts="The weight gradient is a sum over steps, so it looks normal, but the early steps are "
    "missing from it exactly: their terms are below float32's rounding of the sum. The "
    "net cannot learn to remember them.",
    apart="Weight norms cannot show this; the input sequence does. Padding (steps that stop at "
    "exact zero at once) and losses at every step (a flat profile) are told apart. A "
    "decay that stays above rounding is a note, and so is one that loses less than half of the "
    "steps, unless a copy learns nothing from the others that holds for samples that it has not "
    "seen.",
    do="A gate alone is no cure: a default LSTM halves the gradient each step. Raise the "
    "forget-gate bias (1 to 3), initialise the recurrent weights orthogonal or as "
    "identity, read out more steps than the last, or attend.",
    reference="Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063; "
    "Tallec and Ollivier 2018, arXiv:1804.11188 (chrono initialisation)",
    clear="over time the gradient falls by at most {decades:.1f} decades in {steps:.0f} steps",
)

REMEDIES = ("recurrent-initialization", "gate-bias", "recurrent-cell", "clip")

MOST = 0.5
"""Share of the loss of shuffled targets that is gone: most of what the targets say is known."""
HEARING = 40
"""Steps for that: at Adam's default rate they move a weight by 0.04, as far from zero as torch's
default draws the weights of several hundred units."""
PATIENCE = (1, 4, 8)
"""Times as many steps are taken before it is said that nothing is heard: they open gates further."""


def find(case: Case) -> Iterable[Finding | Expected]:
    """Each recurrent module whose profile falls steadily until steps are lost in rounding."""
    for profile in time_profiles(case.trace.profiles):
        read = course(profile)
        if read is None or not (read.from_last or profile.bidirectional):
            continue  # largest at the first step: if anything, it grows
        if not read.slope.falls or -read.decades < HARMFUL_DECADES:
            continue
        if profile.rereads:
            yield Expected(
                name="settling-iteration",
                where=(profile.module or "(model)",),
                because="the gradient fades over its steps, but the last ones are given all the data "
                "that the first were: nothing is lost, as in an iteration towards a fixed point",
                unless="its first state is meant to matter",
            )
            continue
        yield found(
            CARD,
            _severity(case, read),
            [profile.module or "(model)"],
            time_evidence(read),
            REMEDIES,
        )


def _severity(case: Case, read: TimeCourse) -> str:
    """By the share of steps that are lost, unless those that are heard are enough.

    Where most are lost, most of what the targets say has to be known by the others. All steps train
    the same weights: where the steps that are heard teach something that holds for samples not
    seen, gates open from there on, and those that were lost are heard too. Where no copy can be
    asked (in a running training), nothing speaks for it that they are needed.
    """
    if not read.lost:
        return "note"
    asked = (case.laboratory.held_out(times * HEARING) for times in PATIENCE)
    if read.lost >= read.steps / 2:
        knows = (a is not None and a.unseen <= CLEAR and a.known >= MOST for a in asked)
        return "note" if any(knows) else "broken"
    learns = (answer is None or answer.unseen <= CLEAR for answer in asked)
    return "note" if any(learns) else "harmful"


def time_evidence(read: TimeCourse) -> dict[str, float | None]:
    """The numbers that show a change over time."""
    return {
        "decades": abs(read.decades),
        "decades_per_step": abs(read.slope.value),
        "factor_per_step": 10 ** -abs(read.slope.value),
        "slope_low": read.slope.low,
        "slope_high": read.slope.high,
        "steps": float(read.steps),
        "lost_steps": float(read.lost),
        "largest_norm": read.largest,
        "far_norm": read.far,
    }


def clear(case: Case) -> dict[str, float] | None:
    """The largest fall over time there is."""
    reads = [r for p in time_profiles(case.trace.profiles) if (r := course(p)) is not None]
    if not reads:
        return None
    worst = min(reads, key=lambda read: read.decades)
    return {"decades": max(-worst.decades, 0.0), "steps": float(worst.steps)}


CAUSE = Cause(card=CARD, find=find, clear=clear)
