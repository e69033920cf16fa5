"""Change modules one after the other while a single forward pass goes through them."""

import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Any

import torch
from torch import Tensor, nn


@contextlib.contextmanager
def in_passing(corrections: Mapping[nn.Module, Callable[[Tensor], Tensor]]) -> Generator[None]:
    """While this is entered, each module's first output goes through its correction.

    So a layer is measured behind layers that have been corrected already: the whole net is
    calibrated in one forward pass, as LSUV does in one or more for each layer.
    """
    pending = dict(corrections)
    handles: list[Any] = []

    def hook(module: nn.Module, arguments: Any, output: Any) -> Any:
        correct = pending.pop(module, None)
        if correct is None or not isinstance(output, Tensor):
            return None
        with torch.no_grad():
            return correct(output)

    try:
        for module in corrections:
            handles.append(module.register_forward_hook(hook))
        yield
    finally:
        for handle in handles:
            handle.remove()
