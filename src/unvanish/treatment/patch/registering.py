"""Attributes that hold layers torch does not know of, wrapped where a class assigns them."""

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from unvanish.surgery.places import parent_of
from unvanish.surgery.registering import kind_of, registered
from unvanish.treatment.patch.births import own
from unvanish.treatment.patch.functions import function_at, own_name
from unvanish.treatment.patch.modules import Load


@dataclass(slots=True)
class Holding:
    """The classes of a model's modules, and what their ``__init__`` keeps in attributes."""

    model: nn.Module
    load: Load

    def register(self, places: Iterable[str]) -> list[str]:
        """Wrap what is assigned to these attributes; returns those for which nothing was written."""
        left: list[str] = []
        written = set[tuple[type[nn.Module], str]]()
        for place in places:
            parent, name = parent_of(place)
            holder = self.model.get_submodule(parent)
            made = registered(vars(holder).get(name))
            key = type(holder), name
            if key not in written and (made is None or not self._wrap(*key, kind_of(made))):
                left.append(place)
                continue
            written.add(key)
        return left

    def _wrap(self, made: type[nn.Module], name: str, kind: str) -> bool:
        code = getattr(inspect.unwrap(vars(made).get("__init__", object())), "__code__", None)
        if code is None or not own(code.co_filename):
            return False  # an inherited start belongs to other classes, too
        source, names = self.load(Path(code.co_filename))
        begins = function_at(source, code.co_name, code.co_firstlineno)
        if begins is None or not begins.args.args or not source.compiles_to(code):
            return False
        target = f"{own_name(begins)}.{name}"
        values = [
            node.value
            for node in ast.walk(begins)
            if isinstance(node, ast.Assign)
            and [source.segment(one) for one in node.targets] == [target]
        ]
        called = names.called(kind, begins)
        return bool(values) and all(
            source.replace(*source.span(value), f"{called}({source.segment(value)})")
            for value in values
        )
