"""What a module keeps in plain attributes: counters, caches, lists that a forward appends to."""

import copy
from collections import OrderedDict, defaultdict, deque
from typing import Any, Final, cast

from torch import nn

_TORCHS: Final = frozenset(vars(nn.Module()))
_CONTAINERS: Final = (list, dict, set, deque, OrderedDict, defaultdict)
_OF_PROCESSES: Final = ("torch.nn.parallel.", "torch.distributed.", "torch._dynamo.")
"""Wrappers whose attributes go with a state outside of Python."""


class Attributes:
    """Remembers them when it is made; :meth:`restore` puts them back, and what lists held.

    A module that made layers of its own in the meantime was built by its first call, as some are:
    its attributes say so, and stay.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        of_processes = type(module).__module__.startswith(_OF_PROCESSES)
        own = vars(module).items()
        self._values = {name: value for name, value in own if name not in _TORCHS}
        self._held = [
            (value, copy.copy(value))
            for value in self._values.values()
            if type(value) in _CONTAINERS
        ]
        self._known = None if of_processes else _members(module)

    def restore(self) -> None:
        """Put back every attribute of before, and nothing else."""
        if _members(self._module) != self._known:
            return
        own = vars(self._module)
        for name in [name for name in own if name not in _TORCHS and name not in self._values]:
            del own[name]
        own.update(self._values)
        for container, before in self._held:
            _refill(container, before)


def _members(module: nn.Module) -> tuple[list[str], ...]:
    return list(module._modules), list(module._parameters), list(module._buffers)


def _refill(container: Any, before: Any) -> None:
    """Give a container what it held, if it holds something else."""
    now, then = (_entries(each) for each in (container, before))
    if len(now) == len(then) and all(a is b for a, b in zip(now, then, strict=True)):
        return
    container.clear()
    if isinstance(container, list | deque):
        cast("list[Any]", container).extend(before)
    else:
        container.update(before)


def _entries(container: Any) -> list[Any]:
    if isinstance(container, dict):
        return [part for item in cast("dict[Any, Any]", container).items() for part in item]
    return list(container)
