"""What modules are called with while forward passes run."""

import contextlib
from collections.abc import Callable, Generator, Iterable
from typing import Any

from torch import Tensor, nn

from unvanish.batches import tensors_in


@contextlib.contextmanager
def values_read(model: nn.Module, names: Iterable[str]) -> Generator[dict[str, list[Tensor]]]:
    """While this is entered, the first floating input of each call of these modules, by name."""
    read: dict[str, list[Tensor]] = {name: [] for name in names}
    handles: list[Any] = []
    try:
        for name, found in read.items():
            module = model.get_submodule(name)
            handles.append(module.register_forward_pre_hook(_note(found)))
        yield read
    finally:
        for handle in handles:
            handle.remove()


def _note(read: list[Tensor]) -> Callable[[nn.Module, Any], None]:
    def hook(module: nn.Module, given: Any) -> None:
        floats = [t for t in tensors_in(given) if t.is_floating_point()]
        read.extend(t.detach() for t in floats[:1])

    return hook
