"""Trainings with nothing wrong, most of which look as if there were: classification of digits."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alarm_runs.nets import (
    Adapted,
    Experts,
    Recurrent,
    Transformer,
    batches,
    cnn,
    digits,
    mlp,
    residual,
)
from alarm_runs.training import Training

Build = Callable[[int], Training]
WIDTHS = (64, 32, 32, 10)


def train(
    net: Callable[[], nn.Module],
    optimizer: Callable[..., torch.optim.Optimizer],
    learning_rate: float,
    *,
    size: int = 64,
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy,
    settings: dict[str, Any] | None = None,
    **more: Any,
) -> Build:
    """A plain training on the digits."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        model, data = net(), batches(seed, size)
        used = [p for p in model.parameters() if p.requires_grad]
        stepped = optimizer(used, lr=learning_rate, **(settings or {}))

        def compute(step: int) -> Tensor:
            inputs, targets = data(step)
            return loss(model(inputs), targets)

        return Training(model=model, optimizer=stepped, loss=compute, **more)

    return build


def altered(build: Build, alter: Callable[[Training], None]) -> Build:
    """The same training with something done to it after it was built."""

    def built(seed: int) -> Training:
        training = build(seed)
        alter(training)
        return training

    return built


SGD, MOMENTUM = torch.optim.SGD, partial(torch.optim.SGD, momentum=0.9)
ADAM, ADAMW = torch.optim.Adam, torch.optim.AdamW
RELU, TANH = partial(mlp, WIDTHS), partial(mlp, WIDTHS, nn.Tanh)


def spike(step: int, inputs: Tensor) -> Tensor:
    return inputs * (20.0 if step == 100 else 1.0)


def bad_batch(seed: int) -> Training:
    """One batch far from the others, clipped, as happens."""
    training = train(RELU, ADAM, 1e-3, clip=1.0)(seed)
    data = batches(seed)

    def loss(step: int) -> Tensor:
        inputs, targets = data(step)
        return F.cross_entropy(training.model(spike(step, inputs)), targets)

    training.loss = loss
    return training


def few_samples(optimizer: Callable[..., torch.optim.Optimizer], rate: float) -> Build:
    """Sixteen samples, learned by heart within the first steps."""

    def build(seed: int) -> Training:
        training = train(RELU, optimizer, rate)(seed)
        inputs, targets = (part[:16] for part in digits())
        training.loss = lambda step: F.cross_entropy(training.model(inputs), targets)
        return training

    return build


def frozen_first(seed: int) -> Training:
    """The first layers join in at step 80."""
    training = train(RELU, ADAM, 1e-3)(seed)
    early = list(training.model[0].parameters())
    for parameter in early:
        parameter.requires_grad_(False)

    def change(step: int) -> None:
        if step == 80:
            for parameter in early:
                parameter.requires_grad_(True)
                training.optimizer.add_param_group({"params": [parameter], "lr": 1e-3})

    # The frozen ones were not given to the optimizer: their group comes later.
    training.optimizer = ADAM([p for p in training.model.parameters() if p.requires_grad], lr=1e-3)
    training.change = change
    return training


def thawed_and_frozen(seed: int) -> Training:
    """The first layer is frozen for good at step 80."""
    training = train(RELU, ADAM, 1e-3)(seed)

    def change(step: int) -> None:
        if step == 80:
            training.model[0].requires_grad_(False)

    training.change = change
    return training


def adapters(seed: int) -> Training:
    torch.manual_seed(seed)
    body = mlp((64, 32, 32, 32, 10))
    for place in (0, 2, 4):
        body[place] = Adapted(body[place])
    body[6].requires_grad_(False)
    return train(lambda: body, ADAM, 1e-3)(seed)


def scaled_loss(step: int, seed_loss: Callable[[int], Tensor], factor: float) -> Tensor:
    return seed_loss(step) * (factor if step >= 100 else 1.0)


def rescaled(factor: float) -> Build:
    """The loss is multiplied from step 100 on; Adam does not care."""

    def alter(training: Training) -> None:
        training.loss = partial(scaled_loss, seed_loss=training.loss, factor=factor)

    return altered(train(RELU, ADAM, 1e-3), alter)


