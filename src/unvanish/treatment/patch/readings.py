"""What the program returns, as it is to be written in another place: ``trainer.model`` as ``self.model``."""

import ast
import builtins
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.statements import bound_value, changes, stored

_COMPUTES = (
    ast.Call | ast.Lambda | ast.Await | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
)


@dataclass
class Readings:
    """``holder`` is the program's name for an object that is called ``owner`` in ``within``.

    Without a holder the place is the file of the program itself.
    """

    program: Program
    source: Source
    holder: str | None = None
    owner: str | None = None
    within: ast.FunctionDef | None = None

    def all(self) -> dict[str, str]:
        """The source of each thing that can be named there."""
        found: dict[str, str] = {}
        for key, part in self.program.parts.items():
            same = is_same(key, self.program.made_of(key), self.behind(part))
            text = self._text(part) if same else None
            if text is not None:
                found[key] = text
        return found

    def behind(self, part: ast.expr) -> ast.expr:
        """What the program's own names for it stand for."""
        while isinstance(part, ast.Name) and part.id != self.holder:
            bound = bound_value(self.program.body, part.id)
            if bound is None:
                break
            others = [s for i, s in enumerate(self.program.body) if i != bound[0]]
            if any(changes(statement, part.id) for statement in others):
                break
            part = bound[1]
        return part

    def _text(self, part: ast.expr) -> str | None:
        source, written = self.program.source, self.behind(part)
        at, end = source.span(written)
        reads = [node for node in ast.walk(written) if isinstance(node, ast.Name)]
        text = ""
        for name in sorted(reads, key=source.span):
            new = self._name(name)
            if new is None:
                return None
            start, after = source.span(name)
            text, at = text + source.text[at:start] + new, after
        text += source.text[at:end]
        bare = isinstance(written, ast.Tuple) and source.text[source.span(written)[0]] != "("
        return f"({text})" if bare else text

    def _name(self, name: ast.Name) -> str | None:
        if name.id == self.holder:
            return self.owner
        if name.id in self._local:
            return self._text(name) if self.behind(name) is not name else None
        known = self.source is self.program.source or name.id in vars(builtins)
        return name.id if known and name.id not in self._taken else None

    @cached_property
    def _local(self) -> set[str]:
        """The names that the program's function binds."""
        return {name for statement in self.program.function.body for name in stored(statement)}

    @cached_property
    def _taken(self) -> set[str]:
        """The names that mean something else in the other place."""
        if self.within is None:
            return set()
        arguments = {node.arg for node in ast.walk(self.within) if isinstance(node, ast.arg)}
        return arguments | {name for s in self.within.body for name in stored(s)}


def is_same(key: str, made: Any, written: ast.expr) -> bool:
    """Whether an expression reads the very thing once more: nothing is computed or drawn anew."""
    if key in ("model", "optimizer"):
        return isinstance(written, ast.Name | ast.Attribute)
    if isinstance(made, nn.Module) and not made.state_dict():
        return True  # a second loss is the same loss
    return not any(isinstance(node, _COMPUTES) for node in ast.walk(written))
