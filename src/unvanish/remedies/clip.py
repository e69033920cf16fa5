"""clip: a bound on the gradient's norm, at a measured percentile, or layer by layer."""

import math
import statistics
from collections.abc import Iterable

import torch

from unvanish.batches import compute_loss
from unvanish.causes.cause import Finding
from unvanish.randomness import seeded
from unvanish.remedies.chart import body, gradient_scale
from unvanish.remedies.drafts import in_step
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.twins import twin_of

CARD = RemedyCard(
    name="clip",
    title="a bound on the norm of the gradient",
    what="A gradient above a limit is scaled down to it; its direction stays. The limit is the "
    "90th percentile of the norms over the batches at hand, or one where that is smaller: "
    "nine steps of ten are as before, and a cliff no longer throws the weights away. Further "
    "plans: a limit for each unit in proportion to its own weights (0.01), which needs no "
    "knowledge of the norm; and a limit that follows the past norms.",
    harms="It hides growth and does not cure it: with a limit that is always reached the limit is "
    "the step size. The direction of a gradient that exploded is not worth following far.",
    reference="Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063; Brock et al. 2021, arXiv:2102.06171 "
    "(adaptive, section 4); Seetharaman et al. 2020, arXiv:2007.14469 (percentile)",
)
PERCENTILE = 90
ADAPTIVE = 0.01
"""Largest ratio of gradient to weight for each unit; the last layer is left alone (the paper's)."""


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """A fixed limit, an adaptive one, a running percentile."""
    norm = usual_norm(patient)
    yield (in_step(clip_norm=min(norm, 1.0) if math.isfinite(norm) else 1.0),)
    last = patient.diagnosis.trace.layers[:1]
    if last and last[0].name:
        yield (in_step(clip_adaptive=ADAPTIVE, clip_adaptive_leave=last[0].name),)
    else:
        yield (in_step(clip_adaptive=ADAPTIVE),)
    yield (in_step(clip_percentile=PERCENTILE),)


def usual_norm(patient: Patient) -> float:
    """The 90th percentile of the gradient's norm over the batches, on a copy of the model.

    Where the loss of a batch cannot be computed alone (a step of the user's own): the norm of the
    trace; infinite where there is no finite one.
    """
    norms = [norm for norm in gradient_norms(patient) if math.isfinite(norm) and norm > 0]
    if not norms:
        seen, _ = gradient_scale(patient)
        return seen if seen > 0 else math.inf
    if len(norms) < 2:
        return norms[0]
    return statistics.quantiles(norms, n=100, method="inclusive")[PERCENTILE - 1]


def gradient_norms(patient: Patient) -> list[float]:
    """Norm of the whole gradient for each batch."""
    if patient.loss is None and patient.forward is None:
        return []
    with torch.inference_mode(False), torch.enable_grad(), seeded(patient.seed):
        twin = twin_of(body(patient))
        trained = [p for p in twin.parameters() if p.requires_grad]
        norms: list[float] = []
        for batch in patient.batches:
            loss = compute_loss(twin, batch, patient.loss, patient.forward)
            if not loss.requires_grad or not trained:
                return []
            loss.backward()
            gradients = [p.grad for p in trained if p.grad is not None]
            norms.append(math.hypot(*(float(g.double().norm()) for g in gradients)))
            twin.zero_grad()
    return norms


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="same function",
    treats=("depth-growth", "time-growth", "time-decay", "step-too-large"),
    plan=plan,
)
