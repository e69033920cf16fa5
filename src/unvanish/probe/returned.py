"""Hear what every module returns."""

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from torch import nn


@contextlib.contextmanager
def heard(model: nn.Module, listen: Callable[[str, Any], None]) -> Generator[None]:
    """While this is entered, ``listen`` gets the path and the output of each module that ends."""
    with contextlib.ExitStack() as hooks:
        for path, module in model.named_modules():

            def hook(module: nn.Module, arguments: Any, output: Any, path: str = path) -> None:
                listen(path, output)

            hooks.callback(module.register_forward_hook(hook).remove)
        yield
