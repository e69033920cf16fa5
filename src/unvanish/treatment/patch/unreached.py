"""What a patch of the program's own function does not reach: a training that makes its own model.

It goes through what the program goes through, too (a class, a function that builds), so that its
calls of these are seen in the files that hold them.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

from unvanish.treatment.patch.births import Births, model_of, own
from unvanish.treatment.patch.functions import function_at
from unvanish.treatment.patch.modules import Load
from unvanish.treatment.patch.names import resolved
from unvanish.treatment.patch.program import Program
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.statements import stored


def unreached(program: Program, births: Births, load: Load) -> str | None:
    """A sentence on where the training makes its own; None where none is in sight.

    Where somebody calls the program, the training is taken to have its model from there.
    """
    source, name = program.source, program.function.name
    if not source.touched(program.function) or any(_calls(source, {name}, [])):
        return None
    ways = _ways(program, births)
    lines = {(source.path.name, line) for line in _in_program_file(program, births, ways)}
    for path in {Path(way.co_filename).resolve() for way in ways} - {source.path.resolve()}:
        other, _ = load(path)
        lines |= {(path.name, line) for line in _calls(other, _names(ways), _bodies(other, ways))}
    if not lines:
        return None
    places = ", ".join(f"{file}:{line}" for file, line in sorted(lines))
    return (
        f"the training makes its own model or optimizer ({places}): let it take both from "
        f"{name}(), or what the patch changes in {name}() does not reach it."
    )


def _in_program_file(program: Program, births: Births, ways: set[CodeType]) -> Iterator[int]:
    source = program.source
    names, optimizer = _names(ways), program.made_of("optimizer")
    site = births.site(optimizer)
    call = source.call_at(site) if site is not None and _same_file(site.path, source) else None
    if any(node is call for node in ast.walk(program.function)):
        names |= {type(optimizer).__name__}
    bodies = [program.function, *_bodies(source, ways)]
    yield from _calls(source, names, bodies)
    model = program.parts.get("model")
    if isinstance(model, ast.Name) and program.bound_at("model") is None:
        yield from (s.lineno for s in source.tree.body if model.id in stored(s))


def _same_file(path: str, source: Source) -> bool:
    return Path(path).resolve() == source.path.resolve()


def _ways(program: Program, births: Births) -> set[CodeType]:
    """The user's functions that the program called on the way to its model and its optimizer."""
    made = [births.original(model_of(births.made)), program.made_of("optimizer")]
    called = {code for thing in made for code in births.ways.get(id(thing), ())}
    return {code for code in called if code is not program.code and own(code.co_filename)}


def _names(ways: set[CodeType]) -> set[str]:
    """What is called to run these: of an ``__init__``, its class."""
    named = (way.co_qualname.removesuffix(".__init__").rpartition(".")[2] for way in ways)
    return {name for name in named if name.isidentifier()}


def _bodies(source: Source, ways: set[CodeType]) -> list[ast.AST]:
    """The functions of a file that the program went through: what they call is no other way."""
    found = [function_at(source, way.co_name, way.co_firstlineno) for way in ways]
    return [function for function in found if function is not None]


def _calls(source: Source, names: set[str], without: list[ast.AST]) -> Iterator[int]:
    """The lines that call something of these names, outside of some functions."""
    skipped = {id(node) for body in without for node in ast.walk(body)}
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call) or id(node) in skipped:
            continue
        plain = isinstance(node.func, ast.Name) or resolved(source, node.func, None) is not None
        if plain and source.segment(node.func).rpartition(".")[2] in names:
            yield node.lineno