def two_heads(weight: Callable[[int], float], multiplied: bool) -> Build:
    """A second head whose loss is switched: by a factor of zero, or left out."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        body = nn.ModuleDict(
            {"body": mlp((64, 32, 32)), "main": nn.Linear(32, 10), "aside": mlp((32, 16, 1))}
        )
        data = batches(seed)

        def loss(step: int) -> Tensor:
            inputs, targets = data(step)
            signal = F.relu(body["body"](inputs))
            total = F.cross_entropy(body["main"](signal), targets)
            if multiplied or weight(step):
                guess = body["aside"](signal)[:, 0]
                total = total + weight(step) * F.mse_loss(guess, inputs.mean(1))
            return total

        return Training(model=body, optimizer=ADAM(body.parameters(), lr=1e-3), loss=loss)

    return build


def words(sparse: bool, size: int) -> Build:
    """Bags of rare words: 2,000 rows, a few of them in each batch; one table is never used."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        table = nn.Embedding(2000, 16, sparse=sparse)
        kinds = nn.Embedding(2, 16)
        model = nn.ModuleDict({"words": table, "kinds": kinds, "head": mlp((16, 16, 2))})
        rank = torch.distributions.Categorical(1 / torch.arange(1, 2001).double())
        optimizer = SGD(model.parameters(), lr=0.5) if sparse else ADAM(model.parameters(), lr=1e-2)

        def loss(step: int) -> Tensor:
            bag = rank.sample(torch.Size((size, 6)))
            signal = table(bag).mean(1) + kinds(torch.zeros(size, dtype=torch.long))
            return F.cross_entropy(model["head"](signal), (bag.sum(1) % 2))

        return Training(model=model, optimizer=optimizer, loss=loss)

    return build


