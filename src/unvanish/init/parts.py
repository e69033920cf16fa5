"""The weighted parts of a model: which operation applies which weight, and who may be changed."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unvanish.init.fresh import NORMS, looks_trained
from unvanish.init.report import Left
from unvanish.init.taps import Convolution, Transposed
from unvanish.trace import Operation, Trace

RECURRENT = (nn.RNNBase, nn.RNNCellBase)
EMBEDDING = (nn.Embedding, nn.EmbeddingBag)
_LINEAR = frozenset(("linear", "addmm", "matmul", "mm"))
_CONVOLUTIONS = frozenset("conv1d conv2d conv3d".split())
_TRANSPOSED = frozenset("conv_transpose1d conv_transpose2d conv_transpose3d".split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One weight matrix or kernel and the operation that applies it.

    ``stored`` says how the weight lies in memory: ``"rows"`` (outputs first, ``nn.Linear`` and
    convolutions) or ``"columns"`` (inputs first, ``addmm(bias, x, weight)``). Of ``kind`` ``"left"``
    is ``weight @ x``, which mixes the rows of each sample: what stands last is no channel there.
    """

    operation: int
    module: str
    owner: nn.Module
    kind: str
    weight: nn.Parameter
    bias: nn.Parameter | None
    names: tuple[str, ...]
    stored: str
    groups: int
    inputs: int
    outputs: int
    calls: int


@dataclass(slots=True)
class Permission:
    """Who may be changed: parameters by name that must not be, with the reason.

    ``told``: the weights to change were named, so that their values are nobody's to judge.
    """

    refused: dict[str, str] = field(default_factory=dict[str, str])
    told: bool = False

    def reason(self, names: Sequence[str]) -> str | None:
        """Why one of these parameters must stay; ``None`` where all may change."""
        return next((self.refused[name] for name in names if name in self.refused), None)


def permission(
    model: nn.Module, only: Sequence[str] | None, leave: Sequence[str], check: bool = True
) -> Permission:
    """Frozen, tied, embedded, reparametrised and trained weights stay, and what the user says."""
    found = Permission(told=only is not None)
    owners = _owners(model)
    for path, module in model.named_modules(remove_duplicate=False):
        own = {
            f"{path}.{name}" if path else name: parameter
            for name, parameter in module._parameters.items()
            if parameter is not None
        }
        refusals = {
            name: _refusal(path, name, module, parameter, owners, only, leave)
            for name, parameter in own.items()
        }
        open_to_change = None in refusals.values()
        said = looks_trained(module) if open_to_change and check and not found.told else None
        for full, reason in refusals.items():
            if reason is None and said is not None:
                reason = f"looks trained ({said}); name it in only= to change it all the same"
            if reason is not None:
                found.refused[full] = reason
    return found


def _refusal(
    path: str,
    full: str,
    module: nn.Module,
    parameter: nn.Parameter,
    owners: Counter[int],
    only: Sequence[str] | None,
    leave: Sequence[str],
) -> str | None:
    if _within(path, leave) or _within(full, leave):
        return "named in leave="
    if only is not None and not (_within(path, only) or _within(full, only)):
        return "not named in only="
    if not parameter.requires_grad:
        return "frozen"
    if owners[_memory(parameter)] > 1:
        return "tied: several modules share it"
    if isinstance(module, EMBEDDING):
        return "an embedding"
    if not parameter.is_floating_point() or parameter.is_sparse:
        return f"stored as {str(parameter.dtype).removeprefix('torch.')}, {parameter.layout}"
    if hasattr(module, "parametrizations") or path.rpartition(".")[2].startswith("original"):
        return "reparametrised: its weight is computed from something else"
    if {"weight_g", "weight_orig"} & set(module._parameters):
        return "reparametrised: its weight is computed from something else"
    return None


