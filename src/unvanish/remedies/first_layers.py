"""What the first weighted layers read where a batch has several inputs: tables beside categories."""

from collections.abc import Iterable

import torch
from torch import Tensor

from unvanish.batches import compute_loss, map_tensors, split_batch, tensors_in
from unvanish.errors import UnvanishError
from unvanish.preserve import preserved
from unvanish.probe.compiled import eager
from unvanish.probe.flow import WEIGHTED
from unvanish.probe.values_read import values_read
from unvanish.remedies.chart import body, module_at
from unvanish.remedies.remedy import Patient
from unvanish.surgery.operation import copied
from unvanish.trace import Operation


def read_by_first_layers(patient: Patient) -> dict[str, list[Tensor]]:
    """By module, its floating inputs in all batches; empty where a batch has one input, or none such.

    First are the layers with weights that no other such layer stands before. An embedding is none:
    numbers that are joined with what it looked up meet their first weights behind the join.
    """
    if not _has_several(patient):
        return {}
    twin = copied(body(patient))
    try:
        with values_read(twin, _first(patient)) as read, torch.no_grad():
            for batch in patient.batches:
                own = map_tensors(batch, Tensor.clone)
                with preserved(twin, patient.seed), eager():
                    compute_loss(twin, own, patient.loss, patient.forward)
    except (UnvanishError, RuntimeError, TypeError, ValueError):
        return {}  # what cannot run without a graph has other remedies
    return {name: found for name, found in read.items() if _alike(found)}


def _has_several(patient: Patient) -> bool:
    """Whether the inputs of the first batch are several tensors, floating ones among them."""
    if patient.forward is not None:
        return False
    tensors = tensors_in(split_batch(patient.batches[0])[0])
    return len(tensors) > 1 and any(t.is_floating_point() for t in tensors)


def _first(patient: Patient) -> tuple[str, ...]:
    """Those of the first layers that are modules of their own and called once."""
    found = first_layers(patient.diagnosis.trace.operations)
    own = [module_at(patient, name) for name in found]
    return tuple(
        name
        for name, module in zip(found, own, strict=True)
        if name and module is not None and found.count(name) == 1
    )


def first_layers(operations: Iterable[Operation]) -> list[str]:
    """Names of the modules that run the first weighted operations on the batch, one a call."""
    behind: list[bool] = []  # whether a weighted layer stands at an operation or before it
    found: list[str] = []
    for operation in operations:
        before = any(behind[k] for k in operation.inputs if k is not None)
        weighted = bool(operation.parameters) and operation.function in WEIGHTED - {"embedding"}
        behind.append(before or weighted)
        if weighted and not before and operation.from_data and operation.inside:
            found.append(operation.module)
    return found


def _alike(found: list[Tensor]) -> bool:
    """Whether there is one tensor of each batch, all with features along the same axis."""
    shapes = {(tensor.dim(), tensor.shape[-1]) for tensor in found if tensor.dim() > 1}
    return len(shapes) == 1 and all(tensor.dim() > 1 for tensor in found)