def adversaries(wasserstein: bool, together: bool) -> Build:
    """Generator against discriminator; the watched one is the generator, or both in one module."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        maker, judge = mlp((8, 32, 32, 64)), mlp((64, 32, 32, 1), nn.Tanh)
        data = batches(seed)
        second = ADAM(judge.parameters(), lr=1e-3, betas=(0.5, 0.9))

        def judged(step: int) -> None:
            real, made = data(step)[0], maker(torch.randn(64, 8)).detach()
            yes, no = judge(real), judge(made)
            loss = (
                (no - yes).mean()
                if wasserstein
                else F.softplus(-yes).mean() + F.softplus(no).mean()
            )
            second.zero_grad()
            loss.backward()
            second.step()
            if wasserstein:
                for parameter in judge.parameters():
                    parameter.data.clamp_(-0.05, 0.05)

        def loss(step: int) -> Tensor:
            verdict = judge(maker(torch.randn(64, 8)))
            return -verdict.mean() if wasserstein else F.softplus(-verdict).mean()

        model = nn.ModuleDict({"maker": maker, "judge": judge}) if together else maker
        optimizer = ADAM(maker.parameters(), lr=1e-3, betas=(0.5, 0.9))
        return Training(model=model, optimizer=optimizer, loss=loss, change=judged)

    return build


def reinforce(seed: int) -> Training:
    """Policy gradient on a bandit with context: the loss means little, its noise is everything."""
    torch.manual_seed(seed)
    policy, data = mlp((64, 32, 10), nn.Tanh), batches(seed, 16)

    def loss(step: int) -> Tensor:
        inputs, targets = data(step)
        choice = torch.distributions.Categorical(logits=policy(inputs))
        action = choice.sample()
        reward = (action == targets).float() + torch.randn(16)
        return -(choice.log_prob(action) * reward).mean()

    return Training(model=policy, optimizer=ADAM(policy.parameters(), lr=3e-3), loss=loss)


def autoencoder(annealed: bool) -> Build:
    """Reconstruction; with a variational part whose weight rises from zero."""

    def build(seed: int) -> Training:
        torch.manual_seed(seed)
        model = nn.ModuleDict({"down": mlp((64, 32, 8)), "up": mlp((4, 32, 64))})
        data = batches(seed)

        def loss(step: int) -> Tensor:
            inputs = data(step)[0]
            mean, log_variance = model["down"](inputs).chunk(2, dim=1)
            noise = torch.randn_like(mean) * (0.5 * log_variance).exp()
            lost = F.mse_loss(model["up"](mean + annealed * noise), inputs)
            extra = (mean**2 + log_variance.exp() - log_variance - 1).mean()
            return lost + (min(step / 100, 1.0) if annealed else 0.0) * extra

        return Training(model=model, optimizer=ADAM(model.parameters(), lr=1e-3), loss=loss)

    return build


def likelihood(seed: int) -> Training:
    """Gaussian likelihood of an easy target: the loss falls below zero."""
    torch.manual_seed(seed)
    model, data = mlp((64, 32, 2), nn.Tanh), batches(seed)

    def loss(step: int) -> Tensor:
        inputs = data(step)[0]
        mean, log_variance = model(inputs).T
        return F.gaussian_nll_loss(mean, 0.1 * inputs[:, 20], log_variance.exp())

    return Training(model=model, optimizer=ADAM(model.parameters(), lr=3e-3), loss=loss)


def heavy_noise(seed: int) -> Training:
    """Gradients with noise that has no variance, clipped."""
    training = train(RELU, ADAM, 1e-3, clip=5.0)(seed)
    clean = training.loss

    def loss(step: int) -> Tensor:
        weights = torch.distributions.StudentT(1.5).sample(torch.Size((32, 64)))
        return clean(step) + 1e-2 * (weights * training.model[0].weight).sum()

    training.loss = loss
    return training


def harder(seed: int) -> Training:
    """From step 100 on the labels are half random: the loss rises and stays up."""
    training = train(RELU, ADAM, 1e-3)(seed)
    data = batches(seed)

    def loss(step: int) -> Tensor:
        inputs, targets = data(step)
        noise = torch.randint(10, targets.shape)
        changed = torch.where((torch.rand(64) < 0.5) & (step >= 100), noise, targets)
        return F.cross_entropy(training.model(inputs), changed)

    training.loss = loss
    return training


def new_head(seed: int) -> Training:
    """A trained net with a fresh head, at a small rate."""
    training = train(RELU, ADAM, 3e-3)(seed)
    for _ in training.readings(150):
        pass
    training.model[-1].reset_parameters()
    training.optimizer = ADAMW(training.model.parameters(), lr=5e-5)
    return training


def resumed(optimizer: Callable[..., torch.optim.Optimizer], rate: float) -> Build:
    """Watched from the middle of its training on."""

    def alter(training: Training) -> None:
        for _ in training.readings(300):
            pass

    return altered(train(RELU, optimizer, rate), alter)


def margins(seed: int) -> Training:
    """Hinge loss on sixteen samples: when all margins are kept, loss and gradient are exactly 0."""
    training = train(RELU, SGD, 0.1)(seed)
    inputs, targets = (part[:16] for part in digits())
    training.loss = lambda step: F.multi_margin_loss(training.model(inputs), targets)
    return training


def warm_up(over: int, then: Callable[[int], float] = lambda step: 1.0) -> Callable[[int], float]:
    return lambda step: min(step / over, 1.0) * then(step)


def cosine(over: int) -> Callable[[int], float]:
    return lambda step: 0.5 * (1 + math.cos(math.pi * min(step / over, 1.0)))


def half_scaler(growth: int, start: float = 2.0**24) -> Build:
    """Float16 with a scaler that begins too high and probes upward every few steps."""

    def build(seed: int) -> Training:
        training = train(RELU, ADAM, 1e-3)(seed)
        clean, data = training.model, batches(seed)

        def loss(step: int) -> Tensor:
            inputs, targets = data(step)
            with torch.autocast("cpu", dtype=torch.float16):
                outputs = clean(inputs)
            return F.cross_entropy(outputs.float(), targets)

        training.loss = loss
        training.scaler = torch.amp.GradScaler("cpu", init_scale=start, growth_interval=growth)
        return training

    return build


def random_labels(seed: int) -> Training:
    training = train(RELU, ADAM, 1e-3)(seed)
    data = batches(seed)
    training.loss = lambda step: F.cross_entropy(
        training.model(data(step)[0]), torch.randint(10, (64,))
    )
    return training


HEALTHY: dict[str, Build] = {
    "ReLU, Adam": train(RELU, ADAM, 1e-3),
    "ReLU, Adam, read at every step": train(RELU, ADAM, 1e-3, every=1),
    "ReLU, SGD": train(RELU, SGD, 0.1),
    "ReLU, momentum": train(RELU, MOMENTUM, 0.05),
    "tanh, SGD": train(TANH, SGD, 0.1),
    "two sigmoids, Adam": train(partial(mlp, WIDTHS, nn.Sigmoid), ADAM, 3e-3),
    "two sigmoids, SGD": train(partial(mlp, WIDTHS, nn.Sigmoid), MOMENTUM, 0.1),
    "RMSprop": train(RELU, torch.optim.RMSprop, 1e-3),
    "Adagrad": train(RELU, torch.optim.Adagrad, 1e-2),
    "a high rate that works": train(RELU, ADAM, 1e-2, every=1),
    "the same, weights read every 100 steps": train(RELU, ADAM, 1e-2, every=100),
    "convolutions, batch norm, momentum": train(cnn, MOMENTUM, 0.05),
    "convolutions, batch norm, Adam": train(cnn, ADAM, 3e-3),
    "convolutions without norm": train(partial(cnn, False), ADAM, 3e-3),
    "ten batch norms": train(partial(cnn, True, 10), MOMENTUM, 0.05),
    "residual, 20 blocks": train(partial(residual, 20), ADAM, 1e-3),
    "residual, branches start at zero": train(partial(residual, 6, zero=True), ADAM, 1e-3),
    "the same with SGD, read every step": train(partial(residual, 6, zero=True), SGD, 0.1, every=1),
    "the same under warm-up from 0": train(
        partial(residual, 6, zero=True), ADAM, 1e-3, rate=warm_up(50)
    ),
    "stochastic depth": train(partial(residual, 6, drop=0.3), ADAM, 1e-3),
    "transformer, warm-up, cosine to 0": train(
        Transformer, ADAMW, 3e-3, rate=warm_up(20, cosine(150)), clip=1.0
    ),
    "transformer, norm last": train(partial(Transformer, norm_first=False), ADAMW, 1e-3),
    "rate 0 for five steps": train(RELU, ADAM, 1e-3, rate=lambda step: float(step >= 5)),
    "cosine to 0, then on at 0": train(RELU, MOMENTUM, 0.05, rate=cosine(100)),
    "rate divided by 10 twice": train(RELU, MOMENTUM, 0.05, rate=lambda step: 0.1 ** (step // 70)),
    "one cycle": train(RELU, ADAM, 1e-2, rate=warm_up(60, cosine(200))),
    "warm restarts": train(RELU, MOMENTUM, 0.1, rate=lambda step: cosine(50)(step % 50)),
    "rate raised tenfold": train(RELU, ADAM, 3e-4, rate=lambda step: 10.0 if step > 100 else 1.0),
    "converged, Adam": few_samples(ADAM, 1e-2),
    "converged, momentum": few_samples(MOMENTUM, 0.3),
    "converged, resumed, SGD": resumed(MOMENTUM, 0.05),
    "resumed, Adam": resumed(ADAM, 3e-3),
    "margins kept: loss and gradient 0": margins,
    "one bad batch": bad_batch,
    "GAN, the generator": adversaries(False, False),
    "GAN, both in one module": adversaries(False, True),
    "WGAN, the generator": adversaries(True, False),
    "policy gradient": reinforce,
    "dropout": train(
        lambda: nn.Sequential(*mlp((64, 64, 64)), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 10)),
        ADAM,
        1e-3,
    ),
    "one sample a batch": train(RELU, SGD, 0.01, size=1),
    "two samples a batch, Adam": train(RELU, ADAM, 1e-3, size=2),
    "rare words, sparse gradients": words(True, 8),
    "rare words, dense gradients": words(False, 2),
    "thawed at step 80": frozen_first,
    "frozen at step 80": thawed_and_frozen,
    "LoRA": adapters,
    "LoRA, warm-up": altered(adapters, lambda t: setattr(t, "rate", warm_up(50))),
    "weight decay on everything": train(RELU, ADAMW, 1e-3, settings={"weight_decay": 0.5}),
    "weight decay, batch norm": train(
        cnn, MOMENTUM, 0.05, settings={"weight_decay": 5e-3}, every=1
    ),
    "gradient accumulation": train(RELU, ADAM, 1e-3, size=16, accumulate=4),
    "scaler starts high": half_scaler(2000),
    "scaler probes every ten steps": half_scaler(10),
    "clipped at 1 with Adam": train(RELU, ADAM, 1e-3, clip=1.0),
    "clipped at 0.01 with Adam": train(RELU, ADAM, 1e-3, clip=0.01),
    "clipped at 1 with SGD": train(RELU, SGD, 0.1, clip=1.0),
    "recurrent, SGD at 20, clipped at 0.25": train(Recurrent, SGD, 2.0, clip=0.25),
    "loss multiplied by 1000": rescaled(1e3),
    "loss multiplied by 100,000": rescaled(1e5),
    "loss divided by 100,000": rescaled(1e-5),
    "loss of 1e-5 from the start": train(
        RELU, ADAM, 1e-3, loss=lambda y, t: 1e-5 * F.cross_entropy(y, t)
    ),
    "loss of 1e4 from the start": train(
        RELU, ADAM, 1e-3, loss=lambda y, t: 1e4 * F.cross_entropy(y, t)
    ),
    "gradient noise without variance": heavy_noise,
    "negative loss": likelihood,
    "loss not told": train(RELU, SGD, 0.1, tells_loss=False),
    "experts, most not asked": train(Experts, ADAM, 1e-3, size=8),
    "experts, masked": train(partial(Experts, dense=True), ADAM, 1e-3, size=8),
    "head switched off by a factor": two_heads(lambda step: float(step < 100), True),
    "head switched on by a factor": two_heads(lambda step: float(step > 60), True),
    "head not in this loss": two_heads(lambda step: 0.0, False),
    "autoencoder": autoencoder(False),
    "variational, weight rises": autoencoder(True),
    "LSTM": train(Recurrent, ADAM, 3e-3),
    "GRU": train(partial(Recurrent, nn.GRU), ADAM, 3e-3),
    "random labels": random_labels,
    "labels become half random": harder,
    "new head, rate 5e-5": new_head,
}