def _within(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") or not prefix for prefix in prefixes)


def _memory(parameter: Tensor) -> int:
    if parameter.layout != torch.strided or not parameter.numel():
        return id(parameter)
    return parameter.data_ptr()


def _owners(model: nn.Module) -> Counter[int]:
    """How many modules hold each piece of memory, under different names."""
    held = {
        (id(module), name): _memory(parameter)
        for module in model.modules()
        for name, parameter in module._parameters.items()
        if parameter is not None
    }
    return Counter(held.values())


def find_parts(model: nn.Module, trace: Trace) -> dict[int, Part]:
    """Every weighted operation whose weight is a parameter of the model itself, by operation."""
    shapes = dict(model.named_parameters())
    used: Counter[str] = Counter()
    found: dict[int, Part] = {}
    for index, operation in enumerate(trace.operations):
        tensors = [(name, shapes[name]) for name in operation.parameters if name in shapes]
        weights = [(name, value) for name, value in tensors if value.dim() >= 2]
        if len(weights) != 1 or not operation.from_data:
            continue
        name, weight = weights[0]
        used[name] += 1
        biases = [(n, value) for n, value in tensors if value.dim() == 1]
        layout = _layout(model, name, operation, weight)
        if layout is None:
            continue
        kind, stored, groups, inputs, outputs, owner = layout
        found[index] = Part(
            operation=index,
            module=name.rpartition(".")[0],
            owner=owner,
            kind=kind,
            weight=weight,
            bias=biases[0][1] if biases else None,
            names=(name, *(named for named, _ in biases[:1])),
            stored=stored,
            groups=groups,
            inputs=inputs,
            outputs=outputs,
            calls=0,
        )
    return {i: _counted(part, used[part.names[0]]) for i, part in found.items()}


def _on_the_left(operation: Operation, weight: Tensor) -> bool:
    """Whether a matrix stands to the left of a product: ``x @ W`` and ``addmm(b, x, W)`` have it last.

    A batch of the shape of the matrix itself is taken to be on the left, as is usual.
    """
    if operation.function not in _LINEAR - {"linear"} or weight.dim() < 2:
        return False
    return operation.inputs[-1] is not None or operation.input_shapes[-1] != tuple(weight.shape)


def _counted(part: Part, calls: int) -> Part:
    return dataclasses.replace(part, calls=calls)


def _layout(
    model: nn.Module, name: str, operation: Operation, weight: nn.Parameter
) -> tuple[str, str, int, int, int, nn.Module] | None:
    function = operation.function
    owner = model.get_submodule(name.rpartition(".")[0])
    if isinstance(owner, (*RECURRENT, *EMBEDDING, *NORMS, nn.MultiheadAttention)):
        return None
    if function in _LINEAR and weight.dim() == 2:
        left = _on_the_left(operation, weight)
        rows = function == "linear" or left
        outputs, inputs = weight.shape if rows else weight.shape[::-1]
        return (
            "left" if left else "linear",
            "rows" if rows else "columns",
            1,
            inputs,
            outputs,
            owner,
        )
    if function in _CONVOLUTIONS and isinstance(owner, Convolution):
        return "conv", "rows", owner.groups, owner.in_channels, owner.out_channels, owner
    if function in _TRANSPOSED and isinstance(owner, Transposed):
        return "transposed", "columns", owner.groups, owner.in_channels, owner.out_channels, owner
    return None


def left_alone(
    model: nn.Module, permitted: Permission, changed: set[str], notes: dict[str, str]
) -> list[Left]:
    """Every parameter that was not changed, module by module, with its reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for full, _ in model.named_parameters(remove_duplicate=False):
        if full in changed:
            continue
        module = full.rpartition(".")[0]
        reason = permitted.refused.get(full) or notes.get(full) or notes.get(module)
        reason = reason or "no weight of a layer that a method is known for"
        found.setdefault((module, reason), []).append(full)
    return [
        Left(module=module, reason=reason, parameters=tuple(names))
        for (module, reason), names in found.items()
    ]
