"""clear-gradients, unscale-first, raise-clip-limit, average-accumulation: the user's own step."""

import math
from collections.abc import Callable, Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import optimizer_of
from unvanish.remedies.clip import usual_norm
from unvanish.remedies.drafts import advice, in_step, option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

CLEAR = RemedyCard(
    name="clear-gradients",
    title="gradients cleared before each step",
    what="optimizer.zero_grad() before the first backward pass of a step, so that each step uses "
    "its own gradient and not the sum of all before.",
    harms="Not between the micro-batches of one step, where the sum is meant.",
    reference="torch.optim.Optimizer.zero_grad",
)
UNSCALE = RemedyCard(
    name="unscale-first",
    title="gradients unscaled before they are clipped",
    what="scaler.unscale_(optimizer) brings the gradients to their true size, and the limit then "
    "means what it says.",
    harms="Nothing, if it is called once a step and optimizer.",
    reference="torch.amp, automatic mixed precision examples, gradient clipping",
)
RAISE = RemedyCard(
    name="raise-clip-limit",
    title="a limit for spikes, above the usual norm",
    what="The limit of clipping at the 90th percentile of the norm before clipping, so that one "
    "step in ten is touched.",
    harms="Where the step size was chosen with the low limit, steps become longer by the same "
    "factor: lower the rate.",
    reference="Seetharaman et al. 2020, arXiv:2007.14469; Zhang et al. 2020, arXiv:1905.11881",
)
AVERAGE = RemedyCard(
    name="average-accumulation",
    title="micro-batches that are averaged, not summed",
    what="The loss of each of n micro-batches divided by n. Where the optimizer follows the "
    "gradient in proportion (gradient descent, with or without momentum) a rate divided by n "
    "does exactly the same.",
    harms="Optimizers that rescale the gradient (Adam) hardly notice either way.",
    reference="torch.amp, automatic mixed precision examples, gradient accumulation",
)


def clear(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """``zero_grad`` in front of the step."""
    yield (in_step(zero_grad=True),)


def unscale(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Where the call has to stand, with the limit that holds now."""
    now = finding.evidence.get("real_limit")
    said = f": as it stands the gradient is clipped to {now:.2g}" if now is not None else ""
    yield advice(f"Call scaler.unscale_(optimizer) right before clipping{said}.", finding.where)


def raise_limit(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The limit that the measured norms ask for."""
    norm = usual_norm(patient)
    times = finding.evidence.get("divided")
    said = f"by {times:.2g} times" if times is not None else "well above the usual norm"
    if math.isfinite(norm):
        said = f"to {norm:.3g}, the 90th percentile of the norm before clipping"
    yield advice(f"Raise the limit of clipping {said}.", finding.where)


def average(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The rate divided by the number of backward passes where that is the same; then the line."""
    parts = finding.evidence.get("backwards", 1.0)
    reading = optimizer_of(patient)
    groups = reading.groups if reading is not None and reading.name == "SGD" else ()
    if groups and parts > 1 and not any(group.weight_decay for group in groups):
        yield (option(lr_factor=1 / parts),)
    yield advice(
        f"Divide the loss of each micro-batch by their number, (loss / {parts:.0f}).backward().",
        finding.where,
    )


def _remedy(
    card: RemedyCard,
    finding: str,
    plan: Callable[[Patient, Finding], Iterable[Plan]],
    advises: bool = False,
) -> Remedy:
    return Remedy(
        card=card,
        level="advice" if advises else "wiring",
        keep="function",
        safety="advice" if advises else "same function",
        treats=(finding,),
        plan=plan,
    )


CLEAR_GRADIENTS = _remedy(CLEAR, "stale-gradients", clear)
UNSCALE_FIRST = _remedy(UNSCALE, "clip-before-unscale", unscale, advises=True)
RAISE_CLIP_LIMIT = _remedy(RAISE, "always-clipped", raise_limit, advises=True)
AVERAGE_ACCUMULATION = _remedy(AVERAGE, "unscaled-accumulation", average)
