"""A block of statements that makes what the program returns, and that can take lines more."""

import ast
from collections.abc import Mapping
from typing import Any, cast

from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.spelling import folded
from unvanish.treatment.patch.statements import stored

_WIDTH, _WIDEST = 88, 100  # columns: as most formatters have it; as long as the file's own lines
KEYS = ("model", "data", "loss", "optimizer")


class Uncut(Exception):
    """Why this source cannot take an edit, as a sentence without its full stop."""


class Block:
    """Statements of one file, with names for the things that the program returns.

    ``margin`` is what stands before each of them, ``unit`` one level of indentation, ``groups`` has
    the lines to be added, each with the things that they name.
    """

    def __init__(
        self,
        source: Source,
        names: Names,
        body: list[ast.stmt],
        margin: str,
        unit: str,
        made: Any,
    ) -> None:
        self.source, self.names, self.body = source, names, body
        self.margin, self.unit, self.made = margin, unit, made
        self.groups: list[tuple[tuple[str, ...], list[str]]] = []

    @property
    def function(self) -> ast.FunctionDef | None:
        """The function around the statements; None: they are the file's own."""
        raise NotImplementedError

    def made_of(self, key: str) -> Any:
        """What the program returned under this name, in the run that was watched."""
        if isinstance(self.made, Mapping):
            return cast(Mapping[str, Any], self.made).get(key)
        named: dict[str, Any] = dict(zip(KEYS, self.made, strict=False))
        return named.get(key)

    def add(self, lines: list[str], needs: tuple[str, ...]) -> None:
        """Lines that name these things; lines that were added earlier stay above them."""
        width = max([_WIDTH, *(len(line) for line in self.source.lines)])
        room = min(width, _WIDEST) - len(self.margin)
        self.groups.append(
            (needs, [short for line in lines for short in folded(line, self.unit, room)])
        )

    def free(self, name: str) -> str:
        """This name, or it with underscores, such that it means nothing else among the statements."""
        scope = self.function or self.source.tree
        taken = {found for statement in scope.body for found in stored(statement)}
        if self.function is not None:
            taken |= {n.arg for n in ast.walk(self.function.args) if isinstance(n, ast.arg)}
        while name in taken:
            name += "_"
        return name

    def place(self, needs: tuple[str, ...]) -> int:
        """Behind which statement lines that name these things would come now."""
        return max(self.ready(named) for named in (*(named for named, _ in self.groups), needs))

    def ready(self, needs: tuple[str, ...]) -> int:
        """Behind which statement all of these things are there, the model as it is to be."""
        raise NotImplementedError

    def holds(self, needs: tuple[str, ...]) -> bool:
        """Whether all of these things can be named here."""
        raise NotImplementedError

    def read(self, key: str) -> str:
        """What to write for one of the things that the program returns."""
        raise NotImplementedError

    def local(self, key: str) -> bool:
        """Whether the name may be bound anew here."""
        raise NotImplementedError

    def bound_at(self, key: str) -> int | None:
        """Which statement binds the name of a thing last; None: none of these."""
        raise NotImplementedError

    def changed_at(self) -> int | None:
        """The last statement that binds or changes the model; None: it has no name here."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write the lines into the source."""
        raise NotImplementedError
