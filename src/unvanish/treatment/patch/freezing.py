"""Lines of the program that freeze parameters, taken away."""

import ast
from collections.abc import Iterable

from torch import nn

from unvanish.treatment.patch.places import parameters_in, place
from unvanish.treatment.patch.program import Program


def thaw(program: Program, model: nn.Module, names: Iterable[str]) -> list[str]:
    """Remove what freezes these parameters and no others; returns the parameters still frozen.

    Known are ``owner.requires_grad_(False)`` and a loop over ``owner.parameters()`` that does no
    more than that, as statements of the program's own block.
    """
    wanted = parameters_in(model, names)
    root = program.parts.get("model")
    if not isinstance(root, ast.Name):
        return wanted
    modules = [name for name, _ in model.named_modules(remove_duplicate=False)]
    parameters = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    written = {place(root.id, model, name): name for name in (*modules, *parameters)}
    left = set(wanted)
    for statement in program.body:
        owner = _frozen(program, statement)
        if owner not in written:
            continue
        held = set(parameters_in(model, [written[owner]]))
        if held and held <= set(wanted) and program.source.remove(statement):
            left -= held
    return [name for name in wanted if name in left]


def _frozen(program: Program, statement: ast.stmt) -> str | None:
    """What a statement freezes, as it is written."""
    if isinstance(statement, ast.Expr):
        return _called_on(program, statement.value)
    if not isinstance(statement, ast.For) or statement.orelse or len(statement.body) != 1:
        return None
    source, over, inner = program.source, statement.iter, statement.body[0]
    looped = source.segment(statement.target)
    if isinstance(inner, ast.Assign) and len(inner.targets) == 1:
        frozen = source.segment(inner.targets[0]) == f"{looped}.requires_grad"
        frozen = frozen and isinstance(inner.value, ast.Constant) and inner.value.value is False
    else:
        frozen = isinstance(inner, ast.Expr) and _called_on(program, inner.value) == looped
    if not frozen or not isinstance(over, ast.Call) or over.args or over.keywords:
        return None
    if isinstance(over.func, ast.Attribute) and over.func.attr == "parameters":
        return source.segment(over.func.value)
    return None


def _called_on(program: Program, value: ast.expr) -> str | None:
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
        return None
    given = [*value.args, *(keyword.value for keyword in value.keywords)]
    off = len(given) == 1 and isinstance(given[0], ast.Constant) and given[0].value is False
    if value.func.attr != "requires_grad_" or not off:
        return None
    return program.source.segment(value.func.value)
