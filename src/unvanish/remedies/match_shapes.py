"""match-shapes: predictions and targets of one shape."""

from collections.abc import Iterable

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import module_at
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
    """A change of shape behind the layer that makes the outputs; else where to write one."""
    path = finding.where[0] if finding.where else ""
    part = _reshaping(patient.diagnosis.trace.operations)
    if part is not None and path and module_at(patient, path) is not None:
        yield (inserted(path, part, before=False),)
    said = f" ({finding.detail})" if finding.detail else ""
    yield advice(
        f"Bring predictions and targets to one shape behind {listed(finding.where)}{said}: "
        "outputs.squeeze(-1), or targets.unsqueeze(-1).",
        finding.where,
    )


def _reshaping(operations: Iterable[Operation]) -> Part | None:
    """What brings the first argument of the broadcast operation to the shape of the second."""
    for operation in operations:
        shapes = operation.input_shapes
        if operation.inside or len(shapes) < 2 or not operation.requires_grad:
            continue
        first, second = shapes[:2]
        if len(second) == 1 and first == (*second, 1):
            return Part(type="torch.nn.Flatten", arguments={"start_dim": 0})
        if len(first) == 1 and second == (*first, 1):
            return Part(
                type="torch.nn.Unflatten", arguments={"dim": 0, "unflattened_size": (-1, 1)}
            )
    return None


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="changes the function",
    treats=("broadcast-loss",),
    plan=plan,
)
