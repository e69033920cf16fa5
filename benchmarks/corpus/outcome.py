"""Faults at the output and of arithmetic: softmax, shapes, losses, NaN, half precision."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import (
    Attention,
    Sequences,
    adam,
    convnet,
    cross_entropy,
    he,
    mlp,
    resnet,
    sgd,
    squares,
)
from corpus.signal_start import draw


class Then(nn.Module):
    """A net and a function after it."""

    def __init__(self, net: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.net, self.after = net, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.net(x))


class Two(nn.Module):
    """Binary scores from one unit: a softmax over it, or a sigmoid."""

    def __init__(self, net: nn.Module, softmax: bool) -> None:
        super().__init__()
        self.net, self.softmax = net, softmax

    def forward(self, x: Tensor) -> Tensor:
        score = self.net(x)
        return F.softmax(score, dim=-1) if self.softmax else torch.sigmoid(score)


def binary(kind: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        if kind == "mlp":
            net: nn.Module = mlp(2, rng.choice((8, 16)), 2, 1, nn.Tanh)
            inputs, labels = data.rings(seed)
        elif kind == "cnn":
            net = convnet(8, 2, 1)
            inputs, labels = data.pictures(seed, classes=2)
        else:
            net = Sequences(nn.GRU, 6, rng.choice((12, 16)), 1)
            inputs, labels = data.first_matters(seed, 4, classes=2)
        model = Two(net, broken)
        pair = (inputs, labels.float()[:, None])
        return Drawn({"model": model, "data": pair, "loss": nn.BCELoss(), "optimizer": adam(model)})

    return build


def softmax_then_cross_entropy(kind: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        after: nn.Module = nn.Softmax(dim=-1) if broken else nn.Identity()
        if kind == "mlp":
            net: nn.Module = mlp(24, rng.choice((24, 32)), 2, 10)
            pair = data.clusters(seed, 24, 10, samples=100)
        elif kind == "cnn":
            net, pair = resnet(8, 1, 8), data.pictures(seed, classes=8)
        else:
            net = Sequences(nn.LSTM, 6, 24, 5, last=False)
            pair = data.every_step(seed, 8, classes=5)
        model = Then(net, after)
        loss = nn.CrossEntropyLoss()
        if kind == "tagger":
            loss = lambda out, tags: F.cross_entropy(out.flatten(0, 1), tags.flatten())  # noqa: E731
        return Drawn({"model": model, "data": pair, "loss": loss, "optimizer": sgd(model, 0.1)})

    return build


def sigmoid_twice(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "sigmoid twice")
    inputs, labels = data.clusters(seed, 16, 6)
    net = mlp(16, rng.choice((24, 32)), 2, 6, nn.ReLU)
    model = Then(net, nn.Sigmoid() if broken else nn.Identity())
    pair = (inputs, F.one_hot(labels, 6).float())
    return Drawn(
        {"model": model, "data": pair, "loss": nn.BCEWithLogitsLoss(), "optimizer": sgd(model, 0.5)}
    )


def broadcast(kind: str):
    """Predictions (N, 1) against targets (N,), or the reverse."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        inputs, targets = data.table(seed, samples=rng.choice((48, 96)))
        net = mlp(8, rng.choice((24, 32)), 2, 1, nn.GELU)
        loss = {"l1": nn.L1Loss(), "huber": nn.HuberLoss()}.get(kind, nn.MSELoss())
        model: nn.Module = net
        wanted = targets[:, 0] if broken else targets
        if kind == "flat":
            model = Then(net, nn.Flatten(0))
            wanted = targets if broken else targets[:, 0]
        if kind == "by hand":
            loss = lambda out, target: ((out - target) ** 2).mean()  # noqa: E731
        return Drawn(
            {"model": model, "data": (inputs, wanted), "loss": loss, "optimizer": adam(model, 1e-2)}
        )

    return build


def squashed_targets(seed: int, broken: bool) -> Drawn:
    """A tanh or sigmoid output for targets that it cannot reach."""
    rng = draw(seed, "squashed")
    inputs, targets = data.table(seed)
    squash: nn.Module = rng.choice((nn.Sigmoid, nn.Tanh))() if broken else nn.Identity()
    model = nn.Sequential(*mlp(8, 32, 2, 1, nn.GELU), squash)
    program = squares(model, (inputs, 5 * targets + 20), optimizer=adam(model, 1e-2))
    return Drawn(program, ("5", "4"))


