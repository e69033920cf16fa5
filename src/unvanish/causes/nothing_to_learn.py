"""UV801 nothing-to-learn: gradients flow, the samples can be memorised, and nothing carries over."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.standing_still import LONG, too_long
from unvanish.experiments.held_out import CLEAR, HeldOut

CARD = Card(
    code="UV801",
    name="nothing-to-learn",
    title="what is learned on some samples says nothing about others",
    says="The net learns the samples it is shown (p = {seen_p:.2g}), but that says nothing "
    "about {samples:.0f} others (p = {unseen_p:.2g}): {detail}.",
    what="Gradients flow and real steps bring the loss of the shown samples down, but the "
    "targets of samples that were held out fit no better than shuffled targets.",
    hurts="The loss on fresh data stays at chance, whatever the net.",
    apart="A permutation test on half of the samples, after real steps on the other half; asked again "
    "after more steps, and with smaller ones, before the data is blamed. A note, not an alarm: with "
    "few samples or a hard task it can be too early to tell, and random targets may be meant.",
    do="Check that inputs and labels belong together (shuffled apart? joined on the wrong "
    "key? off by one?), and overfit a larger part.",
    reference="Zhang et al. 2017, arXiv:1611.03530 (random labels); Karpathy, A recipe for training "
    "neural networks",
)

REMEDIES = ("check-data",)
SLOWER = 10
"""Times as many steps as were granted, up to LONG: no slow start is that slow."""
SMALLER = 0.1
"""Of the rate: where steps are too large, these are not."""

_DATA = "look at the data and the labels"
_MIXED = (
    "look first at the module named below, behind which an answer depends on the other samples of "
    "its batch, then at the data"
)


def find(case: Case) -> Iterable[Finding]:
    """Memorised on one half, no better than shuffled on the other."""
    asked = case.laboratory.held_out()
    if asked is None or not asked.memorised(CLEAR):
        return
    asked = _asked_again(case, asked)
    if asked is not None:
        evidence = {"seen_p": asked.seen, "unseen_p": asked.unseen, "samples": float(asked.samples)}
        mixed = case.laboratory.mixed_at()
        where = [] if mixed is None else [mixed.module or "(model)"]
        said = _DATA if mixed is None else _MIXED
        yield found(CARD, "note", where, evidence, REMEDIES, detail=said)


def _asked_again(case: Case, asked: HeldOut) -> HeldOut | None:
    """What a longer run says, where it and one of smaller steps blame the data as well; else nothing.

    The first steps bring out what is easily told of the shown samples, and may be too few for what
    they have in common with others; steps that are too large never get there.
    """
    steps = max(case.laboratory.allowed, min(SLOWER * case.laboratory.allowed, LONG))
    if steps > case.laboratory.allowed:
        longer = None if too_long(case) else case.laboratory.held_out(steps)
        if longer is None or not longer.memorised(CLEAR):
            return None
        asked = longer
    smaller = case.laboratory.held_out(steps, rate=SMALLER)
    return asked if smaller is None or smaller.unseen > CLEAR else None


CAUSE = Cause(card=CARD, find=find, fallback=True)
