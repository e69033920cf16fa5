"""UV801 nothing-to-learn: gradients flow, the samples can be memorised, and nothing carries over."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found

CARD = Card(
    code="UV801",
    name="nothing-to-learn",
    title="what is learned on some samples says nothing about others",
    says="The net learns the samples it is shown (p = {seen_p:.2g}), but that says nothing "
    "about {samples:.0f} others (p = {unseen_p:.2g}): look at the data and the labels.",
    what="Gradients flow and real steps bring the loss of the shown samples down, but the "
    "targets of samples that were held out fit no better than shuffled targets.",
    hurts="The loss on fresh data stays at chance, whatever the net.",
    apart="A permutation test on half of a batch, after real steps on the other half. A note, "
    "not an alarm: with few samples or a hard task it can be too early to tell, and "
    "random targets may be meant.",
    do="Check that inputs and labels belong together (shuffled apart? joined on the wrong "
    "key? off by one?), and overfit a larger part.",
    reference="Zhang et al. 2017, arXiv:1611.03530 (random labels); Karpathy, A recipe for training "
    "neural networks",
)

REMEDIES = ("check-data",)
CLEAR = 0.02
"""One level for both halves: the shown one is clearly learned, the other is not. Chance alone lets
one unlearnable program in fifty pass."""


def find(case: Case) -> Iterable[Finding]:
    """Memorised on one half, no better than shuffled on the other."""
    asked = case.laboratory.held_out()
    if asked is not None and asked.memorised(CLEAR):
        evidence = {"seen_p": asked.seen, "unseen_p": asked.unseen, "samples": float(asked.samples)}
        yield found(CARD, "note", [], evidence, REMEDIES)


CAUSE = Cause(card=CARD, find=find, fallback=True)
