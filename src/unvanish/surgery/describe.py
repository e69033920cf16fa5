"""An edit in one line of English."""

from unvanish.surgery.edits import Edit, Scalar

_SENTENCES = {
    "initialise": "initialise {places} anew: {method}({rest})",
    "scale": "multiply {places} by {factor}",
    "fill": "set {places}: {rest}",
    "replace": "replace {places} by {part}",
    "rewrite": "in {places}, call {by} instead of {function}",
    "insert": "put {part} {side} {places}",
    "wrap": "put a gated skip ({kind}) around {places}",
    "set": "set {rest} on {places}",
    "optimizer": "optimizer: {rest}",
    "step": "in each training step: {rest}",
    "advice": "{text}",
}


def describe(edit: Edit) -> str:
    """One line: what is done, where, with which numbers.

    >>> describe(Edit(action="optimizer", options={"lr": 0.0003}))
    'optimizer: lr = 0.0003'
    """
    known = ("method", "factor", "by", "function", "kind", "text")
    words = {name: _shown(edit.options.get(name)) for name in known}
    rest = {n: v for n, v in edit.options.items() if n not in known and n != "before"}
    if edit.action == "optimizer" and edit.where:
        return f"optimizer: add {_places(edit.where)}" + (f", {_listed(rest)}" if rest else "")
    return _SENTENCES[edit.action].format(
        places=_places(edit.where),
        part=edit.part.expression() if edit.part is not None else "",
        side="before" if edit.options.get("before") else "behind",
        rest=_listed(rest),
        **words,
    )


def _places(names: tuple[str, ...]) -> str:
    shown = [name or "the model" for name in names] or ["the model"]
    if len(shown) <= 3:
        return ", ".join(shown)
    return f"{shown[0]}, {shown[1]}, ... {shown[-1]} ({len(shown)} places)"


def _listed(options: dict[str, Scalar]) -> str:
    return ", ".join(f"{name} = {_shown(value)}" for name, value in options.items())


def _shown(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
