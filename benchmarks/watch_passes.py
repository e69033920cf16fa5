"""The passes alone: bytes read a second as a share of ``torch.sum`` over the same bytes.

Taken in turns in one process, in CPU time of one thread, so that a busy machine disturbs all alike.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.watching.fused import Passes
from unvanish.watching.fused.passes import Engine

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "24 tensors of 4 MiB": [(1 << 20,)] * 24,
    "the 50-layer MLP": [(256, 256), (256,)] * 50,
}


def _timed(call: Callable[[], Any]) -> float:
    started = time.thread_time()
    call()
    return time.thread_time() - started


def _calls(shapes: list[tuple[int, ...]], engine: Engine) -> dict[str, Callable[[], Any]]:
    weights = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    gradients: list[Tensor | None] = [torch.randn(shape) * 1e-3 for shape in shapes]
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    passes = Passes(weights, engine=engine)
    return {
        "torch.sum": lambda: [gradient.sum() for gradient in gradients if gradient is not None],
        "_foreach_norm": lambda: torch._foreach_norm(gradients),  # pyright: ignore
        "clip_grad_norm_": lambda: torch.nn.utils.clip_grad_norm_(weights, 1e9),
        "moments": lambda: passes.gradients(gradients, histogram=False).values,
        "moments and histogram": lambda: passes.gradients(gradients, histogram=True).values,
        "before_step": passes.before_step,
        "after_step": lambda: passes.after_step() if passes.before_step() is None else None,
    }


def bandwidth(shapes: str, rounds: int, engine: Engine = "numba") -> dict[str, Any]:
    """For each pass: microseconds, gigabytes a second, and share of ``torch.sum``, with quartiles."""
    calls = _calls(SHAPES[shapes], engine)
    size = 4 * sum(int(torch.Size(shape).numel()) for shape in SHAPES[shapes])
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            taken[name].append(_timed(call))
    # after_step needs a before_step, which is taken off again
    pairs = zip(taken["after_step"], taken["before_step"], strict=True)
    taken["after_step"] = [both - before for both, before in pairs]
    plain = taken["torch.sum"]
    return {
        "bytes": size,
        "rounds": rounds,
        "engine": engine,
        "passes": {
            name: {
                "microseconds": statistics.median(times) * 1e6,
                "gigabytes_per_second": size / 1e9 / statistics.median(times),
                "share_of_sum": quartiles([p / t for p, t in zip(plain, times, strict=True)]),
            }
            for name, times in taken.items()
        },
    }


def quartiles(numbers: list[float]) -> list[float]:
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return [middle, low, high]
