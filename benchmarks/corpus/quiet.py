"""Healthy programs that look ill: small, zero or missing gradients with a good reason."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import (
    Adapted,
    LinearSum,
    Sequences,
    Transformer,
    UNet,
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


def frozen_backbone(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "frozen backbone")
    model = resnet(8, rng.choice((1, 2)), 4)
    for part in list(model)[:-1]:
        part.requires_grad_(False)
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=adam(model, 1e-2)))


class Bags(nn.Module):
    """The mean of looked-up rows."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(rows, width, padding_idx=0)
        self.head = nn.Linear(width, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.table(tokens).mean(1))


def large_table(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "large table")
    rows = rng.choice((5000, 20_000))
    model = Bags(rows, rng.choice((8, 16)))
    tokens, labels = data.sentences(seed, vocabulary=rows)
    tokens[:, -3:] = 0
    return Drawn(cross_entropy(model, (tokens, labels), optimizer=adam(model, 1e-2)))


def wide_relu(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "wide relu")
    model = he(mlp(16, rng.choice((128, 200)), rng.choice((4, 8)), 4))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model, 1e-3)))


def zero_last_norm(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "zero last norm")
    model = resnet(rng.choice((6, 8)), rng.choice((4, 8)), 4, zero=True)
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=sgd(model, 0.05)))


def low_rank(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "low rank")
    rank = rng.choice((2, 4))
    model = nn.Sequential(Adapted(16, 32, rank), nn.GELU(), Adapted(32, 4, rank))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model, 1e-2)))


def zero_head(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "zero head")
    model = mlp(16, rng.choice((16, 32)), 3, 4, nn.Tanh)
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)))


class Auxiliary(nn.Module):
    """Two heads, of which the loss takes one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, width), nn.ReLU())
        self.head, self.extra = nn.Linear(width, 4), nn.Linear(width, 9)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        hidden = self.body(x)
        return {"main": self.head(hidden), "extra": self.extra(hidden)}


def auxiliary_head(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "auxiliary head")
    model = Auxiliary(rng.choice((16, 32)))
    loss = lambda out, labels: F.cross_entropy(out["main"], labels)  # noqa: E731
    program = {"model": model, "data": data.clusters(seed, 16, 4), "loss": loss}
    return Drawn({**program, "optimizer": adam(model)})


def biased_norm(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "biased norm")
    model = mlp(16, rng.choice((24, 32)), rng.choice((3, 6)), 4, nn.ReLU, nn.BatchNorm1d)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=sgd(model, 0.05)))


def key_bias(post: bool):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"key bias {post}")
        model = Transformer(60, 32, rng.choice((2, 4)), 4, post)
        return Drawn(cross_entropy(model, data.sentences(seed), optimizer=adam(model, 1e-3)))

    return build


def library_encoder(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "library encoder")
    layer = nn.TransformerEncoderLayer(
        16, 2, 32, 0.1, batch_first=True, norm_first=rng.random() < 0.5
    )
    encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
    model = Sequences(nn.GRU, 16, 16, 4)
    model = nn.Sequential(nn.Embedding(60, 16), encoder, model)
    return Drawn(cross_entropy(model, data.sentences(seed), optimizer=adam(model, 1e-3)))


def summed(scale: float):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"summed {scale}")
        model = mlp(16, rng.choice((24, 32)), 3, 4, nn.GELU)
        loss = lambda out, labels: scale * F.cross_entropy(out, labels, reduction="sum")  # noqa: E731
        program = {"model": model, "data": data.clusters(seed, 16, 4), "loss": loss}
        return Drawn({**program, "optimizer": adam(model)})

    return build


def loud_normalised(seed: int, broken: bool) -> Drawn:
    """Huge weights under batch norm: tiny gradients, same function."""
    rng = draw(seed, "loud normalised")
    model = mlp(16, 32, 3, 4, nn.ReLU, nn.BatchNorm1d)
    with torch.no_grad():
        for layer in (model[0], model[3], model[6]):
            layer.weight.mul_(rng.uniform(20, 60))
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=optimizer))


class Experts(nn.Module):
    """Each sample goes to one of several experts; some get none in this batch."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(16, 24) for _ in range(experts))
        self.gate, self.head = nn.Linear(16, experts), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        weight, chosen = self.gate(x.mean(0)).softmax(-1).max(-1)
        return self.head(torch.relu(self.experts[int(chosen)](x)) * weight)


def experts(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "experts")
    model = Experts(rng.choice((4, 8)))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)))


def settled(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "settled")
    model, pair = mlp(16, 24, rng.choice((1, 2)), 4, nn.Tanh), data.clusters(seed, 16, 4)
    optimizer = adam(model, 1e-2)
    for _ in range(500):
        optimizer.zero_grad()
        F.cross_entropy(model(pair[0]), pair[1]).backward()
        optimizer.step()
    optimizer.zero_grad()
    return Drawn(cross_entropy(model, pair, optimizer=optimizer))


def warm_up(seed: int, broken: bool) -> Drawn:
    draw(seed, "warm up")
    model = Transformer(60, 32, 2, 4)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 10))
    return Drawn(cross_entropy(model, data.sentences(seed), optimizer=optimizer))


