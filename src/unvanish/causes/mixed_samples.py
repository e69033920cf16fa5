"""Answers that depend on which other samples stand in the batch: listed, as it may be meant."""

from collections.abc import Iterator

from unvanish.causes.cause import Case, Expected


def mixed_samples(case: Case) -> Iterator[Expected]:
    """What is left of a sample's answer when others are left out of its batch is asked on a copy.

    Contrastive heads, experts with a capacity and rows that are steps of one series do it on
    purpose. Without it no fault of the gradient, it is one that nothing else shows.
    """
    mixed = case.laboratory.mixed_at()
    if mixed is None:
        return
    yield Expected(
        name="mixed-samples",
        where=(mixed.module or "(model)",),
        because=f"the answers to samples change by {mixed.share:.0%} when others are left out of their "
        "batch, even in eval mode",
        unless="each sample is to be answered for itself: a softmax, a sum or a view over the batch "
        "dimension, a recurrent or attention layer that reads time first (batch_first=True is missing)",
        evidence={"change_share": mixed.share},
    )
