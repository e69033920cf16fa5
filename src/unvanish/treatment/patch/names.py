"""What a file calls the things of torch and unvanish, and the imports that it lacks."""

import ast
from collections.abc import Iterator

from unvanish.surgery.edits import Part
from unvanish.treatment.patch.source import Source


class Names:
    """The imports of a file, and those that new lines in it need.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "net.py"
    >>> _ = file.write_text("import torch.nn as layers")
    >>> Names(Source(file)).called("torch.nn.GELU")
    'layers.GELU'
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.used = set(_identifiers(source.tree))
        self._bound = dict(_bound(source.tree))
        self._lacking: list[str] = []

    def called(self, dotted: str, within: ast.AST | None = None) -> str:
        """How to write a dotted name of torch or unvanish here (``within``: in that function)."""
        bound = {**self._bound, **dict(_local(within))}
        for name, rest in _prefixes(dotted):
            if name in bound:
                return ".".join((bound[name], *rest))
        return self._import(dotted)

    def expression(self, part: Part, within: ast.AST | None = None) -> str:
        """A part as it is built here."""
        given = (
            f"{key}={self.expression(value, within) if isinstance(value, Part) else repr(value)}"
            for key, value in part.arguments.items()
        )
        return f"{self.called(part.type, within)}({', '.join(given)})"

    def fresh(self, name: str) -> str:
        """This name, or it with underscores, such that nothing in the file bears it; now taken."""
        while name in self.used:
            name += "_"
        self.used.add(name)
        return name

    def write_imports(self) -> None:
        """Add what is lacking to the file, where its imports of torch are."""
        for name in self._lacking:
            line = "from torch import nn" if name == "torch.nn" else f"import {name}"
            _add_import(self.source, line)
        self._lacking.clear()

    def _import(self, dotted: str) -> str:
        home, *rest = dotted.split(".")
        name, local = home, home
        if dotted.startswith("torch.nn.") and "nn" not in self.used:
            name, local, rest = "torch.nn", "nn", rest[1:]
        self._bound[name] = local
        self.used.add(local)
        self._lacking.append(name)
        return ".".join((local, *rest))


def resolved(source: Source, expression: ast.expr, within: ast.AST | None) -> str | None:
    """The dotted name that an expression such as ``F.relu`` stands for by the file's imports."""
    attributes: list[str] = []
    while isinstance(expression, ast.Attribute):
        attributes.insert(0, expression.attr)
        expression = expression.value
    if not isinstance(expression, ast.Name):
        return None
    for dotted, local in (*_bound(source.tree), *_local(within)):
        if local == expression.id:
            return ".".join((dotted, *attributes))
    return None


def _prefixes(dotted: str) -> Iterator[tuple[str, list[str]]]:
    names = dotted.split(".")
    for length in range(len(names), 0, -1):
        yield ".".join(names[:length]), names[length:]


def _bound(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Dotted name and local name of each import at the top that nothing in the file hides."""
    hidden = {
        *(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)),
        *(n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)),
    }
    for statement in _top(tree.body):
        yield from ((d, n) for d, n in _imported(statement) if n not in hidden)


def _local(within: ast.AST | None) -> Iterator[tuple[str, str]]:
    if isinstance(within, ast.FunctionDef | ast.AsyncFunctionDef):
        for statement in within.body:
            yield from _imported(statement)


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try):
            yield from _top(statement.body)


def _imported(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            top = alias.name.partition(".")[0]
            yield (alias.name, alias.asname) if alias.asname else (top, top)
    elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
        for alias in statement.names:
            yield f"{statement.module}.{alias.name}", alias.asname or alias.name


def _identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).partition(".")[0]
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name


def _add_import(source: Source, line: str) -> None:
    """Into the group of imports that holds torch's, sorted as isort does: ``import`` first."""
    imports = [s for s in source.tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
    imports = [s for s in imports if source.alone(s) and not _future(s)]
    group = _group_of_torch(source, imports)
    if not group:
        _add_below_docstring(source, line)
        return
    plain, kind = line.startswith("import"), type(ast.parse(line).body[0])
    before = [s for s in group if type(s) is kind and source.segment(s) < line]
    if before:
        source.add_after(before[-1], [line])
    elif not plain and isinstance(group[0], ast.Import):
        source.add_after([s for s in group if isinstance(s, ast.Import)][-1], [line])
    else:
        source.add_before(group[0], [line])


def _group_of_torch(
    source: Source, imports: list[ast.Import | ast.ImportFrom]
) -> list[ast.Import | ast.ImportFrom]:
    groups: list[list[ast.Import | ast.ImportFrom]] = []
    for statement in imports:
        if groups and groups[-1][-1].end_lineno == statement.lineno - 1:
            groups[-1].append(statement)
        else:
            groups.append([statement])
    for group in groups:
        if any(dotted.partition(".")[0] == "torch" for s in group for dotted, _ in _imported(s)):
            return group
    return groups[-1] if groups else []


def _future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _add_below_docstring(source: Source, line: str) -> None:
    head = [s for s in source.tree.body if _future(s)]
    first = source.tree.body[0]
    if not head and isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        head = [first]
    if head:
        source.add_after(head[-1], [line])
    else:
        source.add_before(first, [line])
