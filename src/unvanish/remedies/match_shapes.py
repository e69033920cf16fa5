"""match-shapes: predictions and targets of one shape."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.drafts import advice, inserted, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Part
from unvanish.trace import Operation

CARD = RemedyCard(
    name="match-shapes",
    title="the outputs in the shape of the targets",
    what="Outputs (N, 1) for targets (N) lose their last dimension by a Flatten(0) behind the "
    "layer that makes them; outputs (N) for targets (N, 1) get one.",
    harms="Code that reads the outputs with their old shape.",
    reference="torch.nn.functional.mse_loss, the warning about target sizes; numpy broadcasting rules",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """A change of shape behind the module that makes the outputs; else where to write one."""
    operations = patient.diagnosis.trace.operations
    for operation in operations:
        part = _reshaping(operation)
        maker = operation.inputs[0] if operation.inputs else None
        if part is not None and maker is not None and operations[maker].inside:
            yield (inserted(operations[maker].module, part, before=False),)
            break
    said = f" ({finding.detail})" if finding.detail else ""
    yield advice(
        f"Bring predictions and targets to one shape behind {listed(finding.where)}{said}: "
        "outputs.squeeze(-1), or targets.unsqueeze(-1).",
        finding.where,
    )


def _reshaping(operation: Operation) -> Part | None:
    """What brings the first argument of an operation outside the model to the shape of the second."""
    shapes = operation.input_shapes
    if operation.inside or len(shapes) < 2 or not operation.requires_grad:
        return None
    first, second = shapes[:2]
    if len(second) == 1 and first == (*second, 1):
        return Part(type="torch.nn.Flatten", arguments={"start_dim": 0})
    if len(first) == 1 and second == (*first, 1):
        return Part(type="torch.nn.Unflatten", arguments={"dim": 0, "unflattened_size": (-1, 1)})
    return None


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="changes the function",
    treats=("broadcast-loss",),
    plan=plan,
)
