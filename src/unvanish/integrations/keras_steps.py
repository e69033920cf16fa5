# Keras may be absent where types are checked, and describes few of its own.
# pyright: basic, reportMissingImports=false, reportGeneralTypeIssues=false, reportArgumentType=false, reportOptionalMemberAccess=false
"""A script of Keras under ``unvanish run``: its optimizers step as torch's do, and are met as those are."""

import importlib.abc
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

LOG = logging.getLogger("unvanish")


@contextmanager
def steps_as_torch() -> Iterator[None]:
    """Inside, each Keras optimizer steps through a stand-in of torch's kind.

    Keras itself is not imported: where the script does so, its ``apply`` is exchanged then.
    """
    stand_ins: list[Any] = []
    finder = _Finder(lambda: _exchange(stand_ins))
    if "keras" in sys.modules:
        _exchange(stand_ins)
    else:
        sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)
        optimizers = getattr(sys.modules.get("keras"), "optimizers", None)
        if optimizers is not None and "apply" in vars(optimizers.Optimizer):
            del optimizers.Optimizer.apply  # it was inherited
        for stand_in in stand_ins:
            stand_in.remove()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Keras as others do, and says when it is loaded."""

    def __init__(self, loaded: Callable[[], None]) -> None:
        self._loaded, self._searching = loaded, False

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "keras" or self._searching:
            return None
        self._searching = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._searching = False
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                load(module)
                self._loaded()

            spec.loader.exec_module = exec_module
        return spec


def _exchange(stand_ins: list[Any]) -> None:
    import keras

    if keras.backend.backend() != "torch" or "apply" in vars(keras.optimizers.Optimizer):
        return
    inherited = keras.optimizers.Optimizer.apply

    def apply(self: Any, grads: Any, trainable_variables: Any = None) -> Any:
        if "apply" not in vars(self) and trainable_variables is not None:
            try:
                stand_ins.append(_stand_in(self, trainable_variables))
            except Exception as error:
                LOG.warning("a training by Keras is not watched: %s", error)
            else:
                return self.apply(grads, trainable_variables)
        return inherited(self, grads, trainable_variables)

    keras.optimizers.Optimizer.apply = apply


def _stand_in(optimizer: Any, variables: Any) -> Any:
    import keras

    from unvanish.integrations.keras import StandIn, as_module
    from unvanish.watching.owner import owner_of

    made = StandIn(optimizer, [variable.value for variable in variables])
    owner = owner_of(made)
    if isinstance(owner, keras.Model):
        made.owner = as_module(owner)
    return made
