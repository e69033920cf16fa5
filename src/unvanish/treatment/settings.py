"""Plans in words: their edits, and what tells those of the same remedies apart."""

from collections.abc import Iterator, Sequence
from typing import Any

from unvanish.languages import figure, filled
from unvanish.languages import gettext as _
from unvanish.surgery.describe import describe
from unvanish.surgery.edits import ARCHITECTURE, Edit

_MOST = 3
_USUAL = "critical_()"
"""New values are these where nothing is said."""


def settings(edits: Sequence[Edit]) -> list[str]:
    """The settings of a plan in words, each once."""
    said = (setting for edit in at_one_step_size(edits) for setting in _settings(edit))
    return list(dict.fromkeys(said))


def told(edit: Edit, scales: bool) -> str:
    """An edit in one line; ``scales``: it is there for what its layers read, where it says so."""
    said = describe(edit)
    if scales and edit.where and edit.action == "initialise" and said.endswith(_USUAL):
        said = filled(_("{edit}; the inputs' mean and scale go into the weights"), edit=said)
    return said


def at_one_step_size(edits: Sequence[Edit]) -> list[Edit]:
    """The edits with all that only multiply the step size as one, where the last of them stands."""
    factor, last = 1.0, None
    for place, edit in enumerate(edits):
        own = factor_of(edit)
        if own is not None:
            factor, last = factor * own, place
    whole = Edit(action="optimizer", options={"lr_factor": factor})
    return [
        whole if place == last else edit
        for place, edit in enumerate(edits)
        if place == last or factor_of(edit) is None
    ]


def factor_of(edit: Edit) -> float | None:
    """What an edit multiplies every step size by; ``None`` where it does anything else."""
    if edit.action != "optimizer" or edit.where or set(edit.options) != {"lr_factor"}:
        return None
    factor: Any = edit.options["lr_factor"]
    return float(factor)


def _settings(edit: Edit) -> Iterator[str]:
    if edit.action in ("optimizer", "step") and edit.where:
        return
    if edit.action in ("optimizer", "step", "fill", "initialise"):
        how = describe(edit).partition(": ")[2]
        if how != _USUAL:
            yield how
    if edit.action == "initialise" and edit.where:
        yield filled(_("only {places}"), places=_listed(edit.where))
    if edit.action == "scale":
        yield figure(edit.options["factor"], ".4g")
    if edit.action in ARCHITECTURE and edit.part is not None:
        kind = edit.part.type.rpartition(".")[2]
        if kind != "Identity":
            yield kind


def _listed(names: Sequence[str]) -> str:
    """Places, of many the first, the last and how many."""
    if len(names) <= _MOST:
        return ", ".join(names)
    return f"{names[0]}, {names[1]}, ... {names[-1]} ({len(names)})"
