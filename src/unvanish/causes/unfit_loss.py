"""UV708 unfit-loss: the loss gives this output no usable slope."""

from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import Case, Cause, Finding, found
from unvanish.causes.level import converged, squashed_output
from unvanish.causes.saturated_activation import MOSTLY

CARD = Card(
    code="UV708",
    name="unfit-loss",
    title="the loss gives this output no usable slope",
    says="The loss does not fit the output of {where}: {detail}.",
    what="A squared or absolute error on an output that was squashed by a sigmoid, tanh or "
    "softmax: where the output is saturated, the slope is gone however wrong it is; and "
    "targets outside the range of the function can never be met.",
    hurts="The loss sits on a plateau at the edge of the range.",
    apart="Squashed outputs with a squared error are common and often fine. Named only if a "
    "tenth of the targets lies outside the range, or nine outputs in ten are already "
    "saturated while the loss is not done.",
    do="Take the squashing away for regression; for classes use cross_entropy or "
    "binary_cross_entropy_with_logits on raw outputs.",
    reference="Goodfellow, Bengio, Courville, Deep Learning, section 6.2.2",
)

REMEDIES = ("logits-loss", "scale-target")


def find(case: Case) -> Iterable[Finding]:
    """A regression loss on a squashed output that is out of reach or on a plateau."""
    seen = squashed_output(case.trace)
    if seen is None:
        return
    loss, squash, (low, high) = seen
    where = [squash.module or squash.function]
    scale = case.laboratory.data_scale("targets")
    margin = (high - low) / 10
    if scale is not None and (scale.rms > max(abs(low), abs(high)) + margin):
        evidence = {"target_low": scale.low, "target_high": scale.high, "low": low, "high": high}
        said = f"{squash.function} ends at {high:g}, targets go from {scale.low:.3g} to {scale.high:.3g}"
        yield found(CARD, "broken", where, evidence, REMEDIES, detail=said)
        return
    flat = [
        a
        for a in case.trace.activations
        if a.feeds_loss and a.saturated_share is not None and a.saturated_share >= MOSTLY
    ]
    if flat and not converged(case):
        evidence = {"saturated_share": flat[0].saturated_share, "input_rms": flat[0].input_rms}
        said = f"{loss.function} on a {squash.function} that is saturated"
        yield found(CARD, "harmful", where, evidence, REMEDIES, detail=said)


CAUSE = Cause(card=CARD, find=find)
