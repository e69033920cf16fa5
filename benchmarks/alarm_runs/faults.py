"""Trainings into which one fault is put, at a known step, and what may be named for it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alarm_runs.healthy import (
    ADAM,
    MOMENTUM,
    RELU,
    SGD,
    TANH,
    WIDTHS,
    Build,
    altered,
    half_scaler,
    train,
)
from alarm_runs.nets import Recurrent, Transformer, cnn, digits, mlp, residual
from alarm_runs.training import Training

AT = 60
"""The step of a fault that comes in the middle."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """``names``: findings any of which is right; the first is what was injected."""

    build: Build
    names: tuple[str, ...]
    at: int = AT


def rate_times(factor: float, build: Build) -> Fault:
    """The learning rate jumps."""
    return Fault(
        build=altered(
            build, lambda t: setattr(t, "rate", lambda step: factor if step >= AT else 1.0)
        ),
        names=("step-too-large",),
    )


def every_step(build: Build, do: Callable[[nn.Module], None], once: bool = False) -> Build:
    """From the step on (or at it), something is done to the model before each step."""

    def alter(training: Training) -> None:
        def change(step: int) -> None:
            if step == AT or (step > AT and not once):
                with torch.no_grad():
                    do(training.model)

        training.change = change

    return altered(build, alter)


def with_loss(build: Build, change: Callable[[int, Tensor, nn.Module], Tensor]) -> Build:
    """The loss is changed."""

    def alter(training: Training) -> None:
        clean = training.loss
        training.loss = lambda step: change(step, clean(step), training.model)

    return altered(build, alter)


def root_of_zero(step: int, loss: Tensor, model: nn.Module) -> Tensor:
    """Sqrt at zero in a branch that where() leaves out: finite forward, NaN backward."""
    if step < AT:
        return loss
    weight = next(p for p in model.parameters() if p.dim() == 2)
    nothing = (weight - weight.detach()).abs()
    return loss + torch.where(nothing > 0, nothing.sqrt(), 0.0 * nothing).sum()


def kill(place: int) -> Callable[[nn.Module], None]:
    """The bias before a ReLU is driven far below zero."""
    return lambda model: model[place].bias.fill_(-100.0)


def grow(factor: float) -> Callable[[nn.Module], None]:
    """All hidden weights grow a little each step: units saturate by and by."""

    def growing(model: nn.Module) -> None:
        for part in model:
            if isinstance(part, nn.Linear):
                part.weight.mul_(factor)

    return growing


def scaled_weights(build: Build, factor: float) -> Build:
    def alter(training: Training) -> None:
        for parameter in training.model.parameters():
            parameter.data.mul_(factor)

    return altered(build, alter)


def dead_from_start(training: Training) -> None:
    training.model[2].bias.data.fill_(-100.0)


def kill_block(model: nn.Module) -> None:
    model[3].up.bias.fill_(-100.0)


def kill_convolution(model: nn.Module) -> None:
    norms = [part for part in model if isinstance(part, nn.BatchNorm2d)]
    norms[1].bias.fill_(-100.0)


def single_unit(seed: int) -> Training:
    """Softmax over one unit: the gradient is exactly zero."""
    training = train(partial(mlp, (64, 16, 1)), ADAM, 1e-3)(seed)
    inputs, targets = digits()
    training.loss = lambda step: F.mse_loss(
        F.softmax(training.model(inputs[:64]), -1)[:, 0], targets[:64].float()
    )
    return training


def overflow(seed: int) -> Training:
    """Under a scaler, a NaN that no scale can cure, from the step on."""
    return with_loss(half_scaler(2000, 2.0**16), root_of_zero)(seed)


def underflow(seed: int) -> Training:
    """Float16 without a scaler, and a small loss."""
    training = half_scaler(2000)(seed)
    training.scaler = None
    clean = training.loss
    training.loss = lambda step: clean(step) * 1e-5
    return training


def regression(rate: float) -> Build:
    """Least squares at a rate a little above what is stable."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        model = nn.Linear(64, 1)
        inputs, targets = digits()
        loss: Callable[[int], Tensor] = lambda step: F.mse_loss(  # noqa: E731
            model(inputs)[:, 0], targets.float()
        )
        return Training(model=model, optimizer=SGD(model.parameters(), lr=rate), loss=loss)

    return build


def unscaled_data(seed: int) -> Training:
    """From the step on the inputs come ten thousand times larger."""
    training = train(RELU, SGD, 0.1)(seed)
    clean = training.model.forward
    now = [0]
    training.change = lambda step: now.__setitem__(0, step)
    training.model.forward = lambda x: clean(x * (1e4 if now[0] >= AT else 1.0))  # type: ignore[method-assign]
    return training


SIGMOIDS = partial(mlp, (64, *[32] * 15, 10), nn.Sigmoid)
FOUR = partial(mlp, (64, *[32] * 4, 10), nn.Sigmoid)
CHAOTIC = partial(mlp, (64, *[32] * 40, 10), nn.Tanh)
TANHS = partial(mlp, (64, *[32] * 10, 10), nn.Tanh)
DEEP = partial(mlp, (64, *[32] * 20, 10))