class Tied(nn.Module):
    """Language model in small: the table reads and writes."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.table, self.memory = nn.Embedding(40, width), nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, 40, bias=False)
        self.out.weight = self.table.weight
        nn.init.normal_(self.table.weight, std=0.1)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.memory(self.table(tokens))[0])


def tied(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "tied")
    model = Tied(rng.choice((16, 24)))
    start = torch.randint(40, (24, 1), generator=data.source(seed))
    tokens = (start + 3 * torch.arange(13)) % 40
    loss = lambda out, wanted: F.cross_entropy(out.flatten(0, 1), wanted.flatten())  # noqa: E731
    program = {"model": model, "data": (tokens[:, :-1], tokens[:, 1:]), "loss": loss}
    return Drawn({**program, "optimizer": adam(model, 1e-2)})


class Gates(nn.Module):
    """Squeeze-and-excitation that starts almost shut, checkpointed without reentry."""

    def __init__(self, width: int, shut: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.excite, self.branch = nn.Linear(width, width), nn.Conv2d(width, width, 3, padding=1)
        self.head, self.shut = nn.Linear(width * 4, 4), shut

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.stem(x))
        gate = torch.sigmoid(self.excite(x.mean((2, 3))) - self.shut)[:, :, None, None]
        x = x + gate * checkpoint(lambda y: F.silu(self.branch(y)), x, use_reentrant=False)
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


def shut_gates(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "shut gates")
    model = Gates(rng.choice((8, 12)), rng.uniform(5, 10))
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=adam(model, 1e-2)))


def short_memory(kind: type[nn.RNNBase], last: bool):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, f"{kind.__name__} {last}")
        model = Sequences(kind, 6, rng.choice((16, 24)), 4, last=last)
        if last:
            return Drawn(cross_entropy(model, data.first_matters(seed, 5), optimizer=adam(model)))
        loss = lambda out, tags: F.cross_entropy(out.flatten(0, 1), tags.flatten())  # noqa: E731
        pair = data.every_step(seed, rng.randint(40, 60))
        program = {"model": model, "data": pair, "loss": loss}
        return Drawn({**program, "optimizer": adam(model)})

    return build


def shallow_sigmoid(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "shallow sigmoid")
    model = mlp(16, rng.choice((16, 32)), rng.choice((2, 3)), 4, nn.Sigmoid)
    return Drawn(
        cross_entropy(model, data.clusters(seed, 16, 4, apart=2), optimizer=adam(model, 1e-2))
    )


def deep_skips(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "deep skips")
    depth = rng.randint(20, 40)
    model = nn.Sequential(*[LinearSum(24, depth**-0.5) for _ in range(depth)], nn.Linear(24, 4))
    return Drawn(cross_entropy(model, data.clusters(seed, 24, 4), optimizer=adam(model, 1e-3)))


def segmenter(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "segmenter")
    inputs, _ = data.pictures(seed, samples=8)
    model = UNet(rng.choice((6, 8)), 3)
    return Drawn(cross_entropy(model, (inputs, inputs[:, 0].gt(0).long()), optimizer=adam(model)))


def plain_pictures(seed: int, broken: bool) -> Drawn:
    draw(seed, "plain pictures")
    model = convnet(12, 4, 4, nn.ReLU, norm=True)
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=sgd(model, 0.05)))


def plain_regression(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "plain regression")
    model = mlp(8, rng.choice((32, 64)), 2, 1, nn.ReLU)
    return Drawn(squares(model, data.table(seed), optimizer=adam(model)))


LOOK_ILL = tuple(
    Case(name, arch, build, suspicious=why)
    for name, arch, build, why in (
        ("frozen backbone", "resnet", frozen_backbone, "None on all but the head"),
        ("large table", "embedding", large_table, "99 % exact zeros, a padding row"),
        ("wide relu", "mlp", wide_relu, "half of the activations are zero"),
        ("zero last norm", "resnet", zero_last_norm, "whole branches exactly zero"),
        ("low rank, B = 0", "lora", low_rank, "the gradient of A is exactly zero"),
        ("zero head", "mlp", zero_head, "everything but the head exactly zero"),
        ("auxiliary head", "mlp", auxiliary_head, "None on a head that is not in the loss"),
        ("bias before batch norm", "mlp", biased_norm, "biases at 1e-9"),
        ("key bias, pre-norm", "transformer", key_bias(False), "key bias at 1e-7"),
        ("key bias, post-norm", "transformer", key_bias(True), "key bias at 1e-7, post-norm"),
        ("library encoder", "transformer", library_encoder, "dropout, fused projection"),
        ("loss summed, times 100", "mlp", summed(100.0), "a gradient norm in the thousands"),
        ("loss divided by 1e4", "mlp", summed(1e-6), "gradients of 1e-6 under Adam"),
        ("loud but normalised", "mlp", loud_normalised, "weights times 40, gradients over 40"),
        ("unselected experts", "mlp", experts, "None on most experts"),
        ("settled", "mlp", settled, "1e-5 everywhere, converged"),
        ("first step of a warm-up", "transformer", warm_up, "a step size of zero"),
        ("tied table", "rnn", tied, "one tensor with two uses"),
        ("gates almost shut", "cnn", shut_gates, "a branch at 1e-4 of the trunk"),
        ("short memory", "rnn", short_memory(nn.LSTM, True), "an LSTM with default gates"),
        ("a label at every step", "rnn", short_memory(nn.RNN, False), "50 steps of a tanh RNN"),
        ("GRU tagger", "tagger", short_memory(nn.GRU, False), "50 steps"),
        ("shallow sigmoid", "mlp", shallow_sigmoid, "two or three sigmoid layers"),
        ("deep skips", "resnet", deep_skips, "thirty blocks"),
    )
)
CASES = (
    *LOOK_ILL,
    Case("segmenter", "unet", segmenter),
    Case("plain pictures", "cnn", plain_pictures),
    Case("plain regression", "regression", plain_regression),
)
