"""Where the program takes its model from, if it does not make it itself.

A training that makes its own model goes through that place, too: the ``__init__`` of an object that
holds the model, a function that builds it, or the statements of the file. Lines in the program's
function would not reach it.
"""

import ast
from typing import Any

from unvanish.treatment.patch.births import Births, model_of
from unvanish.treatment.patch.block import Uncut
from unvanish.treatment.patch.functions import own_name, resolver
from unvanish.treatment.patch.home import Home
from unvanish.treatment.patch.modules import Load
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.program import Program, function_of, parts_of, single_return
from unvanish.treatment.patch.readings import Readings, is_same
from unvanish.treatment.patch.source import Source
from unvanish.treatment.patch.statements import bound_value, changes, inside, stored


def home_of(program: Program, births: Births, load: Load) -> Home | None:
    """The place that the program takes its model from; None where it makes it, or none is known."""
    if births.trained or not _made_alone(births):
        return None  # what is written where the model is made would be trained, or done to others
    for found in (_file, _init, _builder):
        try:
            return found(program, load)
        except Uncut:
            continue
    return None


def _made_alone(births: Births) -> bool:
    """Whether the call that makes the model makes no other one."""
    site = births.site(model_of(births.made))
    return site is None or sum(births.sites.get(id(born)) == site for born in births.all) == 1


def _file(program: Program, load: Load) -> Home:
    """The statements of the program's file, where the model is one of its names."""
    written = Readings(program, program.source).all()
    if any(changes(statement, written.get("model", "")) for statement in program.body):
        raise Uncut("the program changes its model")
    place = program.source, program.names, None, _executed(program.source)
    return Home(place, program, written)


def _init(program: Program, load: Load) -> Home:
    """The ``__init__`` of the object that the program takes its model from."""
    if "model" not in program.parts:
        raise Uncut("the program names no model")
    root = Readings(program, program.source).behind(program.parts["model"])
    while isinstance(root, ast.Attribute):
        root = root.value
    if not isinstance(root, ast.Name):
        raise Uncut("no object holds the model")
    source, names, function = _class_start(program, _made_once(program, root.id), load)
    if any(isinstance(node, ast.Return) for node in inside(function)):
        raise Uncut("it returns early")
    owner = own_name(function)
    readings = Readings(program, source, root.id, owner, function)
    return Home((source, names, function, function.body), program, readings.all(), owner)


def _made_once(program: Program, name: str) -> ast.Call:
    """The call that makes an object which nothing changes before the program returns."""
    for body in (program.body, _executed(program.source)):
        bound = bound_value(body, name)
        if bound is None:
            continue
        others = [*body[: bound[0]], *body[bound[0] + 1 :], *program.body]
        others = [s for s in others if s is not body[bound[0]]]
        if isinstance(bound[1], ast.Call) and not any(changes(s, name, name) for s in others):
            return bound[1]
    raise Uncut("no single call makes the object that holds the model")


def _class_start(
    program: Program, call: ast.Call, load: Load
) -> tuple[Source, Names, ast.FunctionDef]:
    made = _called(program, call)
    start = vars(made).get("__init__") if isinstance(made, type) else None
    source, names, function = function_of(start, load)  # an inherited start is other classes', too
    if not function.args.args:
        raise Uncut("it has no name for its object")
    return source, names, function


def _builder(program: Program, load: Load) -> Home:
    """The function that builds what the program returns, all of it or the model with other things."""
    call, keys = _building(program)
    source, names, function = function_of(_called(program, call), load)
    body, back = single_return(function)
    assert back.value is not None
    if keys is None:
        parts = parts_of(back.value)
    else:
        several = isinstance(back.value, ast.Tuple) and len(keys) > 1
        listed = back.value.elts if several and isinstance(back.value, ast.Tuple) else [back.value]
        parts = {key: part for key, part in zip(keys, listed, strict=False) if key is not None}
    written = {
        key: source.segment(part)
        for key, part in parts.items()
        if is_same(key, program.made_of(key), part)
    }
    return Home((source, names, function, body), program, written)


def _building(program: Program) -> tuple[ast.Call, list[str | None] | None]:
    """The call that gives the model, and which of its results is what (None: as in the return)."""
    if isinstance(program.back.value, ast.Call) and not program.parts:
        return program.back.value, None
    model, place = program.parts.get("model"), program.changed_at()
    if not isinstance(model, ast.Name) or place is None or place != program.bound_at("model"):
        raise Uncut("the program changes its model")
    statement = program.body[place]
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        raise Uncut("the model comes from no call")
    target = statement.targets[0]
    names = target.elts if isinstance(target, ast.Tuple) else [target]
    texts = [program.source.segment(name) for name in names]
    if len(statement.targets) > 1 or texts.count(model.id) != 1:
        raise Uncut("the model has several names")
    keys = {part.id: key for key, part in program.parts.items() if isinstance(part, ast.Name)}
    kept = [text if sum(text in stored(s) for s in program.body) == 1 else "" for text in texts]
    return statement.value, [keys.get(text) for text in kept]


def _called(program: Program, call: ast.Call) -> Any:
    try:
        return resolver(program.called)(program.source.segment(call.func))
    except (NameError, AttributeError) as error:
        raise Uncut("what is called is not known") from error


def _executed(source: Source) -> list[ast.stmt]:
    """The statements of a file that run when it is imported."""
    return [statement for statement in source.tree.body if not _is_main(statement)]


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test)
    )
