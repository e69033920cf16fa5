"""Healthy programs whose gradient is stopped, sparse or shifted on purpose."""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from corpus import data
from corpus.case import Case, Drawn
from corpus.nets import AutoEncoder, adam, cross_entropy, he, mlp, resnet, sgd, squares
from corpus.signal_start import draw


class Adversary(nn.Module):
    """Generator and discriminator in one module, as many scripts have them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.generator = mlp(4, width, 2, 8, nn.ReLU)
        self.discriminator = mlp(8, width, 2, 1, nn.LeakyReLU)


def player(which: str):
    """One half of a GAN step: the other half is frozen, or not in the optimizer."""

    def build(seed: int, broken: bool) -> Drawn:
        rng = draw(seed, which)
        model = Adversary(rng.choice((16, 32)))
        real, _ = data.clusters(seed, 8, 3)
        noise = torch.randn(len(real), 4, generator=data.source(seed))

        def discriminate(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            fake = net.generator(batch[1]).detach()
            right, wrong = net.discriminator(batch[0]), net.discriminator(fake)
            ones, zeros = torch.ones_like(right), torch.zeros_like(wrong)
            bce = F.binary_cross_entropy_with_logits
            return bce(right, ones) + bce(wrong, zeros)

        def generate(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            scores = net.discriminator(net.generator(batch[1]))
            return F.binary_cross_entropy_with_logits(scores, torch.ones_like(scores))

        if which == "discriminator":
            forward, own = discriminate, model.discriminator
            model.generator.requires_grad_(False)
        else:
            forward, own = generate, model.generator
            model.discriminator.requires_grad_(False)
        optimizer = torch.optim.Adam(own.parameters(), 2e-3)
        return Drawn(
            {
                "model": model,
                "data": (real, noise),
                "loss": None,
                "forward": forward,
                "optimizer": optimizer,
            }
        )

    return build


class Teacher(nn.Module):
    """A student follows a frozen copy of itself, as in self-distillation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.student = mlp(16, width, 2, 8, nn.GELU)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.predict = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(x)
        return F.mse_loss(self.predict(self.student(x + 0.05)), wanted)


def teacher(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "teacher")
    model = Teacher(rng.choice((16, 32)))
    return Drawn(
        {
            "model": model,
            "data": data.clusters(seed, 16, 4),
            "loss": lambda out, _: out,
            "optimizer": adam(model),
        }
    )


class Quantised(nn.Module):
    """Nearest code word, straight-through, commitment and code-book losses."""

    def __init__(self, width: int, codes: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(16, width), nn.Linear(width, 16)
        self.book = nn.Parameter(torch.randn(codes, width))

    def forward(self, x: Tensor) -> Tensor:
        code = self.encode(x)
        near = self.book[torch.cdist(code, self.book).argmin(1)]
        through = code + (near - code).detach()
        own = F.mse_loss(near, code.detach()) + 0.25 * F.mse_loss(code, near.detach())
        return F.mse_loss(self.decode(through), x) + own


def quantised(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "quantised")
    model = Quantised(rng.choice((6, 8)), rng.choice((16, 32)))
    return Drawn(
        {
            "model": model,
            "data": data.clusters(seed, 16, 4),
            "loss": lambda out, _: out,
            "optimizer": adam(model, 1e-2),
        }
    )


class Truncated(nn.Module):
    """Back-propagation through time in chunks: the state is detached between them."""

    def __init__(self, width: int, chunk: int) -> None:
        super().__init__()
        self.memory, self.head, self.chunk = (
            nn.GRU(6, width, batch_first=True),
            nn.Linear(width, 4),
            chunk,
        )

    def forward(self, x: Tensor) -> Tensor:
        outputs, state = [], None
        for part in x.split(self.chunk, 1):
            states, state = self.memory(part, state)
            state = state.detach()
            outputs.append(self.head(states))
        return torch.cat(outputs, 1)


def truncated(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "truncated")
    model = Truncated(rng.choice((16, 24)), rng.choice((8, 10)))
    loss = lambda out, tags: F.cross_entropy(out.flatten(0, 1), tags.flatten())  # noqa: E731
    program = {"model": model, "data": data.every_step(seed, 40), "loss": loss}
    return Drawn({**program, "optimizer": adam(model)})


class Variational(nn.Module):
    """A Gaussian code, drawn anew in every pass."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.encode, self.mean = nn.Sequential(nn.Linear(16, width), nn.Tanh()), nn.Linear(width, 3)
        self.spread, self.decode = nn.Linear(width, 3), mlp(3, width, 1, 16, nn.Tanh)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encode(x)
        mean, log = self.mean(hidden), self.spread(hidden)
        code = mean + (log / 2).exp() * torch.randn_like(mean)
        kl = 0.5 * (log.exp() + mean**2 - 1 - log).sum(1).mean()
        return F.mse_loss(self.decode(code), x) + 1e-3 * kl


def variational(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "variational")
    model = Variational(rng.choice((16, 24)))
    return Drawn(
        {
            "model": model,
            "data": data.clusters(seed, 16, 4),
            "loss": lambda out, _: out,
            "optimizer": adam(model),
        }
    )


def masked_loss(seed: int, broken: bool) -> Drawn:
    """Most targets are missing: ignored by index."""
    rng = draw(seed, "masked loss")
    inputs, labels = data.clusters(seed, 16, 4)
    labels = labels.clone()
    labels[torch.rand(len(labels), generator=data.source(seed)) < 0.7] = -100
    model = mlp(16, rng.choice((16, 24)), 2, 4, nn.SiLU)
    return Drawn(cross_entropy(model, (inputs, labels), optimizer=adam(model)))


def logs_before(seed: int, broken: bool) -> Drawn:
    """log_softmax before cross entropy is idempotent: superfluous, not wrong."""
    rng = draw(seed, "logs before")
    model = nn.Sequential(*mlp(16, rng.choice((16, 24)), 2, 4), nn.LogSoftmax(1))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)))


def linear_model(seed: int, broken: bool) -> Drawn:
    """A single linear layer from zeros: convex, nothing to break."""
    draw(seed, "linear model")
    model = nn.Linear(16, 4)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return Drawn(
        cross_entropy(model, data.clusters(seed, 16, 4, apart=2), optimizer=sgd(model, 0.5))
    )


def factorised(seed: int, broken: bool) -> Drawn:
    """A low-rank linear pair on purpose, between real layers."""
    rng = draw(seed, "factorised")
    rank = rng.choice((4, 6))
    model = nn.Sequential(
        nn.Linear(16, 48),
        nn.ReLU(),
        nn.Linear(48, rank, bias=False),
        nn.Linear(rank, 48),
        nn.ReLU(),
        nn.Linear(48, 4),
    )
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)))


def column_targets(seed: int, broken: bool) -> Drawn:
    """(N, 1) against (N, 1), a loss that weights samples by a (N, 1) column."""
    rng = draw(seed, "column targets")
    inputs, targets = data.table(seed)
    model = mlp(8, rng.choice((24, 32)), 2, 1, nn.Tanh)
    weight = torch.rand(len(inputs), 1, generator=data.source(seed))
    loss = lambda out, target: (weight[: len(out)] * (out - target) ** 2).mean()  # noqa: E731
    return Drawn(
        {"model": model, "data": (inputs, targets), "loss": loss, "optimizer": adam(model)}
    )


class Attend(nn.Module):
    """A softmax over the single key there is, beside a value that trains (a memory of one)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(16, width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.embed(x)).unsqueeze(1)
        return self.head((x + self.attention(x, x, x, need_weights=False)[0])[:, 0])


def attention_over_one(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "attention over one")
    model = Attend(rng.choice((16, 32)))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4), optimizer=adam(model)))


