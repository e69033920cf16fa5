"""Compiled and parallel wrappers, seen through: the module behind them, its code as Python."""

import contextlib
import sys
import warnings
from collections.abc import Generator
from typing import cast

import torch
from torch import nn


def unwrapped(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """The module itself behind ``torch.compile`` and data-parallel wrappers, and what was said."""
    notes: list[str] = []
    while True:
        original = getattr(model, "_orig_mod", None)
        if isinstance(original, nn.Module):
            notes.append(
                "the model is compiled: the original module was observed in eager mode, "
                "compilation stays as it is"
            )
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            original = cast(nn.Module, model.module)
            notes.append(
                f"{type(model).__name__}: the wrapped module was observed on this process alone"
            )
        else:
            return model, [*notes, *_compiled_parts(model)]
        model = original


def _compiled_parts(model: nn.Module) -> list[str]:
    compiled = [
        name or "the model"
        for name, module in model.named_modules()
        if isinstance(getattr(module, "_orig_mod", None), nn.Module)
        or getattr(module, "_compiled_call_impl", None) is not None
    ]
    if not compiled:
        return []
    return [f"compiled, observed in eager mode (compilation stays as it is): {', '.join(compiled)}"]


@contextlib.contextmanager
def eager() -> Generator[None]:
    """Run compiled functions as the Python they were compiled from, so that ops can be seen."""
    if "torch._dynamo" not in sys.modules:  # nothing can be compiled, and importing it is slow
        yield
        return
    with torch.compiler.set_stance("force_eager"), warnings.catch_warnings():
        # torch warns that a compiled module meets global hooks twice; ours expect that.
        warnings.filterwarnings("ignore", message=".*when there are global hooks on modules")
        yield
