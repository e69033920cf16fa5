"""Ordinary training loops of many kinds, each run with or without somebody watching.

A loop gets ``around(model, optimizers)``, a context to train in, and returns the losses of its
steps and the final weights: watched and unwatched must be equal to the bit.
"""

import contextlib
import copy
import io
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Around = Callable[[nn.Module, Any], contextlib.AbstractContextManager[Any]]
Result = tuple[list[float], list[Tensor]]
STEPS = 6


def batches(
    shape: tuple[int, ...], classes: int = 3, count: int = STEPS
) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(7)
    for _ in range(count):
        yield (
            torch.randn(shape, generator=generator),
            torch.randint(classes, shape[:1], generator=generator),
        )


def weights(*models: nn.Module) -> list[Tensor]:
    return [value.detach().clone() for model in models for value in model.state_dict().values()]


def mlp(depth: int = 3, activation: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(8, 8), activation()]
    return nn.Sequential(*layers, nn.Linear(8, 3))


def plain(
    around: Around,
    model: nn.Module | None = None,
    make: Callable[[Any], torch.optim.Optimizer] | None = None,
    shape: tuple[int, ...] = (16, 8),
    before_step: Callable[[nn.Module], object] | None = None,
) -> Result:
    model = model or mlp()
    make = make or (lambda parameters: torch.optim.AdamW(parameters, lr=1e-2))
    optimizer = make(model.parameters())
    losses: list[float] = []
    with around(model, optimizer):
        for inputs, targets in batches(shape):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            if before_step is not None:
                before_step(model)
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses, weights(model)


def adamw(around: Around) -> Result:
    return plain(around)


def momentum(around: Around) -> Result:
    return plain(around, make=lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True))


def foreach(around: Around) -> Result:
    return plain(around, make=lambda p: torch.optim.Adam(p, lr=1e-2, foreach=True))


def fused(around: Around) -> Result:
    return plain(around, make=lambda p: torch.optim.AdamW(p, lr=1e-2, fused=True))


def schedule(around: Around) -> Result:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=STEPS)
    losses: list[float] = []
    with around(model, optimizer):
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            scheduler.step()
            losses.append(float(loss.detach()))
    return [*losses, optimizer.param_groups[0]["lr"]], weights(model)


def convolutions(around: Around) -> Result:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.Conv2d(6, 6, 3, padding=1, groups=2),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )
    return plain(around, model, shape=(8, 3, 8, 8))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.out = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):  # one module called twice
            y = self.layer(x)
            y += x
            x = torch.relu_(y)
        return self.out(x)


def in_place_and_reused(around: Around) -> Result:
    return plain(around, Residual())


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.middle, self.out = nn.Linear(8, 8), mlp(2), nn.Linear(3, 3)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.out(checkpoint(self.middle, self.first(x), use_reentrant=self.reentrant))


def checkpoint_reentrant(around: Around) -> Result:
    return plain(around, Checkpointed(True))


def checkpoint_saved(around: Around) -> Result:
    return plain(around, Checkpointed(False))


class LastOfSequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.out = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(x)[0][:, -1])


def recurrent_and_clipped(around: Around) -> Result:
    return plain(
        around,
        LastOfSequence(),
        shape=(8, 5, 8),
        before_step=lambda model: nn.utils.clip_grad_norm_(model.parameters(), 0.1),
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.body = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(tokens))).transpose(1, 2)


