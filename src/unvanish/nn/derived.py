"""Another class for a module that exists: the same object, the same names, one method more.

Torch's own parametrizations work this way: the class of the one instance is exchanged for a class
derived from it while the program runs. Everything that belongs to the instance stays: parameters,
buffers, children, hooks, mode, attributes, ``isinstance``.
"""

import weakref
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from torch import nn

Maker = Callable[..., type[nn.Module]]
Step = tuple[Maker, tuple[Any, ...]]

_MADE: weakref.WeakValueDictionary[Any, type[nn.Module]] = weakref.WeakValueDictionary()


class Derived(nn.Module):
    """Mixed into classes made while the program runs: copied and pickled by how they were made.

    A pickle holds the class that can be imported, and what was made of it, never code.
    """

    _lineage: ClassVar[tuple[type[nn.Module], tuple[Step, ...]]]

    def __reduce_ex__(self, protocol: Any) -> Any:
        if "_lineage" not in vars(type(self)):  # a class that can be imported itself
            return super().__reduce_ex__(protocol)
        return _instance, type(self)._lineage, cast(Any, self).__getstate__()


def derived_class(
    maker: Maker,
    arguments: tuple[Any, ...],
    base: type[nn.Module],
    mixins: tuple[type[nn.Module], ...],
    name: str,
    namespace: Callable[[], Mapping[str, Any]] = dict,
) -> type[nn.Module]:
    """The class ``name`` with the mixins before ``base``; the same one for the same wishes.

    Args:
        maker: the module-level function that calls this, ``maker(base, *arguments)``.
        arguments: hashable ones that can be pickled.
        base: the class to derive from, itself derived or not.
        mixins: which classes come before it.
        name: of the class.
        namespace: gives further methods and attributes, where the class is not known yet.
    """
    key = (base, maker, arguments)
    made = _MADE.get(key)
    if made is None:
        origin, steps = vars(base).get("_lineage", (base, ()))
        own = {
            "__module__": base.__module__,
            "__doc__": base.__doc__,
            **namespace(),
            "_lineage": (origin, (*steps, (maker, arguments))),
        }
        carriers = () if issubclass(base, Derived) else (Derived,)
        missing = tuple(mixin for mixin in mixins if not issubclass(base, mixin))
        made = cast(type[nn.Module], type(name, (*missing, *carriers, base), own))
        _MADE[key] = made
    return made


def _instance(base: type[nn.Module], steps: tuple[Step, ...]) -> nn.Module:
    made = base
    for maker, arguments in steps:
        made = maker(made, *arguments)
    return made.__new__(made)
