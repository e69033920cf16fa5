"""insert-norm and remove-norm: normalisation put in, or taken out where it does harm."""

import math
from collections.abc import Iterable

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import (
    body,
    hidden_activations,
    is_own_module,
    makers,
    module_at,
    operation_of,
    samples,
)
from unvanish.remedies.drafts import initialise, inserted, replaced
from unvanish.remedies.reinitialize import with_step_size
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit, Part
from unvanish.trace import Activation

INSERT = RemedyCard(
    name="insert-norm",
    title="a normalisation layer before each activation",
    what="It brings what every activation reads to one scale, whatever the weights. Batch norm for "
    "vectors and images in batches of 16 or more, group norm for images in smaller ones, "
    "layer norm and then RMS norm for sequences and small batches, chosen by the shapes that "
    "were seen. A batch norm that has fewer than 16 values of each channel gives way to these. A "
    "further plan starts the weights anew.",
    harms="In plain nets deeper than about thirty layers: behind batch norm each ReLU multiplies "
    "the gradient by 1.21 whatever its weights, and layer norm lets samples collapse. Batch "
    "norm couples the samples of a batch.",
    reference="Ioffe and Szegedy 2015, arXiv:1502.03167; Ba, Kiros, Hinton 2016, arXiv:1607.06450; Wu "
    "and He 2018, arXiv:1803.08494; Yang et al. 2019, arXiv:1902.08129 (the explosion)",
)
REMOVE = RemedyCard(
    name="remove-norm",
    title="the plain stack without its norms, and with values that need none",
    what="Each norm of the stretch gives way to the identity, and unvanish.init.critical_ writes "
    "isometric values: batch norm makes the gradient of a plain net grow by a factor for each "
    "layer (ReLU: sqrt(pi / (pi - 1)) = 1.21) that no weights can take away.",
    harms="Norms in residual branches keep the stream in bounds: they are left. Batch norm also "
    "regularises.",
    reference="Yang et al. 2019, arXiv:1902.08129; Xiao et al. 2018, arXiv:1806.05393",
)
BATCH = 16
"""Samples from which the statistics of a batch are used: below, their noise is a quarter of them."""
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
NORMS = (
    *BATCH_NORMS,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def insert(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """For each kind that fits: norms before all hidden activations; with initial values."""
    for position in (0, 1):
        edits: dict[str, Edit] = {}
        for activation in hidden_activations(patient):
            edit = _norm_for(patient, activation, position)
            if edit is not None:
                edits.setdefault(edit.where[0], edit)
        if edits:
            yield tuple(edits.values())
            yield (*edits.values(), initialise())


def remove(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Identities in the place of the norms outside residual blocks, and new values; rates."""
    held = dict(body(patient).named_modules())
    plain = [
        name
        for layer in patient.diagnosis.trace.layers
        if not layer.decades.get("residual")
        for name in layer.modules
        if isinstance(held.get(name), NORMS)
    ]
    if plain:
        identity = Part(type="torch.nn.Identity")
        edits = [replaced(name, identity) for name in dict.fromkeys(plain)]
        yield (*edits, initialise())
        yield from with_step_size(patient, *edits, initialise())


def _norm_for(patient: Patient, activation: Activation, position: int) -> Edit | None:
    operation = operation_of(patient, activation)
    if operation is None or not operation.input_shapes:
        return None
    shape = operation.input_shapes[0]
    feeder = module_at(patient, activation.fed_by)
    path = next(iter(makers(patient, operation)), activation.fed_by)
    norm = module_at(patient, path)
    starved = isinstance(norm, BATCH_NORMS) and math.prod(shape) < BATCH * norm.num_features
    if isinstance(norm, NORMS) and not starved:
        return None
    channels_first = isinstance(feeder, nn.Conv1d) or isinstance(norm, nn.BatchNorm1d)
    image = len(shape) > 3 or (len(shape) == 3 and channels_first)
    parts = _kinds(shape, image, samples(patient))
    if position >= len(parts):
        return None
    if starved and path:
        return replaced(path, parts[position])
    if is_own_module(patient, activation) and _called_once(patient, activation):
        return inserted(activation.module, parts[position], before=True)
    if activation.fed_by and feeder is not None:
        return inserted(activation.fed_by, parts[position], before=False)
    return None


def _called_once(patient: Patient, activation: Activation) -> bool:
    """Whether this module acts at one place: one norm cannot serve several widths."""
    calls = [a for a in patient.diagnosis.trace.activations if a.module == activation.module]
    return len(calls) == 1


def _kinds(shape: tuple[int, ...], image: bool, count: int) -> list[Part]:
    """Norms for activations of this shape, the first choice first."""
    if len(shape) < 2:
        return []
    channels = shape[1] if image else shape[-1]
    batch = f"torch.nn.BatchNorm{max(len(shape) - 2, 1)}d"
    if image:
        grouped = Part(
            type="torch.nn.GroupNorm",
            arguments={"num_groups": _groups(channels), "num_channels": channels},
        )
        whole = [Part(type=batch, arguments={"num_features": channels})]
        return [*whole, grouped] if count >= BATCH else [grouped]
    kinds = [
        Part(type=f"torch.nn.{name}", arguments={"normalized_shape": channels})
        for name in ("LayerNorm", "RMSNorm")
    ]
    if len(shape) == 2 and count >= BATCH:
        return [Part(type=batch, arguments={"num_features": channels}), kinds[0]]
    return kinds


def _groups(channels: int) -> int:
    """The largest divisor up to 32, the number of groups of the paper."""
    return max(g for g in range(1, min(32, channels) + 1) if math.gcd(g, channels) == g)


INSERT_NORM = Remedy(
    card=INSERT,
    level="norm",
    keep="shape",
    safety="changes the function",
    treats=(
        "depth-decay",
        "init-too-small",
        "init-too-large",
        "saturated-activation",
        "unscaled-input",
    ),
    plan=insert,
)
REMOVE_NORM = Remedy(
    card=REMOVE,
    level="norm",
    keep="shape",
    safety="changes the function",
    treats=("depth-growth",),
    plan=remove,
)
