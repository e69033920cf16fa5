"""Faults of wiring: cut, unregistered, forgotten, frozen, checkpointed, stuck."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import (
    Adapted,
    AutoEncoder,
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


class Cut(nn.Module):
    """A body and a head with something between them."""

    def __init__(self, body: nn.Module, head: nn.Module, how: str) -> None:
        super().__init__()
        self.body, self.head, self.how = body, head, how

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                features = self.body(x)
        else:
            features = self.body(x)
        if self.how == "detach":
            features = features.detach()
        elif self.how == "numpy":
            features = torch.as_tensor(features.detach().cpu().numpy())
        elif self.how == "data":
            features = features.data
        elif self.how == "rewrap":
            features = torch.tensor(features.tolist())
        return self.head(features)


def cut_body(how: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, how)
        width = rng.choice((12, 24))
        body: nn.Module = nn.Sequential(nn.Linear(16, width), nn.GELU())
        head: nn.Module = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 4))
        pair = data.clusters(seed, 16, 4)
        if how in ("no_grad", "data"):
            body = nn.Sequential(*list(convnet(width, 2, 4))[:-1])
            head = nn.Linear(4 * width, 4)
            pair = data.pictures(seed)
        model = Cut(body, head, how if broken else "")
        return Drawn(cross_entropy(model, pair, optimizer=adam(model)), ("body",))

    return build


class Tokens(nn.Module):
    """An embedding whose output is turned into token numbers again, as in a pipeline."""

    def __init__(self, width: int, hard: bool) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, 12), nn.Embedding(12, width)
        self.head, self.hard = nn.Linear(width, 4), hard

    def forward(self, x: Tensor) -> Tensor:
        scores = self.first(x)
        if self.hard:
            return self.head(self.second(scores.argmax(1)))
        return self.head(scores.softmax(1) @ self.second.weight)


def through_argmax(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "argmax")
    model = Tokens(rng.choice((8, 16)), broken)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4)), ("first",))


class Rounded(nn.Module):
    """A quantiser without a straight-through estimate: its derivative is zero."""

    def __init__(self, width: int, hard: bool) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(16, width), nn.Linear(width, 16)
        self.hard = hard

    def forward(self, x: Tensor) -> Tensor:
        code = self.encode(x)
        rounded = torch.round(code)
        return self.decode(rounded if self.hard else code + (rounded - code).detach())


def rounding(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "rounding")
    inputs, _ = data.clusters(seed, 16, 4)
    model = Rounded(rng.choice((8, 12)), broken)
    return Drawn(squares(model, (inputs, inputs), optimizer=adam(model)), ("encode",))


class Listed(nn.Module):
    """Layers in a list, a dictionary, or bare tensors."""

    def __init__(self, width: int, holder: str, broken: bool) -> None:
        super().__init__()
        layers = [nn.Linear(16 if k == 0 else width, width) for k in range(3)]
        self.head, self.holder = nn.Linear(width, 4), holder
        if holder == "dict":
            named = {f"expert{k}": layer for k, layer in enumerate(layers)}
            self.experts = named if broken else nn.ModuleDict(named)
        else:
            self.layers = layers if broken else nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        layers = self.experts.values() if self.holder == "dict" else self.layers
        for layer in layers:
            x = torch.relu(layer(x))
        return self.head(x)


def in_a(holder: str):
    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, holder)
        model = Listed(rng.choice((16, 32)), holder, broken)
        return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)))

    return build


class BareTensor(nn.Module):
    """A weight that is a tensor of its own, or a parameter."""

    def __init__(self, width: int, broken: bool) -> None:
        super().__init__()
        weight = 0.3 * torch.randn(width, 6)
        self.mix = weight.requires_grad_() if broken else nn.Parameter(weight)
        self.memory, self.head = nn.GRU(width, 16, batch_first=True), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x @ self.mix.T)[0][:, -1])


def bare_tensor(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "bare tensor")
    model = BareTensor(rng.choice((8, 12)), broken)
    return Drawn(cross_entropy(model, data.first_matters(seed, 5), optimizer=adam(model)))


def forgotten(part: str):
    """An optimizer that was given everything but one part."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, part)
        if part == "encoder":
            inputs, _ = data.clusters(seed, 20, 4)
            model: nn.Module = AutoEncoder(20, (16, 8), rng.choice((nn.Tanh, nn.GELU)))
            program = squares(model, (inputs, inputs))
        elif part == "head":
            model = UNet(rng.choice((6, 8)), 4)
            pictures, _ = data.pictures(seed, samples=8)
            program = cross_entropy(model, (pictures, pictures[:, 0].gt(0).long()))
        else:
            model = Transformer(60, 32, 2, 4)
            program = cross_entropy(model, data.sentences(seed))
        kept = [p for n, p in model.named_parameters() if not (broken and n.startswith(part))]
        return Drawn({**program, "optimizer": torch.optim.Adam(kept, 3e-3)}, (part,))

    return build


def rate_zero(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "rate zero")
    model = resnet(rng.choice((6, 8)), 2, 4)
    groups = [
        {"params": model[:5].parameters(), "lr": 0.0 if broken else 0.05},
        {"params": model[5:].parameters()},
    ]
    optimizer = torch.optim.SGD(groups, 0.05)
    return Drawn(cross_entropy(model, data.pictures(seed), optimizer=optimizer), ("0", "3", "4"))


