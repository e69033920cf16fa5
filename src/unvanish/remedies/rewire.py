"""rewire: the way from the parameters to the loss without a cut."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from unvanish.batches import compute_loss
from unvanish.causes.cause import Finding
from unvanish.errors import UnvanishError
from unvanish.init.fresh import looks_trained
from unvanish.preserve import preserved
from unvanish.remedies.called import only_call, written_calls
from unvanish.remedies.chart import body, module_at, owners
from unvanish.remedies.drafts import advice, listed, replaced
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery import apply
from unvanish.surgery.calls import NOTHING
from unvanish.surgery.edits import Edit, Part
from unvanish.trace import Cut, Operation

CARD = RemedyCard(
    name="rewire",
    title="a value that goes on together with its gradient",
    what="A value goes on and its gradient does not, where it was detached, left torch (numpy, "
    "item, a new tensor made of numbers) or was computed under no_grad. A module that does "
    "nothing else than detach gives way to the identity, and the one call of detach in a forward, "
    "or in a method that it calls, is left out: the loss stays the same to the last bit, and the "
    "gradient passes. Of any other cut the place is named for its author to remove.",
    harms="Cuts that are meant: targets, statistics, the teacher of a student, straight-through "
    "estimators. What looks trained behind a cut is left as it is: without a gradient here, it was "
    "trained elsewhere.",
    reference="torch.Tensor.detach; torch.autograd, locally disabling gradient computation",
)
CARRYING = frozenset("detach detach_ data clone contiguous".split())
"""Functions whose result has the values of what they are given, all of them and in their order."""


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The value itself where a module or a call only detaches; else the cut and where it stands."""
    cuts = [cut for cut in patient.diagnosis.trace.cuts if cut.to_loss]
    concerned = [cut for cut in cuts if not set(cut.parameters).isdisjoint(finding.where)]
    paths = tuple(dict.fromkeys(c.module for c in concerned if _only_detaches(patient, c.module)))
    whole = [replaced(path, Part(type="torch.nn.Identity")) for path in paths]
    others = {cut.module: cut for cut in concerned if cut.module not in paths}
    calls = [_without_call(patient, cut) for cut in others.values()]
    edits = (*whole, *(edit for edit in calls if edit is not None))
    if edits and _are_fresh(patient, finding.where) and _same_loss(patient, edits):
        yield edits
    places = listed(dict.fromkeys(_place(patient, cut) for cut in cuts)) or listed(finding.where)
    yield advice(f"Remove the cut between these parameters and the loss: {places}.", finding.where)


def _without_call(patient: Patient, cut: Cut) -> Edit | None:
    """The module without its call of detach, where its source has one and no more of them."""
    operation = _detaching(patient, cut)
    return only_call(patient, operation, NOTHING) if operation is not None else None


def _detaching(patient: Patient, cut: Cut) -> Operation | None:
    """The first operation of the module that detached; None where the cut is another one."""
    key = cut.module, "detach"
    ran = [o for o in patient.diagnosis.trace.operations if o.inside]
    found = [o for o in ran if (o.module, o.function) == key]
    return found[0] if found and cut.operation == "detach" else None


def _place(patient: Patient, cut: Cut) -> str:
    operation = _detaching(patient, cut)
    written = written_calls(patient, operation) if operation is not None else None
    inside = " and ".join(written or ("forward",))
    return f"{cut.operation} in the {inside} of {cut.module or 'the model'}"


def _only_detaches(patient: Patient, path: str) -> bool:
    """Whether this is all of a module: one call, at one place, nothing of its own, values kept."""
    module = module_at(patient, path)
    if module is None or not path or list(module.children()) or _holds_tensors(module):
        return False
    places = [n for n, m in body(patient).named_modules(remove_duplicate=False) if m is module]
    seen = [op for op in patient.diagnosis.trace.operations if op.module == path]
    once = len({op.call for op in seen}) == 1 and len(places) == 1
    return once and all(op.function in CARRYING for op in seen)


def _holds_tensors(module: nn.Module) -> bool:
    """Parameters, buffers, and what a module keeps of what went through it: it does more, then."""
    kept = (value for value in vars(module).values() if isinstance(value, Tensor))
    return any(True for found in (module.parameters(), module.buffers(), kept) for _ in found)


def _are_fresh(patient: Patient, names: Iterable[str]) -> bool:
    """Whether all of these parameters can still be what was drawn: behind a cut nothing trains."""
    held = dict(body(patient).named_modules())
    return all(looks_trained(held[path]) is None for path in owners(patient, names))


def _same_loss(patient: Patient, edits: Plan) -> bool:
    """Whether the loss of every batch that was taken is the same to the last bit after the edits."""
    try:
        model, treated = apply(body(patient), ()), apply(body(patient), edits)
        pairs = [[_loss(patient, m, batch) for m in (model, treated)] for batch in patient.batches]
    except (UnvanishError, RuntimeError, TypeError, ValueError, AttributeError):
        return False
    return bool(pairs) and all(torch.equal(before, after) for before, after in pairs)


def _loss(patient: Patient, model: nn.Module, batch: object) -> Tensor:
    with preserved(model, patient.seed):
        return compute_loss(model, batch, patient.loss, patient.forward).detach()


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="same function",
    treats=("detached",),
    plan=plan,
)
