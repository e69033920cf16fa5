"""What remedies read from a patient's trace and model: depth, activations, shapes, optimizer."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from unvanish.causes.dataflow import VIEWS, Dataflow
from unvanish.init.graph import DROPOUTS, Graph
from unvanish.init.layout import SPATIAL
from unvanish.init.residual import longest
from unvanish.kinds import activation_name
from unvanish.probe.compiled import unwrapped
from unvanish.remedies.remedy import Patient
from unvanish.trace import Activation, Operation
from unvanish.training.optimizer import OptimizerReading, read_optimizer
from unvanish.training.optimizer_copy import over_a_copy

ISOMETRIC_ADAM = 0.03
"""Rate times depth up to which nets of 30 to 10,000 layers learned with Adam (docs/init.md)."""
ISOMETRIC_SGD = 0.1
"""The same for gradient descent with momentum."""
UNUSUAL = frozenset(
    "exp exp2 expm1 square pow abs cos tan sinh cosh asinh log1p sqrt reciprocal sign round floor "
    "ceil".split()
)
"""Elementwise functions that are no activation's, and stand in the place of one now and then."""
SHALLOW = 8
"""Activations in a row up to which the step size need not fall with depth (docs/init.md)."""


def body(patient: Patient) -> nn.Module:
    """The module whose names the trace uses: behind torch.compile and data-parallel wrappers."""
    model = patient.model
    wrapped = hasattr(model, "_orig_mod") or isinstance(
        model, nn.DataParallel | nn.parallel.DistributedDataParallel
    )
    return unwrapped(model)[0] if wrapped else model


def module_at(patient: Patient, path: str | None) -> nn.Module | None:
    """The module of this dotted name, or ``None`` where the model has no such module."""
    try:
        return None if path is None else body(patient).get_submodule(path)
    except AttributeError:
        return None


def owners(patient: Patient, names: Iterable[str]) -> tuple[str, ...]:
    """Names of the modules with weights of their own among these modules and parameters."""
    modules = dict(body(patient).named_modules())
    parameters = dict(body(patient).named_parameters())
    found: list[str] = []
    for name in names:
        path = name.rpartition(".")[0] if name in parameters else name
        if path in modules and next(modules[path].parameters(), None) is not None:
            found.append(path)
    return tuple(dict.fromkeys(found))


def parameters_of(patient: Patient, names: Iterable[str], dimensions: int = 1) -> tuple[str, ...]:
    """Names of the trained parameters that these modules or parameters hold."""
    asked = tuple(names)
    return tuple(
        name
        for name, parameter in body(patient).named_parameters()
        if parameter.requires_grad
        and parameter.dim() >= dimensions
        and any(name == one or name.startswith(f"{one}.") for one in asked)
    )


def depth(patient: Patient) -> int:
    """Activations in a row, on the longest way from the batch to the loss; at least one."""
    graph = Graph(body(patient), patient.diagnosis.trace)
    return max(1, longest(graph, frozenset(graph.bends)))


def hidden_activations(patient: Patient) -> tuple[Activation, ...]:
    """Activations between weighted layers: no gates and not what makes the output.

    A softmax between two weighted layers stands in the place of one, and counts as one; so does a
    module without parameters that is one elementwise function which is no activation's.
    """
    seen = patient.diagnosis.trace.activations
    hidden = [a for a in seen if not a.gate and not a.feeds_loss]
    return (*hidden, *_in_the_place_of_one(patient))


def _in_the_place_of_one(patient: Patient) -> Iterable[Activation]:
    """Softmax and unusual functions between two weighted layers: attention meets a product instead.

    Where a forward calls softmax, all of its calls must stand so: they are exchanged together.
    """
    every = patient.diagnosis.trace.operations
    standing = [index for index in range(len(every)) if _stands_between(patient, index)]
    elsewhere = {
        operation.module
        for index, operation in enumerate(every)
        if operation.function == "softmax" and index not in standing
    }
    for index in standing:
        operation = every[index]
        if operation.function != "softmax" or operation.module not in elsewhere:
            yield _as_activation(operation, next(iter(makers(patient, operation)), None))


def _stands_between(patient: Patient, index: int) -> bool:
    """Whether weighted layers, or the batch, feed it, and weighted layers alone read it."""
    every = patient.diagnosis.trace.operations
    operation = every[index]
    softmax = operation.function == "softmax" and operation.inside
    if not softmax and not _is_unusual(module_at(patient, operation.module), operation):
        return False
    fed = all(every[k].parameters for k in operation.inputs if k is not None)
    return fed and _read_by_layers(every, index)


def _read_by_layers(every: Sequence[Operation], index: int) -> bool:
    """Whether weighted layers alone read it, at once or behind what only pools, drops or reshapes."""
    ends: list[Operation] = []
    ways = {index}
    for place, reader in enumerate(every):
        if place <= index or not ways & {k for k in reader.inputs if k is not None}:
            continue
        if reader.parameters or reader.function not in SPATIAL | DROPOUTS | VIEWS:
            ends.append(reader)
        else:
            ways.add(place)
    return bool(ends) and all(end.parameters for end in ends)


