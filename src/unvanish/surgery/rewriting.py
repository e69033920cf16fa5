"""Rewrite a function that a forward calls (``F.relu(x)``) by rewriting the forward's own source.

The method alone is compiled again, among the names that it sees today; the module gets a class
derived from its own that has this method (:mod:`unvanish.nn.derived`), so its parameters, names,
hooks and ``isinstance`` stay, and no line of the user's class runs a second time. A copy and a
pickle rewrite the method again from its source; where the class cannot be imported (a script's
``__main__`` in another process), save the ``state_dict`` and the edits instead.
"""

import builtins
import inspect
import linecache
import re
import textwrap
from collections.abc import Mapping
from types import CodeType, FunctionType
from typing import Any, cast

from torch import nn
from torch.nn import functional as F

from unvanish.errors import BadInput, CannotCut
from unvanish.nn.derived import derived_class
from unvanish.nn.extended import inside_extension
from unvanish.surgery.calls import ACTIVATIONS, NOTHING, Exchange, alone, exchanged_calls
from unvanish.surgery.edits import Edit, Scalar
from unvanish.surgery.places import fitted, module_at, stop_shortcuts

_OWN = ("function", "by", "nth", "method")


def rewrite(model: nn.Module, edit: Edit) -> None:
    """Let the forward of each module at ``where`` call something else in the place of a function.

    Options: ``function`` (``"relu"``: any spelling of it), ``by`` (a function of
    ``torch.nn.functional``; further options are its keywords; ``"identity"``: the argument stands
    alone) or a part of the edit, which becomes a child; ``nth`` (only this call, from 0, in the
    order of the source), ``method`` (where to look, ``"forward"``).

    Raises:
        CannotCut: the source cannot be had or does not call the function.
    """
    for path in edit.where:
        module = module_at(model, path)
        options = dict(edit.options)
        function, by, nth, method = (options.pop(name, None) for name in _OWN)
        if not isinstance(function, str) or (edit.part is None) == (by is None):
            raise BadInput("a rewrite needs the options function and by, or function and a part.")
        if edit.part is not None:
            name = _free_name(module, edit.part.type)
            module.add_module(name, fitted(model, path, edit.part.build(), module.training))
            by = f"self.{name}"
        if nth is not None and not isinstance(nth, int):
            raise BadInput(f"nth counts calls from 0: {nth!r} is no whole number.")
        arguments = (
            str(method or "forward"),
            function,
            str(by),
            nth,
            tuple(sorted(options.items())),
        )
        stop_shortcuts(model, path)
        try:
            made = inside_extension(
                type(module), lambda base, a=arguments: rewritten_class(base, *a)
            )
        except CannotCut as error:
            raise CannotCut(f"{path or 'the model'}: {error}") from error
        module.__class__ = made


def activations_called(module: nn.Module, method: str = "forward") -> tuple[str, ...]:
    """The activation functions that a method calls, in the order of its source.

    Raises:
        CannotCut: the source cannot be had.
    """
    return tuple(name for name in functions_called(module, method) if name in ACTIVATIONS)


def functions_called(module: nn.Module, method: str = "forward") -> tuple[str, ...]:
    """All functions that a method calls and that can be exchanged, in the order of its source.

    Raises:
        CannotCut: the source cannot be had.
    """
    met: list[str] = []

    def look(base: type[nn.Module]) -> type[nn.Module]:
        function, source = method_source(base, method)
        found = Exchange(function="", write=str, resolve=resolver(function))
        exchanged_calls(source, found)
        met.extend(found.met)
        return base

    inside_extension(type(module), look)
    return tuple(met)


def rewritten_class(
    base: type[nn.Module],
    method: str,
    function: str,
    by: str,
    nth: int | None,
    keywords: tuple[tuple[str, Scalar], ...] = (),
) -> type[nn.Module]:
    """The class derived from ``base`` whose method calls ``by`` in the place of ``function``.

    Raises:
        CannotCut: the source cannot be had, or does not call the function.
    """
    arguments = (method, function, by, nth, keywords)
    return derived_class(
        rewritten_class,
        arguments,
        base,
        (),
        base.__name__,
        lambda: {method: _rewritten_method(base, *arguments)},
    )


