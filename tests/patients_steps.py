"""Programs whose fault is in the steps or in the scale of the data, and healthy twins of them."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from patients import Patient, Program, blobs, classify, he, plain
from torch import Tensor, nn

Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]


def trained_by(program: Program, make: Optimizer, steps: int = 20) -> Program:
    """The program with an optimizer over its model and real steps granted."""
    parameters = [p for p in program["model"].parameters() if p.requires_grad]
    return {**program, "optimizer": make(parameters), "steps": steps}


def relu(seed: int, depth: int = 3) -> Program:
    torch.manual_seed(seed)
    return classify(plain(depth, nn.ReLU, he()), blobs(seed))


def curve(seed: int, scale: float = 1.0, shift: float = 0.0) -> Program:
    """A regression y = x1 x2 + x3, targets scaled and shifted."""
    torch.manual_seed(seed)
    inputs = torch.randn(128, 4)
    targets = scale * (inputs[:, :1] * inputs[:, 1:2] + inputs[:, 2:3]) + shift
    model = nn.Sequential(
        nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    return {"model": model, "data": (inputs, targets), "loss": F.mse_loss}


def sgd(rate: float, **more: float) -> Optimizer:
    return lambda parameters: torch.optim.SGD(parameters, rate, **more)  # type: ignore[arg-type]


def adam(rate: float, **more: float) -> Optimizer:
    return lambda parameters: torch.optim.Adam(parameters, rate, **more)  # type: ignore[arg-type]


def sgd_far_too_large(seed: int) -> Program:
    return trained_by(relu(seed), sgd(30.0))


def adam_far_too_large(seed: int) -> Program:
    return trained_by(relu(seed, 5), adam(3.0))


def parabola(seed: int) -> Program:
    """y = 5 x^2 + noise on x in 0..5, SGD 0.1."""
    torch.manual_seed(seed)
    inputs = 5 * torch.rand(100, 1)
    targets = 5 * inputs**2 + torch.randn(100, 1)
    model = nn.Sequential(
        nn.Linear(1, 50), nn.ReLU(), nn.Linear(50, 30), nn.ReLU(), nn.Linear(30, 1)
    )
    return trained_by({"model": model, "data": (inputs, targets), "loss": F.mse_loss}, sgd(0.1))


def parabola_one_step(seed: int) -> Program:
    return {**parabola(seed), "steps": 0}


def sgd_far_too_small(seed: int) -> Program:
    return trained_by(relu(seed), sgd(1e-6))


def adam_far_too_small(seed: int) -> Program:
    return trained_by(relu(seed), adam(1e-8))


def tiny_loss(seed: int) -> Program:
    program = relu(seed)
    loss = program["loss"]
    return trained_by({**program, "loss": lambda out, t: 1e-10 * loss(out, t)}, adam(1e-3))


def heavy_decay(seed: int) -> Program:
    return trained_by(relu(seed), sgd(0.01, weight_decay=3.0))


def heavy_decoupled_decay(seed: int) -> Program:
    return trained_by(
        relu(seed), lambda parameters: torch.optim.AdamW(parameters, 1e-3, weight_decay=100.0)
    )


def heavy_decay_one_step(seed: int) -> Program:
    return {**heavy_decay(seed), "steps": 0}


def maximizing(seed: int) -> Program:
    return trained_by(relu(seed), sgd(0.01, maximize=True))


def negated(seed: int) -> Program:
    program = relu(seed)
    loss = program["loss"]
    return trained_by({**program, "loss": lambda out, t: -loss(out, t)}, sgd(0.01))


def pixels(seed: int) -> Program:
    """Inputs of 0..255 into tanh."""
    torch.manual_seed(seed)
    inputs, labels = blobs(seed)
    inputs = 255 * torch.sigmoid(inputs)
    return trained_by(classify(plain(3, nn.Tanh), (inputs, labels)), sgd(0.05))


def pixels_relu(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed)
    inputs = 255 * torch.sigmoid(inputs)
    return trained_by(classify(plain(3, nn.ReLU, he()), (inputs, labels)), sgd(0.05))


def far_targets(seed: int) -> Program:
    return trained_by(curve(seed, 300.0, 20_000.0), adam(1e-3))


def squashed_far_targets(seed: int) -> Program:
    program = curve(seed, 3.0)
    program["model"] = nn.Sequential(*program["model"], nn.Sigmoid())
    return trained_by(program, adam(1e-3))


def shuffled_labels(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed, samples=128)
    shuffled = labels[torch.randperm(len(labels))]
    return trained_by(classify(plain(2, nn.ReLU, he(), width=32), (inputs, shuffled)), adam(3e-3))


def squashed_plateau(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed, classes=2)
    model = nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 1), nn.Sigmoid())
    nn.init.constant_(model[2].bias, 12.0)
    return {"model": model, "data": (inputs, labels[:, None].float()), "loss": F.mse_loss}


SICK_STEPS: dict[str, tuple[Patient, str, str]] = {
    "SGD at 30": (sgd_far_too_large, "step-too-large", ""),
    "Adam at 3": (adam_far_too_large, "step-too-large", ""),
    "unscaled parabola, SGD 0.1": (parabola, "step-too-large", ""),
    "unscaled parabola, one step": (parabola_one_step, "step-too-large", ""),
    "SGD at 1e-6": (sgd_far_too_small, "step-too-small", ""),
    "Adam at 1e-8": (adam_far_too_small, "step-too-small", ""),
    "loss of 1e-10 under Adam": (tiny_loss, "epsilon-dominated", ""),
    "decay of 3": (heavy_decay, "weight-decay-dominates", ""),
    "decay of 3, one step": (heavy_decay_one_step, "weight-decay-dominates", ""),
    "decoupled decay of 100": (heavy_decoupled_decay, "weight-decay-dominates", ""),
    "maximize": (maximizing, "wrong-sign", ""),
    "negated loss": (negated, "wrong-sign", ""),
    "0..255 into tanh": (pixels, "unscaled-input", "0"),
    "0..255 into relu": (pixels_relu, "unscaled-input", "0"),
    "targets around 20,000": (far_targets, "unscaled-target", ""),
    "targets beyond the sigmoid": (squashed_far_targets, "unfit-loss", ""),
    "shuffled labels": (shuffled_labels, "nothing-to-learn", ""),
    "sigmoid stuck at one, squared error": (squashed_plateau, "unfit-loss", ""),
}


def usual(make: Optimizer, steps: int = 20) -> Patient:
    return lambda seed: trained_by(relu(seed), make, steps)


def rescaled_loss(factor: float) -> Patient:
    def patient(seed: int) -> Program:
        program = relu(seed)
        loss = program["loss"]
        return trained_by({**program, "loss": lambda out, t: factor * loss(out, t)}, adam(1e-3))

    return patient


def finished(make: Optimizer) -> Patient:
    """Trained to the end; the optimizer starts afresh."""

    def patient(seed: int) -> Program:
        program = relu(seed)
        model, (inputs, labels) = program["model"], program["data"]
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(300):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        optimizer.zero_grad()
        return trained_by(program, make)

    return patient


def many_batches(seed: int) -> Program:
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(32, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 4)
    )
    # One set of class centres, many batches of it.
    inputs, labels = blobs(seed, samples=32 * 30)
    data = list(zip(inputs.split(32), labels.split(32), strict=True))
    return trained_by(classify(model, data), adam(1e-3))


def large_inputs_normalised(seed: int) -> Program:
    torch.manual_seed(seed)
    inputs, labels = blobs(seed)
    model = nn.Sequential(nn.BatchNorm1d(32), *plain(3, nn.Tanh))
    return trained_by(classify(model, (100 * inputs, labels)), sgd(0.05))


def squashed_regression(seed: int) -> Program:
    program = curve(seed)
    program["model"] = nn.Sequential(*program["model"], nn.Sigmoid())
    inputs, targets = program["data"]
    return trained_by({**program, "data": (inputs, torch.sigmoid(targets))}, adam(1e-3))


def log_likelihood(seed: int) -> Program:
    program = relu(seed)

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        return -F.log_softmax(out, -1).gather(1, labels[:, None]).mean() / math.log(4)

    return trained_by({**program, "loss": loss}, sgd(0.05))


def head_at_zero(steps: int) -> Patient:
    """AdamW behind a head that starts at zero: in the first step the rest moves by its decay alone."""

    def patient(seed: int) -> Program:
        program = relu(seed)
        for parameter in program["model"][-1].parameters():
            nn.init.zeros_(parameter)
        return trained_by(program, lambda p: torch.optim.AdamW(p, 2e-4, weight_decay=0.01), steps)

    return patient


HEALTHY_STEPS: dict[str, Patient] = {
    "AdamW behind a head at zero, one step": head_at_zero(0),
    "AdamW behind a head at zero": head_at_zero(20),
    "SGD at 0.05": usual(sgd(0.05)),
    "SGD at 0.05, one step": usual(sgd(0.05), 0),
    "momentum": usual(sgd(0.02, momentum=0.9)),
    "Adam at 1e-3": usual(adam(1e-3)),
    "Adam at 1e-2": usual(adam(1e-2)),
    "AdamW": usual(lambda p: torch.optim.AdamW(p, 1e-3)),
    "small decay": usual(sgd(0.05, weight_decay=5e-4)),
    "loss x 1e-5 under Adam": rescaled_loss(1e-5),
    "loss x 1e5 under Adam": rescaled_loss(1e5),
    "finished, SGD": finished(sgd(1e-3)),
    "finished, Adam": finished(adam(1e-3)),
    "batches, norm, dropout": many_batches,
    "large inputs behind a norm": large_inputs_normalised,
    "squared error on a sigmoid in range": squashed_regression,
    "log likelihood written out": log_likelihood,
    "regression": lambda seed: trained_by(curve(seed), adam(1e-3)),
    "regression, SGD": lambda seed: trained_by(curve(seed), sgd(0.01)),
}
