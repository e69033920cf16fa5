"""orthogonal: weights that pass all directions alike."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body, hidden_activations
from unvanish.remedies.drafts import initialise
from unvanish.remedies.reinitialize import with_step_size
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit
from unvanish.theory import gain

CARD = RemedyCard(
    name="orthogonal",
    title="orthogonal weights",
    what="An orthogonal matrix stretches no direction more than another, so that a product of many "
    "keeps samples apart and the gradient's directions together. The gain is that of the "
    "activation before; behind functions that are steepest at zero (tanh, softsign, erf) a "
    "second plan takes a gain of one, at which differences neither grow nor die: at the "
    "larger gain the slope near zero is above one and signals become chaotic with depth.",
    harms="With rectifiers it keeps norms but not angles: from about thirty layers on mirrored "
    "values (reinitialize) are needed. Projections to fewer numbers stay what they are.",
    reference="Saxe, McClelland, Ganguli 2014, arXiv:1312.6120; Pennington, Schoenholz, Ganguli 2017, "
    "arXiv:1711.04735; Schoenholz et al. 2017, arXiv:1611.01232",
)
STEEPEST_AT_ZERO = frozenset("tanh softsign erf atan hardtanh sin".split())
"""Odd functions of slope one (erf: 1.13) at zero that bend towards zero slope on both sides."""


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Orthogonal at a gain of one where that is critical; at the activation's own gain; rates."""
    fresh = initialise("orthogonal_")
    functions = {activation.function for activation in hidden_activations(patient)}
    bent = sorted(functions & STEEPEST_AT_ZERO)
    if len(functions) == 1 and bent:
        calm = _scaled(patient, 1 / gain(bent[0]))
        if calm is not None:
            yield (fresh, calm)
            yield from with_step_size(patient, fresh, calm)
    yield (fresh,)
    yield from with_step_size(patient, fresh)


def _scaled(patient: Patient, factor: float) -> Edit | None:
    """The weights behind the activations brought from their gain down to one."""
    readers = {name for layer in patient.diagnosis.trace.layers[:-1] for name in layer.parameters}
    weights = dict(body(patient).named_parameters())
    names = tuple(
        n for n, p in weights.items() if n in readers and p.dim() >= 2 and p.requires_grad
    )
    return Edit(action="scale", where=names, options={"factor": factor}) if names else None


REMEDY = Remedy(
    card=CARD,
    level="values",
    keep="function",
    safety="changes the function",
    treats=("chaotic-signal", "collapsed-signal"),
    plan=plan,
)
