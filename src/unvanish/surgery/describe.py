"""An edit in one line."""

from unvanish.languages import figure, filled, marked, ngettext
from unvanish.languages import gettext as _
from unvanish.surgery.calls import NOTHING
from unvanish.surgery.edits import Edit, Scalar

_SENTENCES = {
    "initialise": marked("initialise {places} anew: {method}({rest})"),
    "scale": marked("multiply {places} by {factor}"),
    "fill": marked("set {places}: {rest}"),
    "replace": marked("replace {places} by {part}"),
    "rewrite": marked("in {places}, call {by} instead of {function}"),
    "leave out": marked("in {places}, leave {function} out"),
    "before": marked("put {part} before {places}"),
    "behind": marked("put {part} behind {places}"),
    "wrap": marked("put a gated skip ({kind}) around {places}"),
    "register": marked("register {places} with the model"),
    "set": marked("set {rest} on {places}"),
    "optimizer": marked("optimizer: {rest}"),
    "step": marked("in each training step: {rest}"),
    "advice": "{text}",
}


def describe(edit: Edit) -> str:
    """One line, in the language of the moment: what is done, where, with which numbers.

    >>> describe(Edit(action="optimizer", options={"lr": 0.0003}))
    'optimizer: lr = 0.0003'
    """
    known = ("method", "factor", "by", "function", "kind", "text")
    words = {name: _shown(edit.options.get(name)) for name in known}
    rest = {n: v for n, v in edit.options.items() if n not in known and n != "before"}
    if edit.action == "rewrite" and edit.part is not None:
        words["by"] = edit.part.expression()
    if edit.action == "optimizer" and edit.where:
        said = filled(_("optimizer: add {places}"), places=_places(edit.where))
        return said + (f", {_listed(rest)}" if rest else "")
    action: str = edit.action
    if action == "insert":
        action = "before" if edit.options.get("before") else "behind"
    if action == "rewrite" and edit.options.get("by") == NOTHING:
        action = "leave out"
    return filled(
        _(_SENTENCES[action]),
        places=_places(edit.where),
        part=edit.part.expression() if edit.part is not None else "",
        rest=_listed(rest),
        **words,
    )


def _places(names: tuple[str, ...]) -> str:
    shown = [name or _("the model") for name in names] or [_("the model")]
    if len(shown) <= 3:
        return ", ".join(shown)
    many = ngettext(
        "{first}, {second}, ... {last} ({count} places)",
        "{first}, {second}, ... {last} ({count} places)",
        len(shown),
    )
    return filled(many, first=shown[0], second=shown[1], last=shown[-1], count=len(shown))


def _listed(options: dict[str, Scalar]) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in options.items())


def _shown(value: Scalar) -> str:
    return figure(value, ".4g") if isinstance(value, float) else str(value)
