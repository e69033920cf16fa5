"""Functions called in a forward, exchanged in the class that defines it."""

import ast
import builtins
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from torch import nn

from unvanish.errors import UnvanishError
from unvanish.surgery.calls import NOTHING, Exchange, alone, exchanged_calls
from unvanish.surgery.edits import Edit, Part
from unvanish.treatment.patch.births import Births, own
from unvanish.treatment.patch.modules import Load
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.source import Source

FUNCTIONS: Mapping[str, str] = {
    f"torch.nn.{module}": function
    for module, function in (
        pair.split(":")
        for pair in """ReLU:relu LeakyReLU:leaky_relu ELU:elu SELU:selu CELU:celu GELU:gelu
        SiLU:silu Mish:mish ReLU6:relu6 Sigmoid:sigmoid Tanh:tanh Softplus:softplus
        Softsign:softsign Hardtanh:hardtanh Hardswish:hardswish Hardsigmoid:hardsigmoid
        LogSigmoid:logsigmoid Tanhshrink:tanhshrink Softshrink:softshrink
        Hardshrink:hardshrink""".split()
    )
}
"""The activations of torch.nn that torch.nn.functional has, too, with the same keywords."""


@dataclass(slots=True)
class Forwards:
    """The forwards of a model's modules, as source that can be changed."""

    model: nn.Module
    births: Births
    load: Load

    def rewrite(self, edit: Edit) -> list[str]:
        """Write the exchange of a function into the classes; returns the names left over.

        A class is changed where all of its modules, in the model and outside of it, are to change.
        """
        left: list[str] = []
        by_class: dict[type[nn.Module], list[str]] = {}
        for name in edit.where:
            by_class.setdefault(type(self.model.get_submodule(name)), []).append(name)
        for made, names in by_class.items():
            wanted = {id(self.model.get_submodule(name)) for name in names}
            known = (*self.births.all, *self.model.modules())
            others = [m for m in known if isinstance(m, made) and id(m) not in wanted]
            if others or not self._rewrite_class(made, edit):
                left += names
        return left

    def _rewrite_class(self, made: type[nn.Module], edit: Edit) -> bool:
        method = str(edit.options.get("method") or "forward")
        code = getattr(inspect.unwrap(getattr(made, method)), "__code__", None)
        if code is None or not own(code.co_filename) or method not in vars(made):
            return False  # an inherited forward belongs to other classes, too
        source, names = self.load(Path(code.co_filename))
        written = function_at(source, code.co_name, code.co_firstlineno)
        holder = _class_of(source, written)
        if written is None or holder is None or not source.compiles_to(code):
            return False
        write = _writer(source, names, holder, written, edit)
        if write is None:
            return False
        nth = edit.options.get("nth")
        exchange = Exchange(
            function=str(edit.options["function"]).rpartition(".")[2],
            write=write,
            resolve=resolver(inspect.unwrap(getattr(made, method))),
            nth=nth if isinstance(nth, int) else None,
        )
        return _splice(source, written, exchange) and _child(source, names, holder, edit)


def function_at(source: Source, name: str, line: int) -> ast.FunctionDef | None:
    """The function that the compiler placed at this line: its own, or that of a decorator."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            lines = [node.lineno, *(decorator.lineno for decorator in node.decorator_list)]
            if line in lines:
                return node
    return None


def resolver(function: FunctionType) -> Callable[[str], Any]:
    """What a dotted name means in a function, by its globals."""
    local = {*function.__code__.co_varnames, *function.__code__.co_cellvars}
    known: Mapping[str, Any] = {**vars(builtins), **function.__globals__}

    def resolve(text: str) -> Any:
        root, *rest = text.split(".")
        if root in local or root not in known:
            raise NameError(root)
        return functools.reduce(getattr, rest, known[root])

    return resolve


def _splice(source: Source, written: ast.FunctionDef, exchange: Exchange) -> bool:
    """Change the lines of one method; inside of a class of their own their indentation may stay."""
    start, end = source.lines_of(written)
    head = f"class _:{source.newline}"
    try:
        changed = exchanged_calls(head + source.text[start:end], exchange)
    except UnvanishError:
        return False
    return bool(exchange.done) and source.replace(start, end, changed.removeprefix(head))


def _writer(
    source: Source, names: Names, holder: ast.ClassDef, written: ast.FunctionDef, edit: Edit
) -> Callable[[str], str] | None:
    keywords: Mapping[str, Any] = {
        name: value
        for name, value in edit.options.items()
        if name not in ("function", "by", "nth", "method")
    }
    if edit.options.get("by") == NOTHING:
        return alone
    called = f"{own_name(written)}.{child_name(holder, edit.part)}" if edit.part is not None else ""
    function = FUNCTIONS.get(edit.part.type) if edit.part is not None else edit.options.get("by")
    if function is not None:
        keywords = {**keywords, **(edit.part.arguments if edit.part is not None else {})}
        called = names.called(f"torch.nn.functional.{function}", written)
    elif _init(holder) is None:
        return None
    given = "".join(f", {name}={value!r}" for name, value in keywords.items())
    return lambda argument: f"{called}({argument}{given})"


def own_name(method: ast.FunctionDef) -> str:
    """What a method calls the object that it is called on."""
    return method.args.args[0].arg if method.args.args else "self"


def child_name(holder: ast.ClassDef, part: Part) -> str:
    """The name that surgery gives to the child: that of its type, numbered where it is taken."""
    taken = {node.attr for node in ast.walk(holder) if isinstance(node, ast.Attribute)}
    name = part.type.rpartition(".")[2].lower()
    free, number = name, 2
    while free in taken or hasattr(nn.Module, free):
        free, number = f"{name}_{number}", number + 1
    return free


def _child(source: Source, names: Names, holder: ast.ClassDef, edit: Edit) -> bool:
    if edit.part is None or edit.part.type in FUNCTIONS:
        return True
    init = _init(holder)
    assert init is not None
    made = names.expression(edit.part, init)
    source.add_after(init.body[-1], [f"{own_name(init)}.{child_name(holder, edit.part)} = {made}"])
    return True


def _init(holder: ast.ClassDef) -> ast.FunctionDef | None:
    for node in holder.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return node
    return None


def _class_of(source: Source, function: ast.FunctionDef | None) -> ast.ClassDef | None:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ClassDef) and function in node.body:
            return node
    return None
