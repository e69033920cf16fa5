"""The program's own function: where in it a line can be added, and what it calls its model."""

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any, cast

from unvanish.treatment.patch.births import own
from unvanish.treatment.patch.block import KEYS, Block, Uncut
from unvanish.treatment.patch.functions import function_at
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.statements import changes, stored


class Program(Block):
    """The function that makes and returns model, data and loss, in its source file.

    Lines are added below the last statement that changes the model, where what they name is bound
    there already, otherwise above the ``return``. Expressions in the ``return`` that they need are
    given a name above it, in the order in which they are computed, so that random draws stay.

    ``home`` is the block of statements that makes these things, where that is not this function,
    ``called`` the function itself behind its decorators, ``code`` what it was compiled to.

    Raises:
        Uncut: the function has no source of its own, or returns from several places.
    """

    def __init__(
        self, program: Callable[[], Any], made: Any, load: Callable[[Path], tuple[Source, Names]]
    ) -> None:
        source, names, found = function_of(program, load)
        body, self.back = single_return(found)
        if not source.alone(self.back):
            raise Uncut("its return shares a line with another statement")
        inner = source.indentation(found.body[0])
        unit = inner.removeprefix(source.indentation(found)) or "    "
        super().__init__(source, names, body, source.indentation(self.back), unit, made)
        self._function = found
        self.called: Any = inspect.unwrap(program)
        self.code: CodeType = self.called.__code__
        self.home: Block | None = None
        self.parts = parts_of(self.back.value)
        self._new: dict[str, str] = {}
        self._whole = ""

    @property
    def function(self) -> ast.FunctionDef:
        """The program's function itself."""
        return self._function

    def block(self, needs: tuple[str, ...]) -> Block:
        """Where lines that name these things go: where the training goes through, if possible.

        Once a line stands in the program's function all later ones do: the order is kept.
        """
        home = self.home
        return home if home is not None and not self.groups and home.holds(needs) else self

    def holds(self, needs: tuple[str, ...]) -> bool:
        """Whether the program returns all of these."""
        return all(self.made_of(key) is not None for key in needs)

    def read(self, key: str) -> str:
        """What to write for one of the things that the program returns.

        Raises:
            Uncut: it returns no such thing.
        """
        if not self.parts:
            return self._from_whole(key)
        if key not in self.parts:
            raise Uncut(f"the program returns no {key}")
        written = self.parts[key]
        if isinstance(written, ast.Name):
            return written.id
        for earlier in self.parts:
            self._name(earlier)
            if earlier == key:
                break
        return self._new[key]

    def local(self, key: str) -> bool:
        """Whether the function may bind the name anew: it is no global one."""
        written = self.parts.get(key)
        return not isinstance(written, ast.Name) or self.bound_at(key) is not None

    def bound_at(self, key: str) -> int | None:
        """Which statement beside the return binds the name of a thing last; None: elsewhere.

        Of an attribute: that of the object which holds it.
        """
        written = self.parts.get(key)
        while isinstance(written, ast.Attribute):
            written = written.value
        if not isinstance(written, ast.Name):
            return None
        places = [i for i, s in enumerate(self.body) if written.id in stored(s)]
        return places[-1] if places else None

    def changed_at(self) -> int | None:
        """The last statement that binds or changes the model; None: it has no name here."""
        model = self.parts.get("model")
        if not isinstance(model, ast.Name):
            return None
        places = [i for i, s in enumerate(self.body) if changes(s, model.id)]
        return places[-1] if places else None

    def finish(self) -> None:
        """Write the new names and lines into the source."""
        if self.home is not None:
            self.home.finish()
        least, end = -1, len(self.body)
        placed: dict[int, list[str]] = {}
        for needs, lines in self.groups:
            least = max(least, self.ready(needs))
            placed.setdefault(least, []).extend(lines)
        for place in sorted(set(placed) - {end}):
            self.source.add_after(self.body[place], placed[place])
        above = [*self._write_names(), *placed.get(end, [])]
        if above:
            self.source.add_before(self.back, above)

    def ready(self, needs: tuple[str, ...]) -> int:
        """Behind which statement all of these have a name; above the return where one has none."""
        end, changed = len(self.body), self.changed_at()
        if changed is None or not all(isinstance(self.parts.get(k), ast.Name) for k in needs):
            return end
        place = max([changed, *(self.bound_at(key) or 0 for key in needs)])
        return place if self.source.alone(self.body[place]) else end

    def _name(self, key: str) -> None:
        if key not in self._new and not isinstance(self.parts[key], ast.Name):
            self._new[key] = self.names.fresh(key)

    def _from_whole(self, key: str) -> str:
        keys = tuple(self.made) if isinstance(self.made, Mapping) else KEYS[: len(self.made)]
        if key not in keys:
            raise Uncut(f"the program returns no {key}")
        if isinstance(self.made, Mapping):
            written = self.back.value
            if not self._whole:
                named = isinstance(written, ast.Name)
                self._whole = written.id if named else self.names.fresh("made")
            return f'{self._whole}["{key}"]'
        if not self._new:
            self._new = {name: self.names.fresh(name) for name in keys}
        return self._new[key]

    def _write_names(self) -> list[str]:
        written = self.back.value
        assert written is not None
        if self._whole and not isinstance(written, ast.Name):
            return [self._rename(written, self._whole)]
        if self._new and not self.parts:
            return [self._rename(written, ", ".join(self._new.values()))]
        return [self._rename(self.parts[key], name) for key, name in self._new.items()]

    def _rename(self, written: ast.expr, name: str) -> str:
        text = self.source.cut(*self.source.span(written), name)
        if not _whole_line(text):
            text = f"({text})"
        return f"{name} = {text}"