FAULTS: dict[str, Fault] = {
    "15 sigmoids, SGD": Fault(build=train(SIGMOIDS, SGD, 0.1), names=("depth-decay",), at=0),
    "15 sigmoids, momentum, read at every step": Fault(
        build=train(SIGMOIDS, MOMENTUM, 0.1, every=1), names=("depth-decay",), at=0
    ),
    "15 sigmoids, Adam": Fault(build=train(SIGMOIDS, ADAM, 1e-3), names=("depth-decay",), at=0),
    "60 sigmoids, SGD (float32 ends on the way)": Fault(
        build=train(partial(mlp, (64, *[16] * 60, 10), nn.Sigmoid), SGD, 0.1),
        names=("depth-decay",),
        at=0,
    ),
    "tanh weights shrink by and by": Fault(
        build=every_step(train(TANHS, SGD, 0.05), grow(0.93)), names=("depth-decay",)
    ),
    "sigmoid weights grow by and by": Fault(
        build=every_step(train(FOUR, MOMENTUM, 0.1), grow(1.15)),
        names=("step-too-large", "depth-growth"),
    ),
    "weights of a plain net x 0.5 at the start": Fault(
        build=scaled_weights(train(DEEP, SGD, 0.1), 0.5), names=("depth-decay",), at=0
    ),
    "40 chaotic tanhs": Fault(
        build=scaled_weights(train(CHAOTIC, SGD, 1e-9), 6.0),
        names=("depth-growth", "step-too-large"),
        at=0,
    ),
    "root of zero": Fault(
        build=with_loss(train(RELU, ADAM, 1e-3), root_of_zero), names=("nonfinite-backward",)
    ),
    "root of zero, once": Fault(
        build=with_loss(
            train(RELU, SGD, 0.1), lambda s, v, m: root_of_zero(s, v, m) if s == AT else v
        ),
        names=("nonfinite-backward",),
    ),
    "a NaN batch": Fault(
        build=with_loss(
            train(RELU, ADAM, 1e-3), lambda s, v, m: v * (float("nan") if s == AT else 1)
        ),
        names=("nonfinite-forward",),
    ),
    "rate x 1000, SGD": rate_times(1e3, train(RELU, SGD, 0.1)),
    "rate x 1000, momentum": rate_times(1e3, train(RELU, MOMENTUM, 0.02)),
    "rate x 1000, Adam": rate_times(1e3, train(RELU, ADAM, 1e-3)),
    "rate x 1000, Adam, tanh": rate_times(1e3, train(TANH, ADAM, 1e-3)),
    "rate x 1000, Adam, convolutions": rate_times(1e3, train(cnn, ADAM, 1e-3)),
    "rate x 1000, Adam, transformer": rate_times(1e3, train(Transformer, ADAM, 1e-3)),
    "rate x 1000, Adam, residual": rate_times(1e3, train(partial(residual, 6), ADAM, 1e-3)),
    "rate x 1000, Adam, weights read every 100 steps": rate_times(
        1e3, train(RELU, ADAM, 1e-3, every=100)
    ),
    "rate x 200, SGD, weights read every 100 steps": rate_times(
        200, train(TANH, SGD, 0.1, every=100)
    ),
    "rate x 1000, SGD, LSTM": rate_times(1e3, train(Recurrent, SGD, 0.5)),
    "rate 1 with Adam from the start": Fault(
        build=train(TANH, ADAM, 1.0), names=("step-too-large",), at=0
    ),
    "rate 100 with SGD from the start": Fault(
        build=train(TANH, SGD, 100.0), names=("step-too-large",), at=0
    ),
    "least squares, rate a little high": Fault(
        build=regression(0.05), names=("step-too-large",), at=0
    ),
    "inputs x 10,000": Fault(
        build=unscaled_data, names=("step-too-large", "nonfinite-forward", "dead-units")
    ),
    "ReLUs of a layer killed": Fault(
        build=every_step(train(partial(mlp, (64, 32, 32, 32, 10)), ADAM, 1e-3), kill(2), once=True),
        names=("dead-units",),
    ),
    "ReLUs of the first layer killed": Fault(
        build=every_step(train(RELU, SGD, 0.1), kill(0), once=True), names=("dead-units",)
    ),
    "ReLUs of a residual branch killed": Fault(
        build=every_step(train(partial(residual, 6), ADAM, 1e-3), kill_block, once=True),
        names=("dead-units",),
    ),
    "a convolution killed behind its norm": Fault(
        build=every_step(train(cnn, MOMENTUM, 0.05), kill_convolution, once=True),
        names=("dead-units",),
    ),
    "weights of a layer held at zero": Fault(
        build=every_step(train(RELU, ADAM, 1e-3), lambda m: m[2].weight.zero_()),
        names=("dead-units",),
    ),
    "a layer dead from the start": Fault(
        build=altered(train(partial(mlp, (64, 32, 32, 32, 10)), ADAM, 1e-3), dead_from_start),
        names=("dead-units",),
        at=0,
    ),
    "softmax over one unit": Fault(build=single_unit, names=("dead-units", "stuck-saddle"), at=0),
    "rate 1e-9, Adam": Fault(build=train(RELU, ADAM, 1e-9), names=("step-too-small",), at=0),
    "rate 1e-8, SGD": Fault(build=train(RELU, SGD, 1e-8), names=("step-too-small",), at=0),
    "clipped at 1e-4, SGD": Fault(
        build=train(RELU, SGD, 0.05, clip=1e-4), names=("always-clipped",), at=0
    ),
    "NaN under a loss scaler": Fault(build=overflow, names=("loss-scale-collapse",)),
    "float16 without a scaler": Fault(build=underflow, names=("half-precision-underflow",), at=0),
    "loss of 1e-12, Adam": Fault(
        build=train(RELU, ADAM, 1e-3, loss=lambda y, t: 1e-12 * F.cross_entropy(y, t)),
        names=("epsilon-dominated",),
        at=0,
    ),
    "weight decay takes over": Fault(
        build=train(partial(mlp, WIDTHS), SGD, 0.1, settings={"weight_decay": 1.0}),
        names=("weight-decay-dominates",),
        at=0,
    ),
}