def transformer(around: Around) -> Result:
    model = Tied()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses: list[float] = []
    tokens = torch.randint(11, (STEPS, 4, 7), generator=torch.Generator().manual_seed(3))
    with around(model, optimizer):
        for batch in tokens:
            loss = nn.functional.cross_entropy(model(batch[:, :-1]), batch[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses, weights(model)


def sparse(around: Around) -> Result:
    model = nn.Embedding(50, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=1e-2)
    losses: list[float] = []
    rows = torch.randint(50, (STEPS, 5), generator=torch.Generator().manual_seed(3))
    with around(model, optimizer):
        for row in rows:
            optimizer.zero_grad()
            loss = (model(row) - 1).square().mean()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses, weights(model)


def accumulation(around: Around) -> Result:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: list[float] = []
    with around(model, optimizer):
        for number, (inputs, targets) in enumerate(batches((4, 8), count=4 * STEPS)):
            loss = nn.functional.cross_entropy(model(inputs), targets) / 4
            loss.backward()
            losses.append(float(loss.detach()))
            if number % 4 == 3:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
    return losses, weights(model)


def scaled(around: Around, **options: Any) -> Result:
    """A loss scaler that meets an overflow in its third step."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, **options)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    losses: list[float] = []
    with around(model, optimizer):
        for number, (inputs, targets) in enumerate(batches((16, 8))):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(inputs), targets)
            if number == 2:
                loss = loss * float("inf")
            scaler.scale(loss).backward()
            if number % 2:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            scaler.step(optimizer)
            scaler.update()
            losses.append(float(loss.detach()))
    return [*losses, scaler.get_scale()], weights(model)


def scaled_and_fused(around: Around) -> Result:
    return scaled(around, fused=True)


def lbfgs(around: Around) -> Result:
    model = mlp()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=3)
    losses: list[float] = []
    with around(model, optimizer):
        for inputs, targets in batches((16, 8)):

            def closure(inputs: Tensor = inputs, targets: Tensor = targets) -> Tensor:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                return loss

            losses.append(float(optimizer.step(closure).detach()))
    return losses, weights(model)


def two_models(around: Around) -> Result:
    generator, critic = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8)), mlp(2)
    first = torch.optim.Adam(generator.parameters(), lr=1e-2)
    second = torch.optim.Adam(critic.parameters(), lr=1e-2)
    losses: list[float] = []
    with around(generator, first), around(critic, second):
        for real, _ in batches((8, 8)):
            fake = generator(torch.randn(8, 4))
            second.zero_grad()
            loss = critic(fake.detach()).mean() - critic(real).mean()
            loss.backward()
            second.step()
            first.zero_grad()
            cost = -critic(fake).mean()
            cost.backward()
            first.step()
            losses += [float(loss.detach()), float(cost.detach())]
    return losses, weights(generator, critic)


def two_optimizers(around: Around) -> Result:
    model = mlp()
    first = torch.optim.SGD(model[:2].parameters(), lr=0.1)
    second = torch.optim.Adam(model[2:].parameters(), lr=1e-2)
    losses: list[float] = []
    with around(model, [first, second]):
        for inputs, targets in batches((16, 8)):
            first.zero_grad()
            second.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            first.step()
            second.step()
            losses.append(float(loss.detach()))
    return losses, weights(model)


def gradient_penalty(around: Around) -> Result:
    model = mlp()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses: list[float] = []
    with around(model, optimizer):
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            inputs.requires_grad_()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            (slope,) = torch.autograd.grad(loss, inputs, create_graph=True)
            total = loss + slope.square().sum()
            total.backward()
            optimizer.step()
            losses.append(float(total.detach()))
    return losses, weights(model)


def optimizer_in_backward(around: Around) -> Result:
    model = mlp()
    each = {p: torch.optim.SGD([p], lr=0.1) for p in model.parameters()}

    def step(parameter: Tensor) -> None:
        each[parameter].step()
        each[parameter].zero_grad()

    for parameter in each:
        parameter.register_post_accumulate_grad_hook(step)
    losses: list[float] = []
    with around(model, list(each.values())):
        for inputs, targets in batches((16, 8)):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            losses.append(float(loss.detach()))
    return losses, weights(model)


def copied_and_saved(around: Around) -> Result:
    """Exponential moving average, deepcopy and torch.save in the middle of everything."""
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    average = torch.optim.swa_utils.AveragedModel(model)
    losses: list[float] = []
    with around(model, optimizer):
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            average.update_parameters(model)
            twin = copy.deepcopy(model)
            with torch.no_grad():
                losses.append(float(twin(inputs).sum()))
            stream = io.BytesIO()
            torch.save(model, stream)
            torch.save(optimizer.state_dict(), io.BytesIO())
            stream.seek(0)
            torch.load(stream, weights_only=False)
            losses.append(float(loss.detach()))
    return losses, weights(model, average)


def growing(around: Around) -> Result:
    model = mlp()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    optimizer = torch.optim.AdamW(model[2:].parameters(), lr=1e-2)
    losses: list[float] = []
    with around(model, optimizer):
        for number, (inputs, targets) in enumerate(batches((16, 8))):
            if number == 3:
                model[0].requires_grad_(True)
                optimizer.add_param_group({"params": list(model[0].parameters()), "lr": 1e-3})
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses, weights(model)


def threads(around: Around) -> Result:
    """Two trainings at the same time, each with a model and a generator of its own."""
    models = [mlp(), mlp()]
    losses: list[list[float]] = [[], []]

    def run(place: int) -> None:
        optimizer = torch.optim.SGD(models[place].parameters(), lr=0.1 * (place + 1))
        with around(models[place], optimizer):
            for inputs, targets in batches((16, 8)):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(models[place](inputs), targets)
                loss.backward()
                optimizer.step()
                losses[place].append(float(loss.detach()))

    running = [threading.Thread(target=run, args=(place,)) for place in range(2)]
    for one in running:
        one.start()
    for one in running:
        one.join()
    return [*losses[0], *losses[1]], weights(*models)


def validating(around: Around) -> Result:
    """A validation pass without gradients between the steps."""
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses: list[float] = []
    with around(model, optimizer):
        for inputs, targets in batches((16, 8)):
            model.eval()
            with torch.no_grad():
                losses.append(float(model(inputs).sum()))
            model.train()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
    return losses, weights(model)


TRAININGS: Sequence[Callable[[Around], Result]] = (
    adamw,
    momentum,
    foreach,
    fused,
    schedule,
    convolutions,
    in_place_and_reused,
    checkpoint_reentrant,
    checkpoint_saved,
    recurrent_and_clipped,
    transformer,
    sparse,
    accumulation,
    scaled,
    scaled_and_fused,
    lbfgs,
    two_models,
    two_optimizers,
    gradient_penalty,
    optimizer_in_backward,
    copied_and_saved,
    growing,
    threads,
    validating,
)