def clipped_head(seed: int, broken: bool) -> Drawn:
    """relu6 and hardtanh: exact zeros and flat parts by design."""
    rng = draw(seed, "clipped head")
    layers = mlp(16, rng.choice((24, 32)), 3, 4, rng.choice((nn.ReLU6, nn.Hardtanh, nn.Hardswish)))
    return Drawn(cross_entropy(he(layers), data.clusters(seed, 16, 4), optimizer=adam(layers)))


def dropped_paths(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "dropped")
    parts: list[nn.Module] = []
    for k in range(3):
        parts += [nn.Linear(16 if k == 0 else 48, 48), nn.ReLU(), nn.Dropout(rng.uniform(0.2, 0.5))]
    model = nn.Sequential(*parts, nn.Linear(48, 4))
    return Drawn(cross_entropy(model, data.clusters(seed, 16, 4, apart=2), optimizer=adam(model)))


def fine_tuned(seed: int, broken: bool) -> Drawn:
    """A trained trunk with a fresh, loud head: a large first gradient that falls at once."""
    rng = draw(seed, "fine tuned")
    model = resnet(8, 1, 4)
    pair = data.pictures(seed)
    optimizer = adam(model, 3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        F.cross_entropy(model(pair[0]), pair[1]).backward()
        optimizer.step()
    nn.init.normal_(model[-1].weight, std=rng.uniform(0.3, 0.6))
    model.zero_grad()
    inputs, labels = data.pictures(seed + 100)
    return Drawn(cross_entropy(model, (inputs, labels), optimizer=adam(model, 3e-3)))


def chosen_head(seed: int, broken: bool) -> Drawn:
    """An autoencoder of which only the decoder is trained, the encoder left out on purpose and frozen."""
    draw(seed, "chosen head")
    inputs, _ = data.clusters(seed, 16, 4)
    model = AutoEncoder(16, (12, 8), nn.Tanh)
    model.encoder.requires_grad_(False)
    return Drawn(squares(model, (inputs, inputs), optimizer=adam(model, 1e-2)))


CASES = tuple(
    Case(name, arch, build, suspicious=why)
    for name, arch, build, why in (
        ("discriminator's turn", "gan", player("discriminator"), "detached, other player frozen"),
        ("generator's turn", "gan", player("generator"), "None on the discriminator"),
        ("frozen teacher", "mlp", teacher, "no_grad on a copy"),
        ("straight-through code book", "autoencoder", quantised, "argmin and detach, on purpose"),
        ("truncated in chunks", "rnn", truncated, "a detached state between chunks"),
        ("variational", "autoencoder", variational, "noise in the forward pass"),
        ("ignored targets", "mlp", masked_loss, "70 % of the samples give nothing"),
        ("log-softmax before cross entropy", "mlp", logs_before, "idempotent, so superfluous only"),
        ("linear model from zeros", "mlp", linear_model, "all weights zero"),
        ("low-rank pair", "mlp", factorised, "two linear layers with nothing between"),
        ("weighted columns", "regression", column_targets, "a product of columns"),
        ("attention over one", "transformer", attention_over_one, "softmax over one key"),
        ("clipped activations", "mlp", clipped_head, "flat parts by design"),
        ("dropout", "mlp", dropped_paths, "zeros by chance"),
        ("fresh head on a trained trunk", "resnet", fine_tuned, "a large first gradient"),
        ("only the decoder", "autoencoder", chosen_head, "None on the encoder"),
    )
)
