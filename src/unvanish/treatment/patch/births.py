"""Where in the source each module and optimizer of a program was made.

The program is run once more and the interpreter reports every call (``sys.setprofile``): at the
innermost ``__init__`` of a module, the frame that called its class stands at an instruction whose
span in the source the compiler noted (PEP 657). That names the very call expression, in a loop, in
a helper or behind a factory alike, and all modules that one expression made.
"""

import copy
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, cast

import torch
from torch import nn

from unvanish.randomness import seeded
from unvanish.treatment.patch.source import Site

_INITS: frozenset[CodeType] = frozenset(
    inspect.unwrap(made.__init__).__code__ for made in (nn.Module, torch.optim.Optimizer)
)
_DEEPCOPY = copy.deepcopy.__code__


@dataclass(frozen=True, slots=True)
class Named:
    """A module as a function calls it at one moment, and the ids of its parameters then."""

    text: str
    module: nn.Module
    held: frozenset[int]


@dataclass(slots=True)
class Births:
    """What a run of the program made, and where.

    ``made`` is what it returned; ``sites`` the place of each object by its ``id``; ``all`` keeps
    every object alive, so that no id is given twice; ``origins`` leads from the id of a module
    that ``copy.deepcopy`` made to the module that it was copied from. ``trained`` says whether an
    optimizer took a step: then what the model computed on the way is in its values. ``named`` has,
    for each optimizer, what the modules were called where it was made, with their parameters then;
    ``ways``, for each object, the functions that the program was in when it was made, inside out.
    """

    made: Any = None
    sites: dict[int, Site] = field(default_factory=dict[int, Site])
    all: list[Any] = field(default_factory=list[Any])
    origins: dict[int, nn.Module] = field(default_factory=dict[int, nn.Module])
    trained: bool = False
    named: dict[int, list[Named]] = field(default_factory=dict[int, list[Named]])
    ways: dict[int, list[CodeType]] = field(default_factory=dict[int, list[CodeType]])

    def original(self, module: nn.Module) -> nn.Module:
        """The module that a class made: itself, or what it was copied from, perhaps repeatedly."""
        seen: set[int] = set()
        while id(module) in self.origins and id(module) not in seen:
            seen.add(id(module))
            module = self.origins[id(module)]
        return module

    def site(self, made: object) -> Site | None:
        """The call that made a module or an optimizer, in the user's own source."""
        found = self.sites.get(id(self.original(made) if isinstance(made, nn.Module) else made))
        return found if found is not None and own(found.path) else None

    def family(self, module: nn.Module) -> list[nn.Module]:
        """All modules that the same call made, those that only served as a pattern left out."""
        site = self.sites.get(id(self.original(module)))
        patterns = {id(pattern) for pattern in self.origins.values()}
        used = (
            {id(part) for part in model_of(self.made).modules()}
            if self.made is not None
            else set[int]()
        )
        return [
            born
            for born in self.all
            if isinstance(born, nn.Module)
            and self.sites.get(id(self.original(born))) == site
            and (id(born) in used or id(born) not in patterns)
        ]


def watch(program: Callable[[], Any], seed: int) -> Births:
    """Run the program once more, from a seed, and note who made what.

    The random state and the interpreter's profile function are as before when it returns or
    raises. Whatever the program raises passes through.
    """
    births = Births()
    before = sys.getprofile()
    with seeded(seed):
        sys.setprofile(_Recorder(births))
        try:
            births.made = program()
        finally:
            sys.setprofile(before)
    return births


def own(path: str) -> bool:
    """Whether a file is the user's: there, and neither torch's, an installed package's nor Python's."""
    file = Path(path)
    if not file.is_file() or {"site-packages", "dist-packages"} & set(file.parts):
        return False
    places = [Path(torch.__file__).parent, Path(sysconfig.get_path("stdlib"))]
    return not any(file.resolve().is_relative_to(place.resolve()) for place in places)


class _Recorder:
    def __init__(self, births: Births) -> None:
        self.births = births

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code in _INITS:
            self._note_birth(frame)
        elif event == "call" and frame.f_code.co_name == "step":
            stepped = isinstance(_first(frame), torch.optim.Optimizer)
            self.births.trained = self.births.trained or stepped
        elif event == "return" and frame.f_code is _DEEPCOPY and isinstance(argument, nn.Module):
            self._note_copy(frame.f_locals.get("x"), argument)

    def _note_birth(self, frame: FrameType) -> None:
        born = _first(frame)
        caller = frame.f_back
        while caller is not None and _first(caller) is born:
            caller = caller.f_back
        self.births.all.append(born)
        self.births.ways[id(born)] = _way_to(frame)
        if caller is not None:
            site = _site(caller)
            if site is not None:
                self.births.sites[id(born)] = site
            if isinstance(born, torch.optim.Optimizer):
                self.births.named[id(born)] = list(_modules_in(caller))

    def _note_copy(self, original: Any, made: nn.Module) -> None:
        if original is made or not isinstance(original, nn.Module):
            return
        pairs = zip(original.modules(), made.modules(), strict=False)
        for old, new in pairs:
            if type(old) is type(new) and id(new) not in self.births.origins and old is not new:
                self.births.origins[id(new)] = old
                self.births.all += [old, new]


def _first(frame: FrameType) -> Any:
    """The first argument of a call: the object, of a method; through a wrapper's ``*args`` too."""
    code = frame.f_code
    if not code.co_varnames:
        return None
    first = frame.f_locals.get(code.co_varnames[0])
    if isinstance(first, tuple) and code.co_argcount == 0 and first:
        return cast(tuple[Any, ...], first)[0]
    return first


def _way_to(frame: FrameType | None) -> list[CodeType]:
    """The functions in which a frame lies, up to the watch."""
    way: list[CodeType] = []
    while frame is not None and frame.f_code is not watch.__code__:
        way.append(frame.f_code)
        frame = frame.f_back
    return way


def _modules_in(frame: FrameType) -> Iterator[Named]:
    """What a function can call modules: its names, those of its file, and attributes of its own."""
    names = {**frame.f_globals, **frame.f_locals}
    for name, value in names.items():
        inner = _attributes(value) if name in frame.f_locals else {}
        for text, found in ((name, value), *((f"{name}.{key}", v) for key, v in inner.items())):
            if isinstance(found, nn.Module) and text.replace(".", "").isidentifier():
                yield Named(text, found, frozenset(id(p) for p in found.parameters()))


def _attributes(value: Any) -> Mapping[str, Any]:
    if isinstance(value, nn.Module):
        return value._modules
    plain = hasattr(value, "__dict__") and not isinstance(value, type | ModuleType)
    return vars(value) if plain else {}


def _site(frame: FrameType) -> Site | None:
    places = list(frame.f_code.co_positions())
    index = frame.f_lasti // 2
    if not 0 <= index < len(places):
        return None
    line, end_line, column, end_column = places[index]
    if line is None or end_line is None or column is None or end_column is None:
        return None  # compiled with -X no_debug_ranges
    return Site(frame.f_code.co_filename, line, column, end_line, end_column)


def model_of(made: Any) -> nn.Module:
    """The model among what a program returned."""
    if isinstance(made, dict):
        return cast(dict[str, nn.Module], made)["model"]
    return cast(tuple[nn.Module, ...], made)[0]
