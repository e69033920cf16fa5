"""Which call in the source of a forward an operation of the trace is: one of several may be meant."""

import ast
import inspect
from types import FunctionType

from torch import nn

from unvanish.errors import UnvanishError
from unvanish.nn.extended import inside_extension
from unvanish.remedies.chart import module_at
from unvanish.remedies.drafts import rewritten
from unvanish.remedies.remedy import Patient
from unvanish.surgery.calls import EXCHANGEABLE
from unvanish.surgery.edits import Edit, Part
from unvanish.surgery.rewriting import functions_called, method_source
from unvanish.trace import Operation


def rewritten_call(patient: Patient, operation: Operation, by: Part | str) -> Edit | None:
    """The exchange of the call that ran as this operation, and of no other call of its function.

    The forward is looked into, and where it has none, the methods that it calls on itself.
    ``None`` where no function is called that can be exchanged, or the source does not say which of
    its calls it is: it has another number of them than ran, as loops and conditions make it.
    """
    function = operation.function
    if function not in EXCHANGEABLE:
        return None
    ran = calls_like(patient, operation)
    written = written_calls(patient, operation)
    if written is None:
        return rewritten(operation.module, function, by) if len(ran) == 1 else None
    method = "forward" if "forward" in written else next(iter(written), "")
    if written.get(method) != len(ran) or (method != "forward" and len(written) > 1):
        return None
    nth = ran.index(operation) if len(ran) > 1 else None
    return rewritten(operation.module, function, by, nth=nth, method=method)


def only_call(patient: Patient, operation: Operation, by: Part | str) -> Edit | None:
    """The exchange of the only call of this function in a module's source, however often it ran.

    ``None`` where there are several, and more than one of them may have run.
    """
    written = written_calls(patient, operation) or {}
    if list(written.values()) == [1] and operation.function in EXCHANGEABLE:
        return rewritten(operation.module, operation.function, by, method=next(iter(written)))
    alone = len(calls_like(patient, operation)) == 1
    return rewritten_call(patient, operation, by) if alone else None


def calls_like(patient: Patient, operation: Operation) -> list[Operation]:
    """What the same run of the same module called of this function, in order."""
    key = operation.module, operation.call, operation.function
    every = patient.diagnosis.trace.operations
    return [o for o in every if o.inside and (o.module, o.call, o.function) == key]


def written_calls(patient: Patient, operation: Operation) -> dict[str, int] | None:
    """How often the source calls the function, by method; ``None`` where it cannot be read.

    Methods are the forward and those that it calls on itself.
    """
    module = module_at(patient, operation.module)
    if module is None:
        return None
    try:
        counts = {
            method: functions_called(module, method).count(operation.function)
            for method in _methods_run(module)
        }
    except UnvanishError:
        return None
    return {method: count for method, count in counts.items() if count}


def _methods_run(module: nn.Module) -> list[str]:
    """The forward, and the methods of the class that it calls on itself, and they in their turn."""
    found = ["forward"]

    def look(base: type[nn.Module]) -> type[nn.Module]:
        for method in found:  # it grows on the way
            called = _called_on_itself(base, method)
            found.extend(name for name in dict.fromkeys(called) if name not in found)
        return base

    inside_extension(type(module), look)
    return found


def _called_on_itself(base: type[nn.Module], method: str) -> list[str]:
    """Plain methods of the user's own class that a method calls; torch's own are none."""
    function, source = method_source(base, method)
    own = next(iter(function.__code__.co_varnames), "self")
    return [
        node.func.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == own
        and isinstance(inspect.getattr_static(base, node.func.attr, None), FunctionType)
        and not hasattr(nn.Module, node.func.attr)
    ]
