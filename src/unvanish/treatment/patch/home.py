"""The statements that make the program's model, where those are not the program's own."""

import ast
import builtins
from collections.abc import Mapping

from unvanish.treatment.patch.block import Block, Uncut
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.statements import bound_value, changes, inside, made_at, stored


class Home(Block):
    """An ``__init__``, or a file's own statements, and what they call what the program returns.

    ``written`` has the source of each thing as it reads here, ``owner`` what its attributes belong
    to (None: the names are the file's own).

    Raises:
        Uncut: no statement of these gives the model its name, or one of them trains it.
    """

    def __init__(
        self,
        place: tuple[Source, Names, ast.FunctionDef | None, list[ast.stmt]],
        program: Program,
        written: Mapping[str, str],
        owner: str | None = None,
    ) -> None:
        source, names, function, body = place
        margin = source.indentation(body[0]) if body else ""
        super().__init__(source, names, body, margin, program.unit, program.made)
        self._function, self.written, self.owner = function, written, owner
        made = made_at(body, written.get("model", ""))
        if made is None:
            raise Uncut("no statement gives the model its name")
        self._made_at = made
        if not all(source.alone(statement) for statement in body[made:]):
            raise Uncut("a line of it holds several statements")
        if any(_trains(statement) for statement in body):
            raise Uncut("the model is trained there")

    @property
    def function(self) -> ast.FunctionDef | None:
        """The ``__init__``; None: the file."""
        return self._function

    def holds(self, needs: tuple[str, ...]) -> bool:
        """Whether all of these things can be named here."""
        return all(key in self.written for key in needs)

    def read(self, key: str) -> str:
        """What to write for one of the things that the program returns.

        Raises:
            Uncut: it cannot be named here.
        """
        if key not in self.written:
            raise Uncut(f"the program returns no {key}")
        return self.written[key]

    def local(self, key: str) -> bool:
        """Whether the name may be bound anew: it is bound here."""
        return key in self.written

    def bound_at(self, key: str) -> int | None:
        """Which statement binds a thing last; 0 where none shows it, so that any of them may."""
        if key not in self.written:
            return None
        return max((place or 0 for place in self._bindings(key)), default=0)

    def changed_at(self) -> int:
        """The last statement that binds or changes the model."""
        model = self.written["model"]
        changed = [i for i, s in enumerate(self.body) if changes(s, model, self.owner)]
        return max([self._made_at, *changed])

    def call_of(self, key: str) -> ast.Call | None:
        """The call that makes a thing, where its own statement shows it."""
        bound = bound_value(self.body, self.written.get(key, ""))
        return bound[1] if bound is not None and isinstance(bound[1], ast.Call) else None

    def finish(self) -> None:
        """Write the lines into the source."""
        least = 0
        for needs, lines in self.groups:
            least = max(least, self.ready(needs))
            self.source.add_after(self.body[least], lines)

    def ready(self, needs: tuple[str, ...]) -> int:
        """Behind which statement all of these are there: the last, where none shows that it binds one."""
        last = len(self.body) - 1
        bound = [place for key in needs for place in self._bindings(key)]
        return max([self.changed_at(), *(last if place is None else place for place in bound)])

    def _bindings(self, key: str) -> list[int | None]:
        """For each name or attribute in what is written, the statement that binds it last."""
        found: list[int | None] = []
        for text in _read_in(self.written[key], self.owner):
            places = [i for i, s in enumerate(self.body) if text in stored(s)]
            found.append(places[-1] if places else None)
        return found


def _read_in(written: str, owner: str | None) -> set[str]:
    """The names or, of an owner, the attributes that an expression reads."""
    nodes = list(ast.walk(ast.parse(written, mode="eval")))
    if owner is None:
        return {n.id for n in nodes if isinstance(n, ast.Name)} - vars(builtins).keys()
    held = [n for n in nodes if isinstance(n, ast.Attribute) and _is_name(n.value, owner)]
    bare = sum(_is_name(node, owner) for node in nodes) > len(held)
    return {ast.unparse(node) for node in held} | ({owner} if bare else set())


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _trains(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    calls = (node.func for node in inside(statement) if isinstance(node, ast.Call))
    return any(
        isinstance(f, ast.Attribute) and f.attr in ("backward", "step", "fit") for f in calls
    )
