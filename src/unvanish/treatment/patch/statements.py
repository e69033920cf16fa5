"""What a statement binds and changes, as far as its own text shows it."""

import ast
from collections.abc import Iterator

_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_DEFINES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def inside(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the functions and classes in it."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, _SCOPES):
            yield from inside(node)


def stored(statement: ast.stmt) -> set[str]:
    """The names and attributes that a statement binds, as they are written: ``self.model``."""
    if isinstance(statement, _DEFINES):
        return {statement.name}
    found = set[str]()
    for node in inside(statement):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(ast.unparse(node))
        elif isinstance(node, _DEFINES):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
    return found


def changes(statement: ast.stmt, written: str, owner: str | None = None) -> bool:
    """Whether a statement binds what is written so, writes into it, or calls something for its effect.

    ``owner``: the name of the object that holds it; what is called on that may change it, too.
    """
    if isinstance(statement, _DEFINES | ast.Assert):
        return False
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return any(_names(node, written) for target in targets for node in ast.walk(target))
    return any(_names(node, written) or _calls(node, owner) for node in ast.walk(statement))


def bound_value(body: list[ast.stmt], written: str) -> tuple[int, ast.expr] | None:
    """The only statement that binds this and nothing else, by its place, and what it gives it."""
    places = [index for index, statement in enumerate(body) if written in stored(statement)]
    if len(places) != 1:
        return None
    statement = body[places[0]]
    if isinstance(statement, ast.Assign):
        targets, value = statement.targets, statement.value
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets, value = [statement.target], statement.value
    else:
        return None
    alone = len(targets) == 1 and _names(targets[0], written)
    return (places[0], value) if alone else None


def made_at(body: list[ast.stmt], written: str) -> int | None:
    """The last statement that binds this, if all that bind it give it what a call makes, alone.

    ``net = net.to(device)`` is one of those; a loop that makes several is not.
    """
    places = [index for index, statement in enumerate(body) if written in stored(statement)]
    around = [body[index] for index in places]
    nodes = [node for statement in around for node in (statement, *inside(statement))]
    given = [n for n in nodes if isinstance(n, ast.Assign | ast.AnnAssign) and _gives(n, written)]
    bound = [
        n for n in nodes if _names(n, written) and isinstance(getattr(n, "ctx", None), ast.Store)
    ]
    if any(isinstance(s, ast.For | ast.While) for s in around) or len(bound) != len(given):
        return None
    return places[-1] if places else None


def _gives(statement: ast.Assign | ast.AnnAssign, written: str) -> bool:
    """Whether a statement gives what a call makes to this and nothing else."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    alone = len(targets) == 1 and _names(targets[0], written)
    return alone and isinstance(statement.value, ast.Call)


def _names(node: ast.AST, written: str) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node) == written


def _calls(node: ast.AST, owner: str | None) -> bool:
    """Whether a method of the owner is called here, or something with the owner itself."""
    if owner is None or not isinstance(node, ast.Call):
        return False
    method = node.func.value if isinstance(node.func, ast.Attribute) else None
    return any(_names(part, owner) for part in (method, *node.args) if part is not None)