def all_frozen(seed: int, broken: bool) -> Drawn:
    draw(seed, "all frozen")
    model = mlp(16, 24, 2, 4)
    optimizer = sgd(model, 0.1)
    model.requires_grad_(not broken)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=optimizer))


def frozen_adapter(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "frozen adapter")
    model = nn.Sequential(Adapted(16, 24, rng.choice((2, 4))), nn.ReLU(), Adapted(24, 4, 2))
    optimizer = adam(model, 1e-2)
    if broken:
        model.requires_grad_(False)
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=optimizer))


class Checkpointed(nn.Module):
    """Frozen embedding, trunk under a checkpoint, head outside."""

    def __init__(self, width: int, blocks: int, reentrant: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, width).requires_grad_(False)
        make = lambda: nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))  # noqa: E731
        self.trunk = nn.ModuleList(make() for _ in range(blocks))
        self.head, self.reentrant = nn.Linear(width, 4), reentrant

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.trunk:
            x = x + checkpoint(block, x, use_reentrant=self.reentrant)
        return self.head(x.mean(1))


def checkpointed(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "checkpointed")
    model = Checkpointed(rng.choice((16, 24)), rng.choice((2, 3)), broken)
    return Drawn(cross_entropy(model, data.sentences(seed), optimizer=adam(model)), ("trunk",))


class PictureTrunk(nn.Module):
    """The whole first stage under one checkpoint, fed with pixels."""

    def __init__(self, width: int, reentrant: bool) -> None:
        super().__init__()
        self.stage = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.head, self.reentrant = nn.Linear(width * 4, 4), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(checkpoint(self.stage, x, use_reentrant=self.reentrant))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


def picture_checkpoint(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "picture checkpoint")
    model = PictureTrunk(rng.choice((6, 10)), broken)
    return Drawn(cross_entropy(model, data.pictures(seed)), ("stage",))


def both_zero(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "both zero")
    model = nn.Sequential(Adapted(16, 24, rng.choice((2, 4))), nn.Tanh(), Adapted(24, 4, 2))
    if broken:
        for part in (model[0], model[2]):
            nn.init.zeros_(part.a.weight)
    program = cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model, 1e-2))
    return Drawn(program, ("0", "2"))


class ZeroGate(nn.Module):
    """Branches behind relu(gate), gate 0, or a zero gate times a branch that ends in zeros."""

    def __init__(self, width: int, blocks: int, broken: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.gates = nn.Parameter(torch.full((blocks,), 0.0 if broken else 0.5))
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer, gate in zip(self.layers, self.gates, strict=True):
            x = x + torch.relu(gate) * torch.tanh(layer(x))
        return self.head(x)


def zero_gate(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "zero gate")
    model = ZeroGate(16, rng.choice((2, 4)), broken)
    he(model, gain=1.0)
    return Drawn(
        cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)), ("gates", "layers")
    )


M = "moves"
CASES = (
    *(
        Case(f"features {name}", arch, cut_body(how), "detached", check=M, training=20)
        for name, how, arch in (
            ("detached", "detach", "mlp"),
            ("without grad", "no_grad", "cnn"),
            ("through numpy", "numpy", "mlp"),
            ("through .data", "data", "cnn"),
            ("rebuilt from a list", "rewrap", "mlp"),
        )
    ),
    Case("through argmax", "embedding", through_argmax, "detached", check=M, training=20),
    Case(
        "rounded code",
        "autoencoder",
        rounding,
        "detached",
        ("dead-units", "saturated-activation", "stuck-saddle"),
        check=M,
        training=20,
    ),
    Case("layers in a list", "mlp", in_a("list"), "unregistered-module", check=M, training=20),
    Case(
        "experts in a dictionary", "mlp", in_a("dict"), "unregistered-module", check=M, training=20
    ),
    Case("a bare tensor", "rnn", bare_tensor, "unregistered-module", check=M, training=20),
    Case(
        "encoder not in the optimizer",
        "autoencoder",
        forgotten("encoder"),
        "not-in-optimizer",
        check=M,
        training=20,
    ),
    Case(
        "head not in the optimizer",
        "unet",
        forgotten("head"),
        "not-in-optimizer",
        check=M,
        training=20,
    ),
    Case(
        "blocks not in the optimizer",
        "transformer",
        forgotten("blocks"),
        "not-in-optimizer",
        check=M,
        training=20,
    ),
    Case(
        "step size zero for good",
        "resnet",
        rate_zero,
        "not-in-optimizer",
        ("step-too-small",),
        check=M,
        training=20,
    ),
    Case("everything frozen", "mlp", all_frozen, "nothing-trainable", check="raises"),
    Case("adapter frozen too", "lora", frozen_adapter, "nothing-trainable", check="raises"),
    Case(
        "reentrant checkpoint, frozen embedding",
        "embedding",
        checkpointed,
        "frozen-by-checkpoint",
        check=M,
        training=20,
    ),
    Case(
        "reentrant checkpoint on pixels",
        "cnn",
        picture_checkpoint,
        "frozen-by-checkpoint",
        check=M,
        training=20,
    ),
    Case("both factors zero", "lora", both_zero, "stuck-saddle", ("symmetric-init",)),
    Case(
        "gate at zero behind a relu",
        "resnet",
        zero_gate,
        "stuck-saddle",
        ("dead-units",),
        check=M,
        training=20,
    ),
)
