"""What the baselines look at: statistics of a short real training run, step by step."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import torch
from corpus_check import batches, optimizer_of, step_loss
from torch import Tensor, nn

SQUASHING = (nn.Sigmoid, nn.Tanh)
RELUS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)


@dataclass
class Layer:
    """One weight tensor over the steps; what it was at the start."""

    grad_norm: list[float] = field(default_factory=list)
    grad_mean: list[float] = field(default_factory=list)
    grad_range: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)
    weight_max: list[float] = field(default_factory=list)
    variance: float = 0.0
    fan_in: int = 1
    count: int = 1
    missing: bool = False


@dataclass
class Act:
    """One activation module: shares of units over the steps."""

    kind: str
    nonpositive: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)
    tiny: list[float] = field(default_factory=list)
    beyond5: list[float] = field(default_factory=list)
    beyond_float: list[float] = field(default_factory=list)
    rho: list[float] = field(default_factory=list)
    spread: list[float] = field(default_factory=list)


@dataclass
class Recording:
    """All of it."""

    losses: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    zero_share: list[float] = field(default_factory=list)
    layers: dict[str, Layer] = field(default_factory=dict)
    acts: dict[str, Act] = field(default_factory=dict)
    output_size: float = 0.0
    nonfinite: bool = False


def correct(outputs: Any, targets: Any) -> float | None:
    """Accuracy where this is a classification with one score a class."""
    if not isinstance(outputs, Tensor) or not isinstance(targets, Tensor):
        return None
    if targets.dtype == torch.long and outputs.ndim >= 2:
        axis = -1 if outputs.shape[:-1] == targets.shape else 1
        guess = outputs.argmax(axis)
        return float((guess == targets).float().mean()) if guess.shape == targets.shape else None
    binary = bool(((targets == 0) | (targets == 1)).all()) and outputs.shape == targets.shape
    return float(((outputs > 0.5).float() == targets).float().mean()) if binary else None


def units(x: Tensor) -> Tensor:
    """Samples (and positions) by units."""
    x = x.detach().float()
    return x.transpose(0, 1).flatten(1).T if x.ndim > 3 else x.flatten(0, -2)


def watch(act: Act, given: Tensor, made: Tensor) -> None:
    inputs, outputs = units(given), units(made)
    act.nonpositive.append(float((outputs <= 0).float().mean()))
    act.idle.append(float(((outputs > 0).float().mean(0) < 0.01).float().mean()))
    high = outputs.abs().quantile(0.95, 0) if len(outputs) < 10_000 else outputs.abs().amax(0)
    act.tiny.append(float((high < 1e-5).float().mean()))
    act.beyond5.append(float((inputs.abs() > 5).float().mean()))
    low, top = (-23.0, 16.99999) if act.kind == "Sigmoid" else (-9.4999, 9.4999)
    act.beyond_float.append(float(((inputs < low) | (inputs > top)).float().mean()))
    scaled = 2 * outputs - 1 if act.kind == "Sigmoid" else outputs
    act.rho.append(float((scaled.abs().mean(0) > 0.85).float().mean()))
    act.spread.append(float(outputs.std()))


def note_gradients(record: Recording, model: nn.Module) -> None:
    zeros = total = 0
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or not parameter.requires_grad:
            continue
        layer, gradient = record.layers[name], parameter.grad
        if gradient is None:
            layer.missing = True
            continue
        gradient = gradient.to_dense() if gradient.is_sparse else gradient
        size = gradient.detach().float().abs()
        layer.grad_norm.append(float(size.norm()))
        layer.grad_mean.append(float(size.mean()))
        flat = gradient.detach().float().flatten()[:100_000]
        layer.grad_range.append(float(flat.quantile(0.95) - flat.quantile(0.05)))
        zeros, total = zeros + int((size == 0).sum()), total + size.numel()
    record.zero_share.append(zeros / total if total else 0.0)


def prepare(record: Recording, model: nn.Module) -> list[Any]:
    """Hooks on activation modules; the weights as they start."""
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and parameter.requires_grad:
            fan = parameter[0].numel()
            variance = float(parameter.detach().float().var()) if parameter.numel() > 1 else 0.0
            record.layers[name] = Layer(variance=variance, fan_in=fan, count=parameter.numel())
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, (*SQUASHING, *RELUS)):
            act = record.acts.setdefault(name, Act(type(module).__name__))
            if getattr(module, "inplace", False):
                module.inplace = False
            handles.append(
                module.register_forward_hook(
                    lambda _m, given, made, act=act: watch(act, given[0], made)
                )
            )
    return handles


def step_once(record: Recording, program: dict[str, Any], optimizer: Any, batch: Any) -> bool:
    model = program["model"]
    seen: dict[str, Any] = defaultdict(lambda: None)
    handle = model.register_forward_hook(lambda _m, _i, made: seen.__setitem__("made", made))
    optimizer.zero_grad()
    loss = step_loss(program, batch)
    handle.remove()
    record.losses.append(float(loss.detach()))
    hit = correct(seen["made"], batch[1])
    if hit is not None:
        record.accuracy.append(hit)
    if isinstance(seen["made"], Tensor):
        record.output_size = float(seen["made"].detach().float().abs().mean())
    loss.backward()
    note_gradients(record, model)
    before = {n: p.detach().clone() for n, p in model.named_parameters() if n in record.layers}
    optimizer.step()
    for name, parameter in model.named_parameters():
        if name in before:
            change = float((parameter.detach() - before[name]).float().norm())
            size = float(before[name].float().norm())
            record.layers[name].ratio.append(change / size if size else math.inf)
            record.layers[name].weight_max.append(float(parameter.detach().float().abs().max()))
    norms = [layer.grad_norm[-1] for layer in record.layers.values() if layer.grad_norm]
    fine = math.isfinite(record.losses[-1]) and all(math.isfinite(n) for n in norms)
    record.nonfinite = record.nonfinite or not fine
    return fine


def record_run(program: dict[str, Any], steps: int) -> Recording:
    """A real run of the program, recorded; stops at the first number that is not finite."""
    record, every, optimizer = Recording(), batches(program), optimizer_of(program)
    handles = prepare(record, program["model"])
    try:
        for step in range(steps):
            if not step_once(record, program, optimizer, every[step % len(every)]):
                break
    finally:
        for handle in handles:
            handle.remove()
    return record