def _is_unusual(module: nn.Module | None, operation: Operation) -> bool:
    """Whether this is all of a module: one elementwise function, and no parameters."""
    if module is None or operation.function not in UNUSUAL:
        return False
    return not list(module.children()) and not list(module.parameters())


def _as_activation(operation: Operation, fed_by: str | None) -> Activation:
    """An operation as an activation of which nothing was measured."""
    return Activation(
        module=operation.module,
        call=operation.call,
        function=operation.function,
        input_rms=math.nan,
        input_mean=math.nan,
        output_rms=operation.output_rms if operation.output_rms is not None else math.nan,
        derivative_rms=None,
        saturated_share=None,
        dead_share=None,
        dead_units=None,
        units=operation.output_shape[-1] if operation.output_shape else None,
        elements=math.prod(operation.output_shape),
        fed_by=fed_by,
    )


def is_own_module(patient: Patient, activation: Activation) -> bool:
    """Whether the activation is a module of its own (``nn.ReLU``) and not a call in a forward."""
    module = module_at(patient, activation.module)
    if module is None:
        return False
    own = type(module).__module__ == "torch.nn.modules.activation"
    return own or activation.function in UNUSUAL


def held_function(patient: Patient, activation: Activation) -> str | None:
    """The dotted name under which a module keeps this activation as a plain function, if it does."""
    module = module_at(patient, activation.module)
    for name, value in vars(module).items() if module is not None else ():
        called = getattr(value, "__name__", None)
        if callable(value) and called and activation_name(called) == activation.function:
            return f"{activation.module}.{name}" if activation.module else name
    return None


def operation_of(patient: Patient, activation: Activation) -> Operation | None:
    """The operation of the trace that made this activation's output.

    Of several calls in one forward the one at the same place in the order, or fed by the same layer.
    """
    trace = patient.diagnosis.trace
    key = activation.module, activation.call, activation.function
    ran = [o for o in trace.operations if (o.module, o.call, _named(o)) == key]
    alike = [a for a in trace.activations if (a.module, a.call, a.function) == key]
    places = [place for place, one in enumerate(alike) if one is activation]
    if places and len(alike) == len(ran):
        return ran[places[0]]
    fed = [o for o in ran if activation.fed_by in makers(patient, o)]
    return next(iter(fed or ran), None)


def _named(operation: Operation) -> str:
    return activation_name(operation.function) or operation.function


def makers(patient: Patient, operation: Operation) -> list[str]:
    """The modules that ran the operations whose outputs this one reads."""
    every = patient.diagnosis.trace.operations
    return [every[k].module for k in operation.inputs if k is not None]


def flow(patient: Patient) -> Dataflow:
    """The forward operations as a graph."""
    return Dataflow(patient.diagnosis.trace)


def optimizer_of(patient: Patient) -> OptimizerReading | None:
    """What the optimizer is set to; a factory is asked for one over a copy's parameters."""
    made = made_optimizer(patient)
    return None if made is None else read_optimizer(*made)


def made_optimizer(patient: Patient) -> tuple[torch.optim.Optimizer, nn.Module] | None:
    """The optimizer, or what the factory makes, and the model whose parameters it has."""
    if patient.optimizer is None:
        return None
    if isinstance(patient.optimizer, torch.optim.Optimizer):
        return patient.optimizer, body(patient)
    return over_a_copy(patient.optimizer, body(patient))


def largest_rate(reading: OptimizerReading) -> float:
    """The largest learning rate of any group; zero where none is set."""
    return max((group.lr or 0.0 for group in reading.groups), default=0.0)


def isometric_rate(patient: Patient) -> float | None:
    """The rate that an isometric net of this depth bears, where it is below the user's own.

    Every layer of such a net moves its output by as much, so that the output moves by the depth
    times what one layer does: the rate falls as one over the depth. It is a short factor of the
    user's own (two digits; the rule is no sharper), so that whoever writes it down writes just that.
    """
    reading, layers = optimizer_of(patient), depth(patient)
    if reading is None or layers <= SHALLOW:
        return None
    adaptive = any(group.betas for group in reading.groups)
    bound = (ISOMETRIC_ADAM if adaptive else ISOMETRIC_SGD) / layers
    largest = largest_rate(reading)
    factor = float(f"{bound / largest:.2g}") if bound < largest else 1.0
    return largest * factor if factor < 1 else None


def samples(patient: Patient) -> int:
    """How many samples a batch has; one where that is not known."""
    return patient.diagnosis.trace.conditions.batch_size or 1


def gradient_scale(patient: Patient) -> tuple[float, float]:
    """Norm of the whole gradient, and the smallest rms of a tensor that gets any (NaN: none)."""
    seen = patient.diagnosis.trace.parameters
    norms = [p.gradient_norm for p in seen if p.gradient_norm]
    smallest = min((p.gradient_rms for p in seen if p.gradient_rms), default=math.nan)
    return math.hypot(*norms), smallest
