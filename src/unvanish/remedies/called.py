"""Which call in the source of a forward an operation of the trace is: one of several may be meant."""

from unvanish.errors import UnvanishError
from unvanish.remedies.chart import module_at
from unvanish.remedies.drafts import rewritten
from unvanish.remedies.remedy import Patient
from unvanish.surgery.calls import EXCHANGEABLE
from unvanish.surgery.edits import Edit, Part
from unvanish.surgery.rewriting import functions_called
from unvanish.trace import Operation


def rewritten_call(patient: Patient, operation: Operation, by: Part | str) -> Edit | None:
    """The exchange of the call that ran as this operation, and of no other call of its function.

    ``None`` where no function is called that can be exchanged, or the source does not say which of
    its calls it is: it has another number of them than ran, as loops and conditions make it.
    """
    function = operation.function
    if function not in EXCHANGEABLE:
        return None
    ran = calls_like(patient, operation)
    written = _written(patient, operation)
    if len(ran) == 1 and written in (None, 1):
        return rewritten(operation.module, function, by)
    if written != len(ran):
        return None
    return rewritten(operation.module, function, by, nth=ran.index(operation))


def calls_like(patient: Patient, operation: Operation) -> list[Operation]:
    """What the same run of the same module called of this function, in order."""
    key = operation.module, operation.call, operation.function
    every = patient.diagnosis.trace.operations
    return [o for o in every if o.inside and (o.module, o.call, o.function) == key]


def _written(patient: Patient, operation: Operation) -> int | None:
    """How often the forward's source calls the function; ``None`` where it cannot be read."""
    module = module_at(patient, operation.module)
    try:
        return None if module is None else functions_called(module).count(operation.function)
    except UnvanishError:
        return None
