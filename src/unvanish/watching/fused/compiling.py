"""How kernels are compiled, and how they turn an address into entries."""

# numba has no type annotations; pyright would ask for them in every line below.
# pyright: basic, reportPrivateImportUsage=false
from collections.abc import Callable
from typing import Any

from numba import carray, njit, types
from numba.extending import intrinsic


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on first use, without the lock of Python; keep the machine code on disk.

    Where no folder can be written it is compiled anew in every process.
    """
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:
        return njit(nogil=True)(function)


def in_vectors(function: Callable[..., Any]) -> Any:
    """A function of compiled code that is written in the compiler's own instructions."""
    return intrinsic(function)


def _entries_at(entry: Any) -> Any:
    @in_vectors
    def pointer(_context: Any, _address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return types.CPointer(entry)(types.uint64), build

    @njit(inline="always")
    def entries(address, count):
        return carray(pointer(address), count)

    return entries


as_float = _entries_at(types.float32)
as_double = _entries_at(types.float64)
as_int16 = _entries_at(types.int16)
as_int32 = _entries_at(types.int32)
as_int64 = _entries_at(types.int64)
