"""Programs written by an examiner who had not seen the others: each broken, and with a repaired twin.

A pair is a function of a seed and of whether it is broken that returns the arguments of
``diagnose``. EXAM maps each to the finding that must come first and a place it must name; the twins
must get no alarm. SILENT are losses and outputs that only look like those.
"""

import itertools
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from patients import blobs, classify, images
from torch import Tensor, nn

Program = dict[str, Any]
Pair = Callable[[int, bool], Program]


class Apply(nn.Module):
    """Parts by name, and how the model puts them together."""

    def __init__(self, forward: Callable[..., Tensor], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.put_together = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.put_together(self, x)


def adam(model: nn.Module, rate: float = 1e-3, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), rate, **more)


def sgd(model: nn.Module, rate: float = 0.05, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), rate, **more)


def mlp(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inside, outside in itertools.pairwise(widths):
        layers += [nn.Linear(inside, outside), activation()]
    return nn.Sequential(*layers[:-1])


def draw(weights: Iterable[Tensor], std: float | None) -> None:
    """Normal weights: of one spread whatever they read, or as He has it."""
    for weight in weights:
        if weight.dim() > 1:
            spread = std or math.sqrt(2 / weight[0].numel())
            nn.init.normal_(weight, 0, spread)
        else:
            nn.init.zeros_(weight)


def sequences(seed: int) -> tuple[Tensor, Tensor]:
    inputs, labels = blobs(seed, samples=48, features=8 * 6)
    return inputs.view(48, 8, 6), labels


def smooth(seed: int, features: int = 8) -> tuple[Tensor, Tensor]:
    """A regression with targets of zero mean and unit variance."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(128, features, generator=generator)
    targets = torch.sin(inputs[:, :1]) + 0.5 * inputs[:, 1:2] * inputs[:, 2:3]
    return inputs, (targets - targets.mean()) / targets.std()


def pooled_over_nothing(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)

    def pool(model: Any, x: Tensor) -> Tensor:
        h = torch.tanh(model.embed(x))
        weights = torch.softmax(model.score(h), dim=-1 if broken else 1)
        return model.out((weights * h).sum(1))

    parts = {"embed": nn.Linear(6, 16), "score": nn.Linear(16, 1), "out": nn.Linear(16, 4)}
    model = Apply(pool, **parts)
    return classify(model, sequences(seed), optimizer=adam(model))


def normalised_over_heads(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)

    def attend(model: Any, x: Tensor) -> Tensor:
        query, key, value = model.qkv(x)[:, None].chunk(3, -1)
        weights = F.softmax(query @ key.transpose(-1, -2) / 4, dim=1 if broken else -1)
        return model.out((weights @ value)[:, 0].mean(1))

    model = Apply(attend, qkv=nn.Linear(6, 48), out=nn.Linear(16, 4))
    return classify(model, sequences(seed), optimizer=adam(model))


def focal_on_probabilities(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = mlp(32, 32, 1)
    if broken:
        model.append(nn.Sigmoid())

    def focal(outputs: Tensor, targets: Tensor) -> Tensor:
        each = F.binary_cross_entropy_with_logits(outputs, targets, reduction="none")
        return ((1 - torch.exp(-each)) ** 2 * each).mean()

    inputs, labels = blobs(seed, classes=2)
    data = inputs, labels[:, None].float()
    return {"model": model, "data": data, "loss": focal, "optimizer": adam(model)}


def softmax_by_hand(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)

    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.body(x)
        return F.log_softmax(x.exp() / x.exp().sum(1, keepdim=True) if broken else x, 1)

    model = Apply(forward, body=mlp(32, 32, 4))
    return {**classify(model, blobs(seed), optimizer=adam(model)), "loss": nn.NLLLoss()}


def sigmoid_by_hand(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)

    def forward(model: Any, x: Tensor) -> Tensor:
        x = model.body(x)
        return 1 / (1 + torch.exp(-x)) if broken else x

    model = Apply(forward, body=mlp(32, 32, 1))
    inputs, labels = blobs(seed, classes=2)
    data, loss = (inputs, labels[:, None].float()), nn.BCEWithLogitsLoss()
    return {"model": model, "data": data, "loss": loss, "optimizer": adam(model)}


def blocks_in_a_dictionary(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    blocks = {f"b{place}": mlp(32, 32, 32) for place in range(3)}

    def forward(model: Any, x: Tensor) -> Tensor:
        for name in blocks:
            x = x + model.blocks[name](x)
        return model.head(x)

    held = blocks if broken else nn.ModuleDict(blocks)
    model = Apply(forward, blocks=held, head=nn.Linear(32, 4))
    return classify(model, blobs(seed), optimizer=adam(model))


def parameter_times_a_number(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    drawn = torch.randn(32, 32)
    weight = nn.Parameter(drawn) * 0.2 if broken else nn.Parameter(drawn * 0.2)

    def forward(model: Any, x: Tensor) -> Tensor:
        return model.head(torch.relu(x @ model.weight))

    model = Apply(forward, weight=weight, head=nn.Linear(32, 4))
    return classify(model, blobs(seed), optimizer=adam(model))


def own_matrices(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    drawn = [torch.randn(32, 32) * (0.02 if broken else 32**-0.5) for _ in range(7)]

    def forward(model: Any, x: Tensor) -> Tensor:
        for weight in model.weights:
            x = torch.tanh(x @ weight)
        return model.head(x)

    weights = nn.ParameterList(nn.Parameter(weight) for weight in drawn)
    return classify(Apply(forward, weights=weights, head=nn.Linear(32, 4)), blobs(seed))


def standard_normal_weights(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = mlp(32, 128, 128, 128, 4)
    draw(model.parameters(), 1.0 if broken else None)
    return classify(model, blobs(seed), optimizer=sgd(model, 0.01))


def standard_normal_kernels(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inside, outside in ((3, 16), (16, 16), (16, 32), (32, 32)):
        layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
    head = nn.Linear(128, 4)
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), head)
    draw((p for layer in layers for p in layer.parameters()), 1.0 if broken else None)
    return classify(model, images(seed), optimizer=sgd(model, 0.01))


def regression(
    seed: int, last: nn.Module, shift: float = 0.0, loss: nn.Module | None = None
) -> Program:
    torch.manual_seed(seed)
    model = mlp(8, 32, 1).append(last)
    inputs, targets = smooth(seed)
    return {
        "model": model,
        "data": (inputs, targets + shift),
        "loss": loss or nn.MSELoss(),
        "optimizer": adam(model, 1e-2),
    }


def rectifier_at_the_end(seed: int, broken: bool) -> Program:
    return regression(seed, nn.ReLU() if broken else nn.Identity(), -1.0, nn.SmoothL1Loss())


def sigmoid_at_the_end(seed: int, broken: bool) -> Program:
    return regression(seed, nn.Sigmoid() if broken else nn.Identity())


def decoder_ends_in_a_sigmoid(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = mlp(32, 64, 8, 64, 32)
    if broken:
        model.append(nn.Sigmoid())
    inputs = blobs(seed)[0]
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    data = inputs, inputs
    return {"model": model, "data": data, "loss": nn.MSELoss(), "optimizer": adam(model)}


def cross_entropy_by_hand(outputs: Tensor, targets: Tensor) -> Tensor:
    shares = torch.sigmoid(outputs)
    ones, zeros = torch.log(shares + 1e-7), torch.log(1 - shares + 1e-7)
    return (targets * ones + (1 - targets) * zeros).mean()


def one_hot_by_hand(outputs: Tensor, labels: Tensor) -> Tensor:
    logs = torch.log(F.softmax(outputs, 1) + 1e-9)
    return (F.one_hot(labels, 4).float() * logs).sum(1).mean()


def picked_by_hand(outputs: Tensor, labels: Tensor) -> Tensor:
    return torch.log(torch.softmax(outputs, 1)[torch.arange(len(labels)), labels]).mean()


def likelihood(loss: Callable[[Tensor, Tensor], Tensor], classes: int) -> Pair:
    """A log likelihood written out: broken without its minus sign."""

    def pair(seed: int, broken: bool) -> Program:
        torch.manual_seed(seed)
        model = mlp(32, 32, classes if classes > 2 else 1)
        inputs, labels = blobs(seed, classes=classes)
        data = inputs, labels if classes > 2 else labels[:, None].float()
        signed = loss if broken else lambda out, wanted: -loss(out, wanted)
        return {"model": model, "data": data, "loss": signed, "optimizer": adam(model)}

    return pair


def decay(
    optimizer: Callable[..., torch.optim.Optimizer], broken: float, healthy: float, **more: Any
) -> Pair:
    def pair(seed: int, is_broken: bool) -> Program:
        torch.manual_seed(seed)
        model = mlp(32, 64, 64, 4)
        settings = {**more, "weight_decay": broken if is_broken else healthy}
        chosen = optimizer(model.parameters(), **settings)
        return classify(model, blobs(seed), optimizer=chosen, steps=20)

    return pair


def small_weights_and_a_usual_decay(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = mlp(32, *[64] * 7, 4)
    draw(model.parameters(), 0.01 if broken else None)
    return classify(model, blobs(seed), optimizer=sgd(model, 0.01, weight_decay=5e-4))


def features_in_thousands(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = mlp(32, 64, 4)
    inputs, labels = blobs(seed)
    data = (inputs * 3e3 + 5e3 if broken else inputs), labels
    return classify(model, data, optimizer=sgd(model, 0.1), steps=5)


EXAM: dict[str, tuple[Pair, str, str]] = {
    "attention pool, softmax over the score": (pooled_over_nothing, "single-unit-softmax", "score"),
    "attention, softmax over the heads": (normalised_over_heads, "single-unit-softmax", "(model)"),
    "focal loss on probabilities": (focal_on_probabilities, "double-softmax", "2"),
    "softmax by hand before log-softmax": (softmax_by_hand, "double-softmax", "body"),
    "sigmoid by hand before logits": (sigmoid_by_hand, "double-softmax", "body"),
    "blocks in a dictionary": (blocks_in_a_dictionary, "unregistered-module", "blocks.b0"),
    "parameter times a number": (parameter_times_a_number, "unregistered-module", "weight"),
    "small matrices of the model's own": (own_matrices, "init-too-small", "weights."),
    "standard normal weights": (standard_normal_weights, "init-too-large", ""),
    "standard normal kernels": (standard_normal_kernels, "init-too-large", ""),
    "rectifier at the end": (rectifier_at_the_end, "unfit-loss", "3"),
    "sigmoid at the end": (sigmoid_at_the_end, "unfit-loss", "3"),
    "decoder ends in a sigmoid": (decoder_ends_in_a_sigmoid, "unfit-loss", "7"),
    "cross entropy by hand": (likelihood(cross_entropy_by_hand, 2), "wrong-sign", ""),
    "one-hot by hand": (likelihood(one_hot_by_hand, 4), "wrong-sign", ""),
    "picked by hand": (likelihood(picked_by_hand, 4), "wrong-sign", ""),
    "decay of 8 under SGD": (
        decay(torch.optim.SGD, 8.0, 1e-4, lr=0.05),
        "weight-decay-dominates",
        "",
    ),
    "decay of 5 under Adam": (
        decay(torch.optim.Adam, 5.0, 1e-5, lr=1e-3),
        "weight-decay-dominates",
        "",
    ),
    "decay of 3 under RMSprop": (
        decay(torch.optim.RMSprop, 3.0, 0.0, lr=1e-3),
        "weight-decay-dominates",
        "",
    ),
    "small weights, usual decay": (small_weights_and_a_usual_decay, "init-too-small", ""),
    "features in thousands": (features_in_thousands, "unscaled-input", ""),
}


def one_key(seed: int) -> Program:
    """Attention of every place over one summary: weights of one are as they should be."""
    torch.manual_seed(seed)

    def attend(model: Any, x: Tensor) -> Tensor:
        whole = x.mean(1, keepdim=True)
        scores = model.query(x) @ model.key(whole).transpose(1, 2)
        return model.out((scores.softmax(-1) @ model.value(whole) + model.skip(x)).mean(1))

    parts = {name: nn.Linear(6, 16) for name in ("query", "key", "value", "skip")}
    model = Apply(attend, **parts, out=nn.Linear(16, 4))
    return classify(model, sequences(seed), optimizer=adam(model))


def one_expert(seed: int) -> Program:
    torch.manual_seed(seed)

    def route(model: Any, x: Tensor) -> Tensor:
        shares = model.router(x).softmax(-1)
        made = torch.stack([torch.relu(model.expert(x))], -1)
        return model.out((made * shares[:, :, None, :]).sum(-1).mean(1))

    parts = {"router": nn.Linear(6, 1), "expert": nn.Linear(6, 16), "out": nn.Linear(16, 4)}
    model = Apply(route, **parts)
    return classify(model, sequences(seed), optimizer=adam(model))


def silent(loss: Callable[[Tensor, Tensor], Tensor], outputs: int = 1) -> Callable[[int], Program]:
    """A loss that is negative by right, or may be."""

    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        model = mlp(32, 32, outputs)
        inputs, labels = blobs(seed, classes=2)
        data = inputs, labels[:, None].float()
        return {"model": model, "data": data, "loss": loss, "optimizer": adam(model)}

    return patient


SILENT: dict[str, Callable[[int], Program]] = {
    "one key": one_key,
    "one expert": one_expert,
    "tanh at the end": lambda seed: regression(seed, nn.Tanh()),
    "generator against its critic": silent(lambda o, _: torch.log(1 - torch.sigmoid(o)).mean()),
    "entropy": silent(lambda o, _: (F.softmax(o, 1) * F.log_softmax(o, 1)).sum(1).mean(), 4),
    "rewards of both signs": silent(lambda o, t: -(F.logsigmoid(o) * (0.2 - t)).mean()),
    "less a number": silent(lambda o, t: -cross_entropy_by_hand(o, t) - 3),
}
