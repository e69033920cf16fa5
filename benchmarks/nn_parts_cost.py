"""What an adaptive activation costs beside the plain one: forward and backward, as ratios."""

import shutil
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import unvanish.nn as own

SHAPE = (256, 512)
ROUNDS = 25

PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "TailoredLeakyReLU": (lambda: own.TailoredLeakyReLU(50), lambda: nn.LeakyReLU(0.4)),
    "TailoredPReLU": (lambda: own.TailoredPReLU(50), nn.PReLU),
    "TailoredActivation(Tanh)": (lambda: own.TailoredActivation(nn.Tanh(), 50), nn.Tanh),
    "TailoredActivation(GELU)": (lambda: own.TailoredActivation(nn.GELU(), 50), nn.GELU),
    "TailoredActivation(SiLU)": (lambda: own.TailoredActivation(nn.SiLU(), 50), nn.SiLU),
    "Swish": (own.Swish, nn.SiLU),
    "TailoredSwish": (lambda: own.TailoredSwish(50), nn.SiLU),
    "TailoredSwish beside Swish": (lambda: own.TailoredSwish(50), own.Swish),
    "Rational": (lambda: own.Rational(nn.SiLU()), nn.SiLU),
}
WHERE = ("alone", "after a layer")


def pass_through(module: nn.Module, x: Tensor, pull: Tensor) -> None:
    module(x).backward(pull)


def ratios(one: nn.Module, other: nn.Module, x: Tensor, pull: Tensor) -> list[float]:
    """Time of one over time of the other, taken in turns; each the best of two."""
    found: list[float] = []
    for _ in range(5):
        pass_through(one, x, pull)
        pass_through(other, x, pull)
    for _ in range(ROUNDS):
        best = {id(one): float("inf"), id(other): float("inf")}
        for _ in range(2):
            for module in (one, other):
                started = time.perf_counter()
                pass_through(module, x, pull)
                best[id(module)] = min(best[id(module)], time.perf_counter() - started)
        found.append(best[id(one)] / best[id(other)])
    return found


def measure_cost() -> dict[str, Any]:
    """Quartiles of the ratio for each pair: eager and compiled, alone and after a Linear layer."""
    costs: dict[str, Any] = {"shape": SHAPE, "rounds": ROUNDS, "ratios": {}}
    modes = ["eager"] + (["compiled"] if shutil.which("c++") or shutil.which("g++") else [])
    torch.manual_seed(0)
    x, pull = torch.randn(*SHAPE, requires_grad=True), torch.randn(*SHAPE)
    for name, makers in PAIRS.items():
        for where in WHERE:
            for mode in modes:
                pair = [placed(maker(), where) for maker in makers]
                if mode == "compiled":
                    torch.compiler.reset()
                    pair = [torch.compile(module, fullgraph=True) for module in pair]
                found = ratios(pair[0], pair[1], x, pull)
                quartiles = [round(value, 3) for value in statistics.quantiles(found, n=4)]
                costs["ratios"].setdefault(name, {})[f"{mode}, {where}"] = quartiles
                print(f"{name}, {mode}, {where}: {quartiles}", flush=True)
    return costs


def placed(activation: nn.Module, where: str) -> nn.Module:
    if where == "alone":
        return activation
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(SHAPE[1], SHAPE[1]), activation)
