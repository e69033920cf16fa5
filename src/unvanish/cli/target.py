"""TARGET: from ``file.py:name`` or ``package.module:name`` to the arguments of a diagnosis."""

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from unvanish.cli.own_arguments import exit_status, own_arguments
from unvanish.errors import TargetError

KEYS = ("model", "data", "loss", "optimizer", "forward", "step", "steps")
_SHAPE = "(model, data, loss), (model, data, loss, optimizer) or a mapping with those keys"


def load_target(target: str) -> dict[str, Any]:
    """Call the target's function and name what it returned.

    Raises:
        TargetError: the file, module or function is not there, or returned something else.
    """
    return made_by(find_function(target), target)


def at_home(target: str) -> contextlib.AbstractContextManager[None]:
    """Around everything that runs the target's code: there ``sys.argv`` holds its name, not ours.

    That is more than the loading: other processes load it again, with these arguments, and the
    patch calls the function once more.
    """
    return own_arguments(target.rpartition(":")[0])


def find_function(target: str) -> Callable[[], Any]:
    """The function that a target names.

    Raises:
        TargetError: the file, module or function is not there.
    """
    place, separator, name = target.rpartition(":")
    if not separator or not place or not name:
        raise TargetError(
            f"TARGET {target!r} must be file.py:name or package.module:name, for example train.py:program."
        )
    with at_home(target), _no_exit(f"{place} ended the program while it was loaded"):
        module = _load_file(place) if place.endswith(".py") else _load_module(place)
    function = getattr(module, name, None)
    if function is None:
        raise TargetError(f"{place} has no function {name!r}{_nearest(module, name)}.")
    if not callable(function):
        raise TargetError(f"{target} is {_one(function)}, not a function that returns {_SHAPE}.")
    return cast(Callable[[], Any], function)


def made_by(function: Callable[[], Any], target: str) -> dict[str, Any]:
    """What the function returns, by the names that ``diagnose`` takes.

    Raises:
        TargetError: it takes arguments, raised, or returned something else.
    """
    _check_call(function, target)
    with at_home(target), _no_exit(f"{target}() ended the program"):
        try:
            made = function()
        except Exception as error:
            raise TargetError(f"{target}() raised {type(error).__name__}: {error}.") from error
    return named(made, target)


def _check_call(function: Callable[[], Any], target: str) -> None:
    """Whether it can be called as it is; of some builtins only the call itself can tell.

    Raises:
        TargetError: it asks for arguments.
    """
    name = target.rpartition(":")[2]
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise TargetError(
            f"{target} cannot be called without arguments ({error}): TARGET must take none, so add "
            f"a function that returns {name}(...) with its arguments, and name that one."
        ) from error
    except ValueError:
        return


def named(made: Any, target: str) -> dict[str, Any]:
    """What a target's function returned, by the names that ``diagnose`` takes.

    Raises:
        TargetError: it is neither a tuple of three or four nor a mapping with known keys.
    """
    if isinstance(made, Mapping):
        program = dict(cast(Mapping[str, Any], made))
        unknown = sorted(set(program) - set(KEYS))
        missing = [key for key in ("model", "data") if key not in program]
        if unknown or missing:
            said = f"unknown keys {unknown}" if unknown else f"no {', '.join(missing)}"
            raise TargetError(
                f"{target}() returned a mapping with {said}; known keys: {', '.join(KEYS)}."
            )
        return program
    if isinstance(made, tuple) and len(cast(tuple[Any, ...], made)) in (3, 4):
        return dict(zip(KEYS, cast(tuple[Any, ...], made), strict=False))
    count = f" of {len(cast(tuple[Any, ...], made))}" if isinstance(made, tuple) else ""
    raise TargetError(f"{target}() must return {_SHAPE}; it returned {_one(made)}{count}.")


@contextlib.contextmanager
def _no_exit(happened: str) -> Generator[None]:
    """A program that ends here is nothing to look at: it says so, whatever the status.

    Raises:
        TargetError: it did.
    """
    try:
        yield
    except SystemExit as leaving:
        status, said = exit_status(leaving)
        told = " ".join((said or "").split()).rstrip(".")
        how = f"status {status}, {told}" if told else f"status {status}"
        raise TargetError(
            f"{happened} ({how}): TARGET is used without arguments of its own, so put parse_args() "
            'and exit() under if __name__ == "__main__": or into main().'
        ) from leaving


def _one(thing: object) -> str:
    """``"an int"``, ``"a tuple"``: what kind of thing it is."""
    kind = type(thing).__name__
    return f"{'an' if kind[:1].lower() in 'aeio' else 'a'} {kind}"


def _load_file(place: str) -> ModuleType:
    path = Path(place)
    if not path.is_file():
        raise TargetError(f"there is no file {place}: check the path (relative to {Path.cwd()}).")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{place} cannot be loaded as a Python file.")
    module = importlib.util.module_from_spec(spec)
    # As when the script is run itself: imports of its neighbours work, its classes can be found.
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise TargetError(
            f"{place} raised {type(error).__name__} while loading: {error}."
        ) from error
    return module


def _load_module(place: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise TargetError(
            f"module {place} cannot be imported: {type(error).__name__}: {error}."
        ) from error


def _nearest(module: ModuleType, name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, [n for n in vars(module) if not n.startswith("_")], n=3)
    return f"; did you mean {', '.join(near)}?" if near else ""
