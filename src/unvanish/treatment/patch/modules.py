"""Modules exchanged, and given other options, where the source makes them."""

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from unvanish.surgery.edits import Part, Scalar
from unvanish.treatment.patch.births import Births
from unvanish.treatment.patch.calls import drop_keyword, set_argument
from unvanish.treatment.patch.names import Names
from unvanish.treatment.patch.source import Site, Source

Load = Callable[[Path], tuple[Source, Names]]
_RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)


@dataclass(slots=True)
class Making:
    """The calls that make the modules of a model, and what each of them makes besides."""

    model: nn.Module
    births: Births
    load: Load

    def replace(self, parts: Mapping[str, Part]) -> list[str]:
        """Write these parts into the calls that make the modules of these names.

        A call is changed where everything that it makes is exchanged, and for the same. Returns
        the names for which nothing was written.
        """
        left: list[str] = []
        for site, names in self._by_site(list(parts)).items():
            if site is None or not self._complete(names) or not self._exchange(site, names, parts):
                left += names
        return left

    def insert(self, names: list[str], part: Part, *, before: bool) -> list[str]:
        """Put a part beside children of a Sequential where they are made; returns the names left.

        As in surgery, for those without state: others keep their names only as they are.
        """
        left: list[str] = []
        for site, group in self._by_site(names).items():
            plain = site is not None and all(self._in_sequential(name) for name in group)
            whole = plain and self._complete(group) and self._under_all_names(group)
            if not whole or not self._pair(site, part, before):
                left += group
        return left

    def _in_sequential(self, name: str) -> bool:
        holder = self.model.get_submodule(name.rpartition(".")[0])
        module = self.model.get_submodule(name)
        known = bool(module.state_dict()) or isinstance(module, nn.Sequential)
        return bool(name) and type(holder) is nn.Sequential and not known

    def _pair(self, site: Site | None, part: Part, before: bool) -> bool:
        assert site is not None
        source, names = self.load(Path(site.path))
        call = source.call_at(site)
        if call is None:
            return False
        within = enclosing(source, call)
        inside = [source.segment(call), names.expression(part, within)]
        written = ", ".join(reversed(inside) if before else inside)
        sequential = names.called("torch.nn.Sequential", within)
        return source.replace(*source.span(call), f"{sequential}({written})")

    def set_options(self, names: list[str], options: Mapping[str, Scalar]) -> list[str]:
        """Write options into the calls that make these modules; returns the names left over."""
        left: list[str] = []
        for site, group in self._by_site(names).items():
            done = site is not None and self._complete(group) and self._set(site, group[0], options)
            left += [] if done else group
        return left

    def _by_site(self, names: list[str]) -> dict[Site | None, list[str]]:
        groups: dict[Site | None, list[str]] = {}
        modules = dict(self.model.named_modules(remove_duplicate=False))
        for name in names:  # a function held as an attribute is no module
            site = self.births.site(modules[name]) if name in modules else None
            groups.setdefault(site, []).append(name)
        return groups

    def _complete(self, names: list[str]) -> bool:
        """Whether these are all that one call makes, in the model and outside of it."""
        wanted = {id(self.model.get_submodule(name)) for name in names}
        made = self.births.family(self.model.get_submodule(names[0]))
        return bool(made) and all(id(module) in wanted for module in made)

    def _under_all_names(self, names: list[str]) -> bool:
        """Whether none of these stands at another place, too."""
        wanted = {id(self.model.get_submodule(name)) for name in names}
        every = self.model.named_modules(remove_duplicate=False)
        return all(name in names for name, module in every if id(module) in wanted)

    def _exchange(self, site: Site, names: list[str], parts: Mapping[str, Part]) -> bool:
        source, called = self.load(Path(site.path))
        call = source.call_at(site)
        if call is None:
            return False
        if all(self._keeps_arguments(call, name, parts[name]) for name in names):
            types = {parts[name].type for name in names}
            made = type(parts[names[0]].build())
            return len(types) == 1 and _rename(source, called, call, (types.pop(), made))
        texts = {parts[name].expression() for name in names}
        if len(texts) != 1:
            return False
        within = enclosing(source, call)
        return source.free(*source.span(call)) and source.replace(
            *source.span(call), called.expression(parts[names[0]], within)
        )

    def _set(self, site: Site, name: str, options: Mapping[str, Scalar]) -> bool:
        source, _ = self.load(Path(site.path))
        call, module = source.call_at(site), self.model.get_submodule(name)
        taken = list(_taken(type(module)))
        if call is None or not all(o in taken and hasattr(module, o) for o in options):
            return False
        return all(
            set_argument(source, call, option, taken.index(option), repr(value))
            for option, value in options.items()
        )

    def _keeps_arguments(self, call: ast.Call, name: str, part: Part) -> bool:
        """Whether the new class takes what the call gives to the old one, and means the same."""
        module, new = self.model.get_submodule(name), _taken(type(part.build()))
        listed = list(_taken(type(module)))[: len(call.args)]
        if not listed and not call.keywords:
            return False
        given = {k.arg for k in call.keywords}
        named = {n for n in given if n is not None}
        told = {*listed, *(n for n in named if n in new or n != "nonlinearity")}
        if None in given or len(listed) < len(call.args) or listed != list(new)[: len(listed)]:
            return False
        return told <= set(new) and all(
            part.arguments.get(option, new[option])
            == (getattr(module, option, _ABSENT) if option in told else new.get(option, _ABSENT))
            for option in told | set(part.arguments)
            if option in new
        )


def _taken(made: type[nn.Module]) -> dict[str, Any]:
    """The arguments of a class by name, with their defaults, without device and dtype."""
    passes_on = made.__init__ in [recurrent.__init__ for recurrent in _RECURRENT]
    taken = inspect.signature((nn.RNNBase if passes_on else made).__init__).parameters
    return {
        name: parameter.default
        for name, parameter in taken.items()
        if name not in ("self", "mode", "device", "dtype")
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _rename(source: Source, names: Names, call: ast.Call, new: tuple[str, type[nn.Module]]) -> bool:
    """Let a call make another class with the same arguments, less what only an ``nn.RNN`` takes."""
    dotted, made = new
    start, end = source.span(call.func)
    spare = {k.arg for k in call.keywords} - set(_taken(made))
    if not source.free(start, end) or not all(drop_keyword(source, call, str(k)) for k in spare):
        return False
    return source.replace(start, end, names.called(dotted, enclosing(source, call)))


_ABSENT: Any = object()


def enclosing(source: Source, node: ast.AST) -> ast.FunctionDef | None:
    """The innermost function around a node."""
    found: ast.FunctionDef | None = None
    for function in ast.walk(source.tree):
        if isinstance(function, ast.FunctionDef) and any(n is node for n in ast.walk(function)):
            found = function  # ast.walk goes outside in
    return found
