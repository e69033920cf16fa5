"""register-modules: layers that the model knows of."""

from collections.abc import Iterable

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.init.fresh import looks_trained
from unvanish.remedies.chart import body
from unvanish.remedies.drafts import advice, listed
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit
from unvanish.surgery.registering import registered

CARD = RemedyCard(
    name="register-modules",
    title="layers that the model knows of",
    what="Layers in a plain list or dictionary are no parameters of the model: nothing trains, "
    "moves or saves them. The list becomes an nn.ModuleList, the dictionary an nn.ModuleDict, a "
    "tensor an nn.Parameter, with the values that are there, and the optimizer gets them. What "
    "is held in another way, or looks trained, is named for its author to register.",
    harms="Saved files of the old model lack these weights. What was kept out on purpose (a frozen "
    "teacher) is then trained.",
    reference="torch.nn.ModuleList",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Every attribute that holds such layers, registered; which one to wrap in what."""
    model = body(patient)
    held = [s for s in patient.diagnosis.trace.strangers if s.owner == "unregistered"]
    places = [_place(model, stranger.name) for stranger in held]
    found = tuple(dict.fromkeys(place for place in places if place))
    if found and all(places):
        yield (Edit(action="register", where=found),)
    names = [s.name for s in held if s.name] or list(finding.where)
    holders = list(dict.fromkeys(found or (name.split(".")[0] for name in names)))
    what = ", ".join(f"self.{holder} = nn.ModuleList(...)" for holder in holders)
    yield advice(
        f"Keep {listed(names)} in modules that the model registers ({what}), and make the optimizer "
        "after that.",
        finding.where,
    )


def _place(model: nn.Module, name: str) -> str:
    """The attribute that holds a tensor of this name and can be registered; empty: there is none."""
    holder, path = model, list[str]()
    for part in name.split("."):
        path.append(part)
        child = holder._modules.get(part)
        if child is None:
            made = registered(vars(holder).get(part))
            return "" if made is None or _learned(made) else ".".join(path)
        holder = child
    return ""


def _learned(made: nn.Module | nn.Parameter) -> bool:
    """Whether some of it was trained elsewhere: then it may have been kept out on purpose."""
    inside = made.modules() if isinstance(made, nn.Module) else ()
    return any(looks_trained(module) is not None for module in inside)


REMEDY = Remedy(
    card=CARD,
    level="wiring",
    keep="function",
    safety="same function",
    treats=("unregistered-module",),
    plan=plan,
)