def flat_loss(seed: int, broken: bool) -> Drawn:
    """Squares against a sigmoid that starts far on the wrong side."""
    rng = draw(seed, "flat loss")
    inputs, labels = data.clusters(seed, 12, 2)
    model = nn.Sequential(*mlp(12, rng.choice((16, 32)), 1, 1), nn.Sigmoid())
    if broken:
        nn.init.constant_(model[2].bias, -rng.uniform(25, 40))
    pair = (inputs, labels.float()[:, None].clamp(0.0, 1.0))
    return Drawn(squares(model, pair, optimizer=sgd(model, 0.5)), ("3", "2"))


def no_nonlinearity(kind: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, kind)
        act = nn.Identity if broken else nn.ReLU
        if kind == "mlp":
            model: nn.Module = he(mlp(2, rng.choice((16, 32)), rng.randint(3, 6), 2, act), gain=1.0)
            pair = data.rings(seed)
            if broken:
                model = nn.Sequential(*[m for m in model if isinstance(m, nn.Linear)])
            return Drawn(cross_entropy(model, pair, optimizer=adam(model)))
        model = mlp(8, rng.choice((24, 32)), 3, 1, act)
        return Drawn(squares(model, data.table(seed), optimizer=adam(model)))

    return build


def log_of_softmax(seed: int, broken: bool) -> Drawn:
    """log(softmax) by hand: exact zeros as soon as logits lie 104 apart."""
    rng = draw(seed, "log of softmax")
    model = mlp(16, 24, 1, 4)
    if broken:
        with torch.no_grad():
            model[2].weight.mul_(rng.uniform(2000, 4000))

    def loss(out: Tensor, labels: Tensor) -> Tensor:
        log = torch.log(F.softmax(out, 1)) if broken else F.log_softmax(out, 1)
        return -log[torch.arange(len(labels)), labels].mean()

    return Drawn({"model": model, "data": data.clusters(seed, 16, 4), "loss": loss})


class Standardize(nn.Module):
    """Batch statistics by hand, with or without an epsilon."""

    def __init__(self, width: int, safe: bool) -> None:
        super().__init__()
        self.first, self.head, self.safe = nn.Linear(12, width), nn.Linear(width, 4), safe

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = (x - x.mean(0)) / (x.std(0) + (1e-5 if self.safe else 0.0))
        return self.head(x)


def dead_column_division(seed: int, broken: bool) -> Drawn:
    """Batch standardisation without an epsilon; one unit is off on every sample."""
    rng = draw(seed, "division")
    model = Standardize(rng.choice((8, 16)), not broken)
    with torch.no_grad():
        model.first.bias[rng.randrange(8)] = -50.0
    return Drawn(cross_entropy(model, data.clusters(seed, 12, 4)), ("",))


class Exponent(nn.Module):
    """A softmax written as exp over sum, scores in the thousands."""

    def __init__(self, width: int, safe: bool) -> None:
        super().__init__()
        self.score, self.value = nn.Linear(6, 1), nn.Linear(6, width)
        self.head, self.safe = nn.Linear(width, 4), safe

    def forward(self, x: Tensor) -> Tensor:
        scores = 400 * self.score(x)
        if self.safe:
            scores = scores - scores.max(1, keepdim=True).values
        weights = scores.exp()
        weights = weights / weights.sum(1, keepdim=True)
        return self.head((weights * self.value(x)).sum(1))


def exponent(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "exponent")
    model = Exponent(rng.choice((8, 16)), not broken)
    return Drawn(cross_entropy(model, data.first_matters(seed, 8)), ("",))


class Masked(nn.Module):
    """Attention in which one sample has every position masked."""

    def __init__(self, width: int, guard: bool) -> None:
        super().__init__()
        self.embed, self.attention = nn.Embedding(60, width, padding_idx=0), Attention(width, 2)
        self.head, self.guard = nn.Linear(width, 4), guard

    def forward(self, tokens: Tensor) -> Tensor:
        mask = (tokens == 0)[:, None, None, :]
        if self.guard:
            mask = mask & ~mask.all(-1, keepdim=True)
        return self.head(self.attention(self.embed(tokens), mask).mean(1))


def masked_row(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "masked row")
    tokens, labels = data.sentences(seed)
    tokens[rng.randrange(len(tokens))] = 0
    model = Masked(rng.choice((16, 24)), not broken)
    return Drawn(cross_entropy(model, (tokens, labels)), ("attention",))


class Guarded(nn.Module):
    """where() chooses the safe side; the other side's derivative is 0 times infinity."""

    def __init__(self, function: str, safe: bool) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(12, 16), nn.Linear(16, 4)
        self.function, self.safe = function, safe

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        inside = torch.where(x > 0, x, torch.ones_like(x)) if self.safe else x
        curve = inside.sqrt() if self.function == "sqrt" else inside**0.3
        return self.head(torch.where(x > 0, curve, torch.zeros_like(x)))