def _rewritten_method(
    base: type[nn.Module],
    method: str,
    function: str,
    by: str,
    nth: int | None,
    keywords: tuple[tuple[str, Scalar], ...],
) -> FunctionType:
    names = [by.removeprefix("self."), *(name for name, _ in keywords)]
    if not all(name.isidentifier() for name in names):  # they become source
        raise BadInput(f"{', '.join(names)}: these are no names of a function and its keywords.")
    if not by.startswith("self.") and by != NOTHING and not callable(getattr(F, by, None)):
        raise BadInput(f"torch.nn.functional has no {by!r}: pass the name of a function of it.")
    original, source = method_source(base, method)
    given = "".join(f", {name}={value!r}" for name, value in keywords)
    own = next(iter(original.__code__.co_varnames), "self")  # whatever the method calls itself
    callee = f"{own}.{by.removeprefix('self.')}" if by.startswith("self.") else f"{_ALIAS}.{by}"
    exchange = Exchange(
        function=function,
        write=alone if by == NOTHING else lambda argument: f"{callee}({argument}{given})",
        resolve=resolver(original),
        nth=nth,
    )
    changed = exchanged_calls(source, exchange)
    if not exchange.done:
        known = ", ".join(dict.fromkeys(exchange.met)) or "no activation that is known"
        count = "" if nth is None else f" {nth + 1} times"
        raise CannotCut(
            f"{base.__name__}.{method} does not call {function}{count}: it calls {known}."
        )
    return _compiled(base, method, original, changed)


_ALIAS = "_functional"


def method_source(base: type[nn.Module], method: str) -> tuple[FunctionType, str]:
    """A method's function and its source, from the first column on.

    Raises:
        CannotCut: it is not written in Python, or its source cannot be found.
    """
    found = inspect.unwrap(getattr(base, method, cast(Any, None)))
    if not isinstance(found, FunctionType):
        raise CannotCut(f"{base.__name__} has no method {method} written in Python.")
    try:
        source = textwrap.dedent(inspect.getsource(found))
    except (OSError, TypeError) as error:
        raise CannotCut(
            f"the source of {base.__name__}.{method} cannot be found: {error}."
        ) from error
    if not source.lstrip().startswith(("def ", "@", "async ")):
        raise CannotCut(f"{base.__name__}.{method} is no def: a lambda cannot be rewritten.")
    return found, source


def _compiled(
    base: type[nn.Module], method: str, original: FunctionType, source: str
) -> FunctionType:
    """The method compiled among the names that the original sees: globals live, closures by value."""
    closed = _closure(original)
    names = [*closed, *(() if _ALIAS in closed else (_ALIAS,))]
    inside = textwrap.indent(_unmangled(original, source), "    ")
    wrapped = f"def _among({', '.join(names)}):\n{inside}\n    return {original.__name__}\n"
    title = f"<unvanish: {base.__qualname__}.{method} rewritten {len(_TITLES)}>"
    _TITLES.append(title)
    linecache.cache[title] = (len(wrapped), None, wrapped.splitlines(keepends=True), title)
    made: dict[str, Any] = {}
    try:
        code: CodeType = compile(wrapped, title, "exec", dont_inherit=True, flags=_future(original))
        exec(code, original.__globals__, made)  # the user's own method, a call in it exchanged
        function: Any = made["_among"](**closed, **{_ALIAS: F} if _ALIAS not in closed else {})
    except Exception as error:
        raise CannotCut(f"{base.__name__}.{method} cannot be compiled again: {error}") from error
    inner = inspect.unwrap(function)
    inner.__defaults__, inner.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    function.__qualname__, function.__module__ = original.__qualname__, original.__module__
    return function


_TITLES: list[str] = []


def _closure(function: FunctionType) -> dict[str, Any]:
    try:
        return {
            name: cell.cell_contents
            for name, cell in zip(
                function.__code__.co_freevars, function.__closure__ or (), strict=True
            )
        }
    except ValueError as error:
        raise CannotCut(f"a name that {function.__qualname__} closes over has no value.") from error


def _unmangled(function: FunctionType, source: str) -> str:
    """Private names (``self.__x``) as the class has spelled them: outside of it, Python does not."""
    for name in function.__code__.co_names:
        owner, mark, private = name[1:].partition("__")
        if name.startswith("_") and mark and owner and owner in function.__qualname__:
            source = re.sub(rf"\b__{re.escape(private)}\b", name, source)
    return source


def _future(function: FunctionType) -> int:
    return function.__code__.co_flags & 0x1FF0000  # from __future__ import ...


def resolver(function: FunctionType) -> Any:
    """What a dotted name means inside of the function; its own locals mean nothing yet."""
    local = set(function.__code__.co_varnames) | set(function.__code__.co_cellvars)
    known: Mapping[str, Any] = {**vars(builtins), **function.__globals__, **_closure(function)}

    def resolve(text: str) -> Any:
        root, *rest = text.split(".")
        if root in local or root not in known:
            raise NameError(root)
        value = known[root]
        for name in rest:
            value = getattr(value, name)
        return value

    return resolve


def _free_name(module: nn.Module, type_name: str) -> str:
    name = type_name.rpartition(".")[2].lower()
    free, number = name, 2
    while hasattr(module, free):
        free, number = f"{name}_{number}", number + 1
    return free
