"""reinitialize: new initial values, nothing else."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.causes.dead_units import OF_BIASES, low_bias
from unvanish.remedies.chart import body, flow, isometric_rate, owners
from unvanish.remedies.drafts import initialise, option
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

CARD = RemedyCard(
    name="reinitialize",
    title="initial values at which signal, gradient and angles keep their scale",
    what="unvanish.init.critical_ looks at the model once and writes new values: isometries along "
    "plain stretches (rectifiers mirrored, others at the scale where they are nearly linear), "
    "residual branches divided by the root of their number, orthogonal recurrent weights. No "
    "module, no type and no name changes. A net that is isometric from end to end moves by "
    "its depth times what one layer moves: a second plan therefore lowers the step size to "
    "0.03 / depth (Adam) or 0.1 / depth (gradient descent). Where only some layers are ill, a "
    "further plan writes these alone. Weights that no module of their own holds get He's and "
    "LSUV's values as alternatives.",
    harms="It throws away what was learned: weights that look trained are left alone unless the "
    "finding names them. Shallow nets and residual nets with norms gain nothing. At depth, "
    "too large a step takes the isometry away at once.",
    reference="Saxe, McClelland, Ganguli 2014, arXiv:1312.6120; Xiao et al. 2018, arXiv:1806.05393; "
    "Balduzzi et al. 2017, arXiv:1702.08591; docs/init.md",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """A bias to zero, if it does it; the whole model; with the step size of its depth; the layers alone."""
    biases = _low_biases(patient) if finding.remedies == OF_BIASES else ()
    if biases:
        yield (Edit(action="fill", where=biases, options={"value": 0.0}),)
    whole = initialise()
    yield (whole,)
    yield from with_step_size(patient, whole)
    places = owners(patient, finding.where)
    if places and "" not in places:
        yield (initialise(only=places),)
    if _holds_bare_weights(patient):
        yield (initialise("he_"),)
        yield (initialise("lsuv_"),)


def with_step_size(patient: Patient, *edits: Edit) -> Iterable[Plan]:
    """The same edits with the step size that a net of this depth bears, where it is smaller."""
    rate = isometric_rate(patient)
    if rate is not None:
        yield (*edits, option(lr=rate))


def _low_biases(patient: Patient) -> tuple[str, ...]:
    """Biases that alone keep rectifiers off which are zero on every sample."""
    trace, graph = patient.diagnosis.trace, flow(patient)
    dead = [a for a in trace.activations if a.dead_units]
    named = dict(body(patient).named_parameters())
    found = dict.fromkeys(name for a in dead if (name := low_bias(graph, trace, a)))
    return tuple(name for name in found if name in named and bool(named[name].mean() < 0))


def _holds_bare_weights(patient: Patient) -> bool:
    """Whether matrices are held by modules that torch does not know how to start."""
    return any(
        parameter.dim() >= 2
        for module in body(patient).modules()
        if not type(module).__module__.startswith("torch.nn.modules.") or _is_list(module)
        for parameter in module.parameters(recurse=False)
    )


def _is_list(module: object) -> bool:
    return type(module).__name__ in ("ParameterList", "ParameterDict")


REMEDY = Remedy(
    card=CARD,
    level="values",
    keep="function",
    safety="changes the function",
    treats=(
        "depth-decay",
        "depth-growth",
        "chaotic-signal",
        "init-too-small",
        "init-too-large",
        "symmetric-init",
        "saturated-activation",
        "dead-units",
    ),
    plan=plan,
)
