"""Edits as remedies write them: one short call for each kind of change."""

from collections.abc import Iterable

from unvanish.remedies.remedy import Plan
from unvanish.surgery.edits import Edit, Part, Scalar


def initialise(method: str = "critical_", only: Iterable[str] = (), **keywords: Scalar) -> Edit:
    """New values by one of ``unvanish.init``'s calls, for all that may change or ``only`` these."""
    return Edit(action="initialise", where=tuple(only), options={"method": method, **keywords})


def advice(text: str, where: Iterable[str] = ()) -> Plan:
    """A plan that changes nothing and says what its author has to do, and where."""
    return (Edit(action="advice", where=tuple(where), options={"text": text}),)


def replaced(path: str, part: Part) -> Edit:
    """The module at ``path`` gives way to ``part``."""
    return Edit(action="replace", where=(path,), part=part)


def rewritten(
    path: str, function: str, by: Part | str, nth: int | None = None, method: str = "forward"
) -> Edit:
    """``function``, called in the forward at ``path``, gives way to a part or another function.

    ``nth``: only that call of it, from 0 on in the order of the source; ``method``: of another
    method than the forward.
    """
    options: dict[str, Scalar] = {"function": function}
    if method != "forward":
        options["method"] = method
    if nth is not None:
        options["nth"] = nth
    if isinstance(by, Part):
        return Edit(action="rewrite", where=(path,), part=by, options=options)
    return Edit(action="rewrite", where=(path,), options={**options, "by": by})


def inserted(path: str, part: Part, *, before: bool) -> Edit:
    """``part`` in front of the module at ``path`` or behind it."""
    return Edit(action="insert", where=(path,), part=part, options={"before": before})


def option(where: Iterable[str] = (), **options: Scalar) -> Edit:
    """Options of the optimizer, or parameters it should have."""
    return Edit(action="optimizer", where=tuple(where), options=options)


def in_step(**options: Scalar) -> Edit:
    """Something that the training step does from now on."""
    return Edit(action="step", options=options)


def listed(names: Iterable[str], most: int = 6) -> str:
    """Names in a sentence; of many the first ones and how many there are."""
    every = tuple(names)
    said = ", ".join(every[:most])
    return said if len(every) <= most else f"{said}, ... ({len(every)} in all)"
