"""scale-input: inputs at zero mean and unit deviation."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.causes.cause import Finding
from unvanish.causes.dataflow import VIEWS
from unvanish.nn import Standardize
from unvanish.probe.flow import WEIGHTED
from unvanish.remedies.chart import module_at, owners
from unvanish.remedies.drafts import initialise, inserted
from unvanish.remedies.first_layers import read_by_first_layers
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Argument, Part
from unvanish.trace import Operation

CARD = RemedyCard(
    name="scale-input",
    title="inputs at zero mean and unit deviation",
    what="A layer of constants in front of the first module that reads the batch subtracts the "
    "mean and divides by the deviation of the batches at hand: one number each, or one a "
    "feature where features differ. It is saved with the model, so that nobody can forget it. "
    "With keep='function' the first layer's weights and bias take the same over instead, as "
    "new initial values.",
    harms="Constants of batches that are not like the data. Zeros of sparse inputs stop being zero.",
    reference="LeCun et al. 1998, Efficient BackProp, section 4.3",
)
MANY = 4096
"""Features up to which each gets constants of its own."""
ALIKE = 3.0
"""Ratio of deviations, and distance of means in deviations, up to which one pair serves all."""


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The layer of constants; where it is not allowed the first layer's own values.

    These give the same outputs at the start, but a step in them is still a step along inputs as
    unequal as before: the curvature of the loss goes with the products of two inputs.
    """
    reader = first_reader(patient)
    inputs = float_inputs(patient)
    if reads_standardised(patient):
        return
    if not inputs:
        yield from _behind_a_join(patient)
        return
    if reader is None:
        return
    direct = bool(reader.input_shapes) and reader.input_shapes[0][1:] == inputs[0].shape[1:]
    part = standardising(inputs, _axis(reader, inputs[0]) if direct else None)
    if is_standard(part):
        return
    if reader.module:
        yield (inserted(reader.module, part, before=True),)
    places = owners(patient, [reader.module])
    if places and reader.module:
        yield (initialise(only=places),)


def _behind_a_join(patient: Patient) -> Iterable[Plan]:
    """The same where a batch has several inputs: for what its first layers read."""
    parts: dict[str, Part] = {}
    for name, read in read_by_first_layers(patient).items():
        if _has_constants(module_at(patient, name)):
            continue
        if isinstance(module_at(patient, name), CONVOLUTIONS):
            part = standardising(read, 1)
            loud = not is_standard(part)
        else:
            part, loud = standardising_loud(read)
        if loud:
            parts[name] = part
    if parts:
        yield tuple(inserted(name, part, before=True) for name, part in parts.items())
        yield (initialise(only=parts),)


def first_reader(patient: Patient) -> Operation | None:
    """The first operation on the batch that is no view: the first weighted one where views led."""
    viewed = False
    for operation in patient.diagnosis.trace.operations:
        if not operation.from_data or not operation.inside:
            continue
        if operation.function in VIEWS:
            viewed = True
        elif not viewed or operation.function in WEIGHTED:
            return operation
    return None


def reads_standardised(patient: Patient) -> bool:
    """Whether constants like these are the first to read the batch, in the model as it is."""
    reader = first_reader(patient)
    return reader is not None and _are_constants(module_at(patient, reader.module))


def _are_constants(module: nn.Module | None) -> bool:
    return isinstance(module, Standardize) and not module.undo


def _has_constants(module: nn.Module | None) -> bool:
    """Whether they were put before this module: then they are its child, and its inputs still raw."""
    return module is not None and any(_are_constants(child) for child in module.children())


def float_inputs(patient: Patient) -> list[Tensor]:
    """The inputs of all batches, where they are one floating tensor each of one kind of shape."""
    found: list[Tensor] = []
    for batch in patient.batches:
        inputs: Any = batch
        if isinstance(batch, tuple | list) and batch:
            inputs = cast(list[Any], batch)[0]
        if isinstance(inputs, tuple) and len(cast(tuple[Any, ...], inputs)) == 1:
            inputs = cast(tuple[Any, ...], inputs)[0]
        if isinstance(inputs, Mapping) or not isinstance(inputs, Tensor):
            return []
        if not inputs.is_floating_point() or inputs.dim() < 2:
            return []
        found.append(inputs.detach())
    return found if len({i.dim() for i in found}) == 1 else []


def standardising(values: list[Tensor], axis: int | None, *, undo: bool = False) -> Part:
    """The constants of these tensors: along ``axis`` one a feature where features differ."""
    whole = torch.cat([v.double().reshape(-1) for v in values])
    mean, std = float(whole.mean()), float(whole.std(correction=0)) or 1.0
    given: dict[str, Argument] = {"mean": mean, "std": std}
    if axis is not None and values[0].shape[axis] <= MANY:
        rows = torch.cat([v.double().movedim(axis, 0).flatten(1) for v in values], dim=1)
        means, deviations = rows.mean(1), rows.std(1, correction=0)
        # What never changes, but for rounding, is centred and left at its scale.
        still = deviations <= 1e-6 * rows.abs().amax(1)
        deviations = torch.where(still, torch.ones_like(deviations), deviations)
        moving = deviations[~still]
        alike = len(moving) == 0 or float(moving.max() / moving.min()) <= ALIKE
        if not alike or float((means - mean).abs().max()) > std:
            given = {"mean": tuple(means.tolist()), "std": tuple(deviations.tolist()), "axis": axis}
    if undo:
        given["undo"] = True
    return Part(type="unvanish.nn.Standardize", arguments=given)


def standardising_loud(values: list[Tensor]) -> tuple[Part, bool]:
    """The constants of the features that are far above unit scale, and whether there are any.

    The others stay as they are: what an embedding gives is mostly at unit scale or below, and is
    about to be learned; constants of today are nothing for it.
    """
    rows = torch.cat([v.double().flatten(0, -2) for v in values])
    means, deviations = rows.mean(0), rows.std(0, correction=0)
    scale = rows.square().mean(0).sqrt()
    loud = (scale > ALIKE) & (deviations > 1e-6 * scale) & scale.isfinite()
    given: dict[str, Argument] = {
        "mean": tuple(torch.where(loud, means, 0.0).tolist()),
        "std": tuple(torch.where(loud, deviations, 1.0).tolist()),
    }
    part = Part(type="unvanish.nn.Standardize", arguments=given)
    return part, bool(loud.any()) and len(loud) <= MANY


def is_standard(part: Part) -> bool:
    """Whether these constants change next to nothing: features alike, near zero mean, unit scale."""
    mean, std = part.arguments["mean"], part.arguments["std"]
    if not isinstance(mean, float) or not isinstance(std, float):
        return False
    return abs(mean) <= std and 1 / ALIKE <= std <= ALIKE


def _axis(reader: Operation, inputs: Tensor) -> int:
    """Where features stand: channels of images and of what a convolution reads, else the last."""
    return 1 if inputs.dim() > 3 or reader.function.startswith("conv") else -1


REMEDY = Remedy(
    card=CARD,
    level="loop",
    keep="function",
    safety="changes the function",
    treats=(
        "unscaled-input",
        "saturated-activation",
        "dead-units",
        "nonfinite-forward",
        "step-too-large",
    ),
    plan=plan,
    one=True,
)
