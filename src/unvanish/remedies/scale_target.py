"""scale-target: a model that predicts standardised targets."""

from collections.abc import Iterable
from typing import Any, cast

from torch import Tensor, nn

from unvanish.batches import is_pair
from unvanish.causes.cause import Finding
from unvanish.causes.level import REGRESSION
from unvanish.remedies import scale_input
from unvanish.remedies.chart import flow, module_at, optimizer_of
from unvanish.remedies.drafts import advice, inserted, option
from unvanish.remedies.output_layer import is_flat
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.remedies.scale_input import standardising
from unvanish.surgery.edits import Edit, Part

CARD = RemedyCard(
    name="scale-target",
    title="targets at zero mean and unit deviation, as the model sees them",
    what="A layer of constants behind the last module multiplies by the deviation of the targets "
    "and adds their mean: what is before it predicts standardised values, and outputs and "
    "loss keep the user's units. The gradient is larger by the deviation, and steps of the "
    "outputs too: with plain gradient descent the rate is divided by its square, Adam does "
    "not care. A smaller change is the last bias at the targets' mean.",
    harms="Constants of batches that are not like the data; targets with a few enormous values want "
    "a logarithm.",
    reference="LeCun et al. 1998, Efficient BackProp, section 4.4; Bishop 1995, section 8.2",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Constants behind the model, the last bias alone, what to do with the data."""
    targets, last = float_targets(patient), _last_module(patient)
    if not targets or is_flat(finding):
        return
    whole = standardising(targets, None, undo=True)
    mean, std = cast(float, whole.arguments["mean"]), cast(float, whole.arguments["std"])
    squash = finding.name == "unfit-loss"
    if last and not squash:
        behind = _behind(patient, last, _part(patient, last, targets))
        yield behind
        # Outputs at the scale of raw inputs, times that of the targets, are off by both.
        before = next((p for p in scale_input.plan(patient, finding) if _inserts(p)), None)
        if before is not None:
            yield (*before, *behind)
    if last and not squash and isinstance(getattr(module_at(patient, last), "bias", None), Tensor):
        yield (Edit(action="fill", where=(f"{last}.bias",), options={"value": mean}),)
    yield advice(
        f"Train on (targets - {mean:.4g}) / {std:.4g}, and undo it on the predictions: "
        f"outputs * {std:.4g} + {mean:.4g}.",
        finding.where,
    )


def _inserts(plan: Plan) -> bool:
    return all(edit.action == "insert" for edit in plan)


def _part(patient: Patient, last: str, targets: list[Tensor]) -> Part:
    """The constants of the targets: one pair, or of a table's columns one each where they differ."""
    table = all(t.dim() == 2 and t.shape[1] > 1 for t in targets)
    columns = table and isinstance(module_at(patient, last), nn.Linear)
    return standardising(targets, -1 if columns else None, undo=True)


def _behind(patient: Patient, last: str, part: Part) -> Plan:
    behind = inserted(last, part, before=False)
    given: Any = part.arguments["std"]
    std = max(given) if isinstance(given, tuple) else given
    reading = optimizer_of(patient)
    if reading is not None and reading.name == "SGD" and std > 1:
        return behind, option(lr_factor=float(f"{std**-2:.4g}"))
    return (behind,)


def float_targets(patient: Patient) -> list[Tensor]:
    """The floating targets of all batches (inputs, targets)."""
    found: list[Tensor] = []
    for batch in patient.batches:
        if not is_pair(batch):
            return []
        targets = cast(list[Any], batch)[1]
        if not isinstance(targets, Tensor) or not targets.is_floating_point():
            return []
        found.append(targets.detach())
    return found


def _last_module(patient: Patient) -> str | None:
    """The weighted module whose output a regression loss reads, past views alone."""
    graph = flow(patient)
    for index in sorted(graph.to_loss):
        if graph[index].function in REGRESSION:
            made = graph.argument(index)
            if made is not None and graph[made].inside and graph[made].parameters:
                return graph[made].module or None
    return None


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="changes the function",
    treats=("unscaled-target", "unfit-loss"),
    plan=plan,
)
