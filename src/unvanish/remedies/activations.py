"""tailored-activation and swap-activation: another function between the layers, and its start."""

from collections.abc import Callable, Iterable

from unvanish.causes.cause import Finding
from unvanish.causes.straight_derivatives import STRAIGHT
from unvanish.errors import BadInput
from unvanish.remedies.chart import depth, held_function, hidden_activations, is_own_module
from unvanish.remedies.drafts import initialise, replaced, rewritten
from unvanish.remedies.reinitialize import with_step_size
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.calls import EXCHANGEABLE
from unvanish.surgery.edits import Edit, Part

TAILORED = RemedyCard(
    name="tailored-activation",
    title="the activation shaped for the depth of the net",
    what="Each hidden activation f gives way to gain * (f(scale * x + shift) + offset), its four "
    "constants solved so that signal and gradient keep their mean square and samples stay "
    "apart over all layers (unvanish.nn.TailoredActivation); functions with a kink give way "
    "to a leaky ReLU of the slope that the depth asks for (TailoredLeakyReLU). Weights start "
    "orthogonal at unit scale on the data (lsuv_), the point that the constants are solved "
    "for.",
    harms="Inside residual or normalised nets, where the true depth is a few layers: nearly linear, "
    "they learn less a step.",
    reference="Zhang, Botev, Martens 2022, arXiv:2203.08120; Martens et al. 2021, arXiv:2110.01765; "
    "docs/nn.md",
)
SWAP = RemedyCard(
    name="swap-activation",
    title="an activation that passes the gradient",
    what="Each hidden activation gives way to a leaky ReLU, GELU or SiLU with the initial values "
    "that unvanish.init.critical_ finds for it, or to SELU with LeCun's (variance 1 / "
    "fan-in). Where the loss takes second derivatives: to tanh, on the weights as they are.",
    harms="What was learned with the old function is lost. By itself no activation carries a "
    "gradient through a hundred layers: the initial values must fit.",
    reference="He et al. 2015, arXiv:1502.01852; Hendrycks and Gimpel 2016, arXiv:1606.08415; Klambauer "
    "et al. 2017, arXiv:1706.02515",
)
MODULES = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "softsign": "Softsign",
    "gelu": "GELU",
    "silu": "SiLU",
    "mish": "Mish",
    "softplus": "Softplus",
    "elu": "ELU",
    "celu": "CELU",
    "selu": "SELU",
    "logsigmoid": "LogSigmoid",
    "tanhshrink": "Tanhshrink",
}
"""Smooth activations by the module that makes them; all others have a kink or a parameter."""
ALTERNATIVES = (
    ("LeakyReLU", "leaky_relu", "critical_"),
    ("GELU", "gelu", "critical_"),
    ("SiLU", "silu", "critical_"),
    ("SELU", "selu", "he_"),
)
"""Module, function, initial values. He's rule behind SELU (E f^2 = 1) is LeCun's: 1 / fan-in."""


def tailor(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """All hidden activations shaped; with the step size of the depth."""
    layers = depth(patient)
    edits = exchanged(patient, lambda function: _tailored(function, layers))
    if edits:
        yield (*edits, initialise("lsuv_"))
        yield from with_step_size(patient, *edits, initialise("lsuv_"))


def swap(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Each of the four, where it is another function than the one that is there.

    Where it is curvature that is missing: tanh, on the weights as they are.
    """
    if finding.name == "unfit-loss":
        if "straight" in finding.evidence:
            smooth = Part(type="torch.nn.Tanh")
            yield exchanged(patient, lambda old: smooth if old in STRAIGHT else None, "tanh")
        return
    for module, function, method in ALTERNATIVES:
        part = Part(type=f"torch.nn.{module}")
        edits = exchanged(
            patient, lambda old, a=function, b=part: None if old == a else b, function
        )
        if edits:
            yield (*edits, initialise(method))


def exchanged(
    patient: Patient, choose: Callable[[str], Part | None], by: str | None = None
) -> tuple[Edit, ...]:
    """Every hidden activation by what ``choose`` says of its function (``None``: it stays).

    A module of its own is replaced, and so is a function that a module holds; another function is
    rewritten in the forward that calls it, to the part or to ``by`` of torch.nn.functional. One
    edit for each place, however often it is called; functions that cannot be rewritten stay.
    """
    edits: dict[tuple[str, str], Edit] = {}
    for activation in hidden_activations(patient):
        part = choose(activation.function)
        if part is None:
            continue
        place = (activation.module, activation.function)
        held = held_function(patient, activation)
        if is_own_module(patient, activation):
            edits.setdefault(place, replaced(activation.module, part))
        elif held is not None:
            edits.setdefault(place, replaced(held, part))
        elif activation.function in EXCHANGEABLE:
            edits.setdefault(place, rewritten(activation.module, activation.function, by or part))
    return tuple(edits.values())


def _tailored(function: str, layers: int) -> Part:
    leaky = Part(type="unvanish.nn.TailoredLeakyReLU", arguments={"depth": layers})
    if function not in MODULES:
        return leaky
    smooth = Part(type=f"torch.nn.{MODULES[function]}")
    arguments = {"activation": smooth, "depth": layers}
    shaped = Part(type="unvanish.nn.TailoredActivation", arguments=arguments)
    try:
        shaped.build()
    except BadInput:  # no constants solve the conditions at this depth
        return leaky
    return shaped


TAILORED_ACTIVATION = Remedy(
    card=TAILORED,
    level="activation",
    keep="layers",
    safety="changes the function",
    treats=("depth-decay",),
    plan=tailor,
)
SWAP_ACTIVATION = Remedy(
    card=SWAP,
    level="activation",
    keep="layers",
    safety="changes the function",
    treats=("depth-decay", "collapsed-signal", "saturated-activation", "dead-units", "unfit-loss"),
    plan=swap,
)
