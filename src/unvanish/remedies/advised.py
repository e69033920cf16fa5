"""guard-operation, full-precision-weights, check-data: for their author to do."""

from collections.abc import Callable, Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body
from unvanish.remedies.drafts import advice, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard

GUARD = RemedyCard(
    name="guard-operation",
    title="an operation kept inside its domain",
    what="The input of the operation is made safe: clamped, an epsilon inside the root, the "
    "logarithm or the divisor, torch.where before the operation and not behind it (behind it "
    "the gradient of the branch not taken is still zero times infinity).",
    harms="An epsilon that is too large changes the result where it was right.",
    reference="torch.where and NaN gradients; Goldberg 1991; docs/nonfinite.md",
)
FULL_PRECISION = RemedyCard(
    name="full-precision-weights",
    title="weights in float32, arithmetic in half precision",
    what="A step is about a thousandth of a weight, and float16 and bfloat16 round to a "
    "two-thousandth and a two-hundredth and fiftieth: most steps are lost. Weights stay in "
    "float32, and torch.autocast chooses half precision for the products.",
    harms="Twice the memory for weights and optimizer state.",
    reference="Micikevicius et al. 2018, arXiv:1710.03740 (master weights); torch.autocast",
)
CHECK_DATA = RemedyCard(
    name="check-data",
    title="inputs and labels that belong together",
    what="Look at some samples with their labels as the model gets them, behind all shuffling and "
    "augmentation.",
    harms="Nothing.",
    reference="Karpathy, A recipe for training neural networks (become one with the data)",
)


def guard(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Which operation, where, and between which values its input lay."""
    first = next(iter(patient.diagnosis.trace.nonfinite), None)
    what = (
        finding.detail
        or "the operation whose result or slope is not finite (a root, a logarithm, a quotient)"
    )
    span = ""
    if first is not None and first.input_min is not None and first.input_max is not None:
        zeros = f", {first.input_zeros} zeros" if first.input_zeros else ""
        span = f"; its input lay in {first.input_min:.3g} to {first.input_max:.3g}{zeros}"
    yield advice(
        f"Make the input of {what} in {listed(finding.where)} safe: clamp it, or add an epsilon "
        f"inside{span}.",
        finding.where,
    )


def full_precision(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Which weights, and how to compute with them."""
    kind = finding.detail if finding.detail in ("float16", "bfloat16") else "bfloat16"
    named = dict(body(patient).named_parameters())
    weights = listed(name for name in finding.where if name in named) or "the weights"
    yield advice(
        f"Keep {weights} in float32 (model.float()) and run forward and loss under "
        f"torch.autocast(dtype=torch.{kind}).",
        finding.where,
    )


def check_data(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """What to look at."""
    yield advice("Check that inputs and labels belong together: same order, same shuffling.")


def _advice(
    card: RemedyCard,
    treats: tuple[str, ...],
    plan: Callable[[Patient, Finding], Iterable[Plan]],
) -> Remedy:
    return Remedy(
        card=card, level="advice", keep="function", safety="advice", treats=treats, plan=plan
    )


GUARD_OPERATION = _advice(
    GUARD, ("nonfinite-forward", "nonfinite-backward", "loss-scale-collapse"), guard
)
FULL_PRECISION_WEIGHTS = _advice(
    FULL_PRECISION, ("half-precision-weights", "loss-scale-collapse"), full_precision
)
CHECKED_DATA = _advice(CHECK_DATA, ("nothing-to-learn",), check_data)