def _whole_line(text: str) -> bool:
    try:
        ast.parse(f"_ = {text}")
    except SyntaxError:
        return False
    return True


def function_of(
    made: Any, load: Callable[[Path], tuple[Source, Names]]
) -> tuple[Source, Names, ast.FunctionDef]:
    """The source of a function of the user's, behind its decorators.

    Raises:
        Uncut: it has none, or that is another one by now.
    """
    code = getattr(inspect.unwrap(made), "__code__", None) if callable(made) else None
    if code is None or not own(code.co_filename):
        raise Uncut("the program is no function of a source file")
    source, names = load(Path(code.co_filename))
    function = function_at(source, code.co_name, code.co_firstlineno)
    if function is None or not source.compiles_to(code):
        raise Uncut("its file changed after it was loaded")
    return source, names, function


def single_return(function: ast.FunctionDef) -> tuple[list[ast.stmt], ast.Return]:
    """The only return, and the statements before it in its own block."""
    found = [
        (block[:index], statement)
        for block in _blocks(function)
        for index, statement in enumerate(block)
        if isinstance(statement, ast.Return)
    ]
    if len(found) != 1 or found[0][1].value is None:
        raise Uncut("the program returns from several places")
    return found[0]


def _blocks(statement: ast.AST) -> Iterator[list[ast.stmt]]:
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        block = cast(list[Any], getattr(statement, name, []))
        if name in ("handlers", "cases"):
            for part in block:
                yield from _blocks(part)
            continue
        yield block
        for inner in block:
            if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from _blocks(inner)


def parts_of(written: ast.expr | None) -> dict[str, ast.expr]:
    """The things that a return names one by one; empty where they come as one."""
    listed = written.elts if isinstance(written, ast.Tuple) else []
    if len(listed) in (3, 4) and not any(isinstance(e, ast.Starred) for e in listed):
        return dict(zip(KEYS, listed, strict=False))
    if isinstance(written, ast.Dict):
        keys = [key.value if isinstance(key, ast.Constant) else None for key in written.keys]
        if all(isinstance(key, str) for key in keys):
            return dict(zip(cast(list[str], keys), written.values, strict=True))
    if isinstance(written, ast.Call) and isinstance(written.func, ast.Name):
        named = {k.arg: k.value for k in written.keywords if k.arg is not None}
        if written.func.id == "dict" and not written.args and len(named) == len(written.keywords):
            return named
    return {}