def inactive_branch(function: str):
    def build(seed: int, broken: bool) -> Drawn:
        draw(seed, function)
        model = Guarded(function, not broken)
        return Drawn(cross_entropy(model, data.clusters(seed, 12, 4)), ("",))

    return build


class Distance(nn.Module):
    """A Siamese net: Euclidean distance of two embeddings, written as a root of squares."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.embed, self.epsilon = nn.Linear(12, width), epsilon

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        gap = self.embed(left) - self.embed(right)
        return ((gap**2).sum(1) + self.epsilon).sqrt()


def equal_pair(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "equal pair")
    inputs, labels = data.clusters(seed, 12, 2)
    other = inputs.roll(1, 0).clone()
    other[5] = inputs[5]
    model = Distance(rng.choice((6, 10)), 0.0 if broken else 1e-6)
    target = labels.ne(labels.roll(1)).float()
    return Drawn(squares(model, ((inputs, other), target)), ("",))


def half_underflow(seed: int, broken: bool) -> Drawn:
    """A float16 net whose loss is a mean over very many outputs."""
    rng = draw(seed, "half underflow")
    scale = rng.choice((1e-6, 1e-7)) if broken else 1.0
    model = he(mlp(16, 24, 4, 4, nn.Tanh), gain=1.0).half()
    inputs, labels = data.clusters(seed, 16, 4)
    loss = lambda out, target: scale * F.cross_entropy(out.float(), target)  # noqa: E731
    optimizer = adam(model, 1e-2, eps=1e-4)
    return Drawn(
        {"model": model, "data": (inputs.half(), labels), "loss": loss, "optimizer": optimizer}
    )


def half_weights(seed: int, broken: bool) -> Drawn:
    """Weights kept in float16: small updates round away."""
    rng = draw(seed, "half weights")
    model = he(mlp(16, rng.choice((24, 48)), 2, 4, nn.GELU))
    inputs, labels = data.clusters(seed, 16, 4)
    if broken:
        model, inputs = model.half(), inputs.half()
    loss = lambda out, target: F.cross_entropy(out.float(), target)  # noqa: E731
    optimizer = adam(model, 2e-5, eps=1e-4)
    return Drawn({"model": model, "data": (inputs, labels), "loss": loss, "optimizer": optimizer})


R = "raises"
CASES = (
    *(
        Case(f"softmax over one unit, {k}", k, binary(k), "single-unit-softmax")
        for k in ("mlp", "cnn", "rnn")
    ),
    *(
        Case(f"softmax twice, {k}", k, softmax_then_cross_entropy(k), "double-softmax", training=60)
        for k in ("mlp", "cnn", "tagger")
    ),
    Case("sigmoid twice", "mlp", sigmoid_twice, "double-softmax"),
    *(
        Case(f"broadcast, {k}", "regression", broadcast(k), "broadcast-loss", check="own loss")
        for k in ("mse", "l1", "huber", "flat", "by hand")
    ),
    Case(
        "squashed output, far targets",
        "regression",
        squashed_targets,
        "unfit-loss",
        ("unscaled-target", "saturated-activation"),
    ),
    Case("squares on a shut sigmoid", "mlp", flat_loss, "unfit-loss", ("saturated-activation",)),
    Case("no activation, rings", "mlp", no_nonlinearity("mlp"), "no-nonlinearity"),
    Case("no activation, regression", "regression", no_nonlinearity("table"), "no-nonlinearity"),
    Case("log of softmax", "mlp", log_of_softmax, "nonfinite-forward", check=R),
    Case("division by a dead column", "mlp", dead_column_division, "nonfinite-forward", check=R),
    Case("exp by hand", "rnn", exponent, "nonfinite-forward", check=R),
    Case(
        "fully masked row",
        "transformer",
        masked_row,
        "nonfinite-forward",
        ("nonfinite-backward",),
        check=R,
    ),
    Case(
        "where around sqrt",
        "mlp",
        inactive_branch("sqrt"),
        "nonfinite-backward",
        ("nonfinite-forward",),
        check=R,
    ),
    Case(
        "where around a power",
        "mlp",
        inactive_branch("power"),
        "nonfinite-backward",
        ("nonfinite-forward",),
        check=R,
    ),
    Case("distance of equals", "mlp", equal_pair, "nonfinite-backward", check=R),
    Case(
        "float16 underflow",
        "mlp",
        half_underflow,
        "half-precision-underflow",
        ("half-precision-weights", "epsilon-dominated"),
        twinned=False,
        check="scaled",
        training=500,
    ),
    Case(
        "float16 weights",
        "mlp",
        half_weights,
        "half-precision-weights",
        check="scaled",
        training=1500,
    ),
)
