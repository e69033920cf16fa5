"""UV402 time-growth: the gradient explodes over time steps."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.time_decay import time_evidence
from unvanish.causes.time_profile import course, time_profiles

CARD = Card(
    code="UV402",
    name="time-growth",
    title="the gradient explodes over time steps",
    says="The gradient explodes over time in {where}: each step back multiplies it by "
    "{factor_per_step:.3g}, over {steps:.0f} steps.",
    what="The product over time steps that carries the gradient back to step t grows with "
    "every step (recurrent weights with singular values above one and units that are not "
    "saturated).",
    hurts="The earliest steps drown all others in the weight gradient; a usual step then throws "
    "the weights away.",
    apart="A loss at every step makes early inputs count more often, but only in proportion to "
    "the number of steps. Named only if the growth is steady and passes 1/sqrt(float32's "
    "resolution).",
    do="Initialise the recurrent weights orthogonal; clip the gradient norm while it is "
    "large; a gated cell.",
    reference="Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063",
)

REMEDIES = ("recurrent-initialization", "clip", "recurrent-cell")


def find(case: Case) -> Iterable[Finding]:
    """Each recurrent module whose profile rises steadily towards the first step."""
    for profile in time_profiles(case.trace.profiles):
        read = course(profile)
        # The course runs away from the largest step. Growth means that this is the first step
        # of the sequence and that the loss hangs at its other end.
        if read is None or read.from_last or profile.bidirectional or not read.slope.falls:
            continue
        if -read.decades < HARMFUL_DECADES or read.steps < 3:
            continue
        severity = "broken" if -read.decades >= BROKEN_DECADES else "harmful"
        evidence = {**time_evidence(read), "factor_per_step": 10 ** abs(read.slope.value)}
        yield found(CARD, severity, [profile.module or "(model)"], evidence, REMEDIES)


CAUSE = Cause(card=CARD, find=find)
