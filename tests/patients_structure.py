"""Patients whose fault is decided from structure, and healthy programs that look like them.

The same shape as in ``patients``: a patient is a function of a seed that returns the arguments of
``diagnose``; SICK_STRUCTURE maps each to the finding that must come first and a place it must name.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from patients import Patient, Program, blobs, classify, encoder, he, images, plain
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def seeded(build: Callable[[int], Program]) -> Patient:
    """The same patient with torch's random state set first."""

    @functools.wraps(build)
    def patient(seed: int) -> Program:
        torch.manual_seed(seed)
        return build(seed)

    return patient


def regression(seed: int, features: int = 8, samples: int = 64) -> tuple[Tensor, Tensor]:
    """Unit-variance inputs and a smooth target of one number a sample."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, features, generator=generator)
    return inputs, torch.sin(inputs[:, 0]) + 0.5 * inputs[:, 1]


def binary(seed: int, samples: int = 64) -> tuple[Tensor, Tensor]:
    inputs, labels = blobs(seed, samples, classes=2)
    return inputs, labels.float()


def hidden(inside: int, outside: int, width: int = 24) -> list[nn.Module]:
    first, second = nn.Linear(inside, width), nn.Linear(width, outside)
    he()(first)
    return [first, nn.ReLU(), second]


# --- single-unit-softmax ---------------------------------------------------------------------


@seeded
def xor_softmax(seed: int) -> Program:
    inputs = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    targets = torch.tensor([[0.0], [1.0], [1.0], [0.0]])
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    return {
        "model": nn.Sequential(*net, nn.Softmax(dim=1)),
        "data": (inputs, targets),
        "loss": nn.MSELoss(),
    }


@seeded
def one_class_cross_entropy(seed: int) -> Program:
    inputs, _ = blobs(seed)
    return classify(nn.Sequential(*hidden(32, 1)), (inputs, torch.zeros(64, dtype=torch.long)))


@seeded
def one_channel_segmentation(seed: int) -> Program:
    inputs, _ = images(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    return classify(net, (inputs, torch.zeros(16, 12, 12, dtype=torch.long)))


@seeded
def log_softmax_of_one(seed: int) -> Program:
    inputs, labels = binary(seed)

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy(torch.softmax(outputs, -1).squeeze(-1), targets)

    return {"model": nn.Sequential(*hidden(32, 1)), "data": (inputs, labels), "loss": loss}


# --- double-softmax ----------------------------------------------------------------------------


def with_end(end: nn.Module, loss: Any, make: Callable[[int], Any] = blobs) -> Patient:
    """A small classifier that ends in ``end``, under ``loss``."""

    @seeded
    def patient(seed: int) -> Program:
        data = make(seed)
        outputs = 4 if data[1].dtype == torch.long else 1
        return {"model": nn.Sequential(*hidden(32, outputs), end), "data": data, "loss": loss}

    return patient


def flat_bce(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.squeeze(-1), targets)


def log_then_nll(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.nll_loss(F.log_softmax(outputs, -1), targets)


# --- no-nonlinearity -------------------------------------------------------------------------


@seeded
def linear_stack(seed: int) -> Program:
    return classify(
        nn.Sequential(*(nn.Linear(32, 32) for _ in range(5)), nn.Linear(32, 4)), blobs(seed)
    )


@seeded
def linear_run_inside(seed: int) -> Program:
    run = [nn.Linear(32, 32) for _ in range(3)]
    return classify(
        nn.Sequential(
            nn.Linear(32, 32), nn.ReLU(), *run, nn.Dropout(0.1), nn.ReLU(), nn.Linear(32, 4)
        ),
        blobs(seed),
    )


@seeded
def linear_convolutions(seed: int) -> Program:
    return classify(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        ),
        images(seed),
    )


class ByHand(nn.Module):
    """Products with bare parameters, nothing between them."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(32, 32) / 32**0.5 for _ in range(4))
        self.bias = nn.Parameter(torch.zeros(32))

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = x @ weight + self.bias
        return x


# --- post-norm-depth ---------------------------------------------------------------------------


def post_norm(blocks: int, first: bool = False, scale: float = 1.0) -> Patient:
    """Transformer blocks over rows of numbers; ``scale`` multiplies what each branch adds."""

    @seeded
    def patient(seed: int) -> Program:
        layer = nn.TransformerEncoderLayer(
            32, 4, 64, dropout=0.0, batch_first=True, norm_first=first
        )
        body = nn.TransformerEncoder(layer, blocks, enable_nested_tensor=False)
        for name, parameter in body.named_parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
            if "out_proj" in name or "linear2" in name:
                parameter.data *= scale
        inputs, labels = blobs(seed, 8, 8 * 32)
        return classify(Pooled(body), (inputs.view(8, 8, 32), labels))

    return patient


class Pooled(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.stem, self.body, self.head = nn.Linear(32, 32), body, nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean(1))


# --- half-precision-weights --------------------------------------------------------------------


@seeded
def half_weights(seed: int) -> Program:
    inputs, labels = blobs(seed)
    return classify(plain(2, nn.ReLU, he()).half(), (inputs.half(), labels))


class HalfBase(nn.Module):
    """A frozen half-precision base under a float32 head."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(32, 32).half().requires_grad_(False)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x.half())).float())


# --- not-in-optimizer --------------------------------------------------------------------------


def optimized(choose: Callable[[nn.Sequential], Any], **options: Any) -> Patient:
    """A small MLP whose optimizer gets what ``choose`` picks."""

    @seeded
    def patient(seed: int) -> Program:
        model = plain(2, nn.ReLU, he())
        optimizer = torch.optim.AdamW(choose(model), **{"lr": 1e-3, **options})
        return classify(model, blobs(seed), optimizer=optimizer)

    return patient


def other_copy(model: nn.Sequential) -> Any:
    return plain(2, nn.ReLU, he()).parameters()


def second_at_rest(model: nn.Sequential) -> Any:
    return [
        {"params": [*model[0].parameters(), *model[4].parameters()]},
        {"params": model[2].parameters(), "lr": 0.0},
    ]


@seeded
def warming_up(seed: int) -> Program:
    model = plain(2, nn.ReLU, he())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(step / 100, 1.0))
    return classify(model, blobs(seed), optimizer=optimizer)


@seeded
def warming_up_a_zero_head(seed: int) -> Program:
    program = warming_up(seed)
    nn.init.zeros_(program["model"][4].weight)
    return program


@seeded
def factory(seed: int) -> Program:
    return classify(
        plain(2, nn.ReLU, he()), blobs(seed), optimizer=lambda p: torch.optim.SGD(p, 0.05)
    )


# --- frozen-by-checkpoint ------------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool, frozen: bool = True, trunk_frozen: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 16).requires_grad_(not frozen)
        self.trunk = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.trunk.requires_grad_(not trunk_frozen)
        self.head, self.reentrant = nn.Linear(16, 4), reentrant

    def forward(self, tokens: Tensor) -> Tensor:
        x: Any = checkpoint(self.trunk, self.table(tokens), use_reentrant=self.reentrant)
        return self.head(x.mean(1))


def checkpointed(**options: bool) -> Patient:
    @seeded
    def patient(seed: int) -> Program:
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(50, (32, 6), generator=generator)
        model = Checkpointed(**options)
        return classify(model, (tokens, torch.randint(4, (32,), generator=generator)))

    return patient


@seeded
def checkpointed_rows(seed: int) -> Program:
    """Float inputs that the user's run does not differentiate."""

    class Rows(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = nn.Sequential(nn.Linear(32, 32), nn.ReLU()), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> Tensor:
            made: Any = checkpoint(self.trunk, x, use_reentrant=True)
            return self.head(made)

    return classify(Rows(), blobs(seed))


# --- stuck-saddle --------------------------------------------------------------------------------


class Lora(nn.Module):
    """A frozen base with a low-rank pair beside it."""

    def __init__(self, zero_a: bool, zero_b: bool = True) -> None:
        super().__init__()
        self.base = nn.Linear(32, 32).requires_grad_(False)
        self.lora_a, self.lora_b = nn.Linear(32, 4, bias=False), nn.Linear(4, 32, bias=False)
        for layer, zero in ((self.lora_a, zero_a), (self.lora_b, zero_b)):
            if zero:
                nn.init.zeros_(layer.weight)
        self.head = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.lora_b(self.lora_a(x)) * 2.0))


class GatedBranch(nn.Module):
    def __init__(self, shape: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.branch, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        self.gate, self.shape = nn.Parameter(torch.zeros(1)), shape

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        return self.head(x + self.shape(self.gate) * torch.relu(self.branch(x)))


class ZeroBranch(nn.Module):
    """A residual branch whose both layers start at zero."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(32, 32), nn.Linear(32, 32)
        self.head = nn.Linear(32, 4)
        for layer in (self.inner, self.outer) if both else (self.outer,):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.outer(torch.tanh(self.inner(x))))


def classifier(build: Callable[[], nn.Module], make: Callable[[int], Any] = blobs) -> Patient:
    @seeded
    def patient(seed: int) -> Program:
        return classify(build(), make(seed))

    return patient


# --- broadcast-loss ------------------------------------------------------------------------------


def regress(
    loss: Any, outputs: int = 1, shape: Callable[[Tensor], Tensor] = lambda t: t
) -> Patient:
    """A regression with predictions of shape (N, 1) and targets that ``shape`` changes."""

    @seeded
    def patient(seed: int) -> Program:
        inputs, targets = regression(seed)
        model = nn.Sequential(*hidden(8, outputs))
        return {"model": model, "data": (inputs, shape(targets)), "loss": loss}

    return patient


def by_hand(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((targets - outputs) ** 2).mean()


def energy(outputs: Tensor, targets: Tensor) -> Tensor:
    """All pairs on purpose: the distance of two sets of numbers."""
    values = outputs.flatten()
    pairs = (values[:, None] - targets[None, :]).abs().mean()
    return pairs - 0.5 * (values[:, None] - values[None, :]).abs().mean()


# --- nothing-trainable ---------------------------------------------------------------------------


@seeded
def all_frozen(seed: int) -> Program:
    return classify(plain(2, nn.ReLU, he()).requires_grad_(False), blobs(seed))


@seeded
def frozen_adapter(seed: int) -> Program:
    model = Lora(zero_a=False)
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    return classify(model, blobs(seed))


SICK_STRUCTURE: dict[str, tuple[Patient, str, str]] = {
    "xor with a softmax over one output": (xor_softmax, "single-unit-softmax", "4"),
    "cross entropy over one class": (one_class_cross_entropy, "single-unit-softmax", "2"),
    "segmentation with one channel": (one_channel_segmentation, "single-unit-softmax", "2"),
    "softmax of one in the loss": (log_softmax_of_one, "single-unit-softmax", "2"),
    "softmax, cross entropy": (
        with_end(nn.Softmax(dim=-1), nn.CrossEntropyLoss()),
        "double-softmax",
        "2",
    ),
    "softmax, log-softmax, nll": (
        with_end(nn.Softmax(dim=-1), log_then_nll),
        "double-softmax",
        "2",
    ),
    "sigmoid, logits loss": (with_end(nn.Sigmoid(), flat_bce, binary), "double-softmax", "2"),
    "linear layers only": (linear_stack, "no-nonlinearity", ""),
    "three linear layers in a row": (linear_run_inside, "no-nonlinearity", "2"),
    "convolutions only": (linear_convolutions, "no-nonlinearity", "0"),
    "products by hand": (classifier(ByHand), "no-nonlinearity", ""),
    "post-norm, 64 blocks": (post_norm(64), "post-norm-depth", "layers.0"),
    "post-norm, 40 blocks": (post_norm(40), "post-norm-depth", "layers"),
    "half weights": (half_weights, "half-precision-weights", "0.weight"),
    "head alone in the optimizer": (
        optimized(lambda m: m[4].parameters()),
        "not-in-optimizer",
        "0.weight",
    ),
    "optimizer of another copy": (optimized(other_copy), "not-in-optimizer", "0.weight"),
    "group with lr 0": (optimized(second_at_rest), "not-in-optimizer", "2.weight"),
    "reentrant checkpoint, frozen embedding": (
        checkpointed(reentrant=True),
        "frozen-by-checkpoint",
        "trunk",
    ),
    "reentrant checkpoint, plain inputs": (checkpointed_rows, "frozen-by-checkpoint", "trunk"),
    "lora, A = B = 0": (classifier(lambda: Lora(zero_a=True)), "stuck-saddle", "lora_"),
    "relu gate of zero": (classifier(lambda: GatedBranch(torch.relu)), "stuck-saddle", "gate"),
    "squared gate of zero": (classifier(lambda: GatedBranch(torch.square)), "stuck-saddle", "gate"),
    "branch of zeros": (classifier(lambda: ZeroBranch(both=True)), "stuck-saddle", "er.weight"),
    "(N, 1) against (N)": (regress(nn.MSELoss()), "broadcast-loss", "2"),
    "(N, 1) against (N), smooth": (regress(nn.SmoothL1Loss()), "broadcast-loss", "2"),
    "(N, 1) against (N), by hand": (regress(by_hand), "broadcast-loss", "2"),
    "everything frozen": (all_frozen, "nothing-trainable", "0.weight"),
    "frozen lora under a head": (frozen_adapter, "nothing-trainable", "lora_a"),
}


# --- healthy -------------------------------------------------------------------------------------


class Attention(nn.Module):
    """Attention written out, one head, over as many keys as there are positions."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(32, 32, bias), nn.Linear(32, 32, bias)
        self.value, self.out, self.head = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 4)
        self.norm = nn.LayerNorm(32)

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm(x)
        scores = self.query(normal) @ self.key(normal).transpose(-1, -2) / math.sqrt(32)
        x = x + self.out(torch.softmax(scores, -1) @ self.value(normal))
        return self.head(x.mean(1))


def rows(length: int) -> Callable[[int], Any]:
    def make(seed: int) -> Any:
        inputs, labels = blobs(seed, 16, length * 32)
        return inputs.view(16, length, 32), labels

    return make


class Experts(nn.Module):
    """Soft routing: softmax weights multiply the experts' outputs."""

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(32, experts)
        self.experts = nn.ModuleList(nn.Sequential(*hidden(32, 4)) for _ in range(experts))

    def forward(self, x: Tensor) -> Tensor:
        weights = torch.softmax(self.router(x), -1)
        outputs = torch.stack([expert(x) for expert in self.experts], -1)
        return (outputs * weights[:, None, :]).sum(-1)


@seeded
def separable(seed: int) -> Program:
    """Depthwise and pointwise convolutions without anything between them, linear bottlenecks."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 1)]
        layers += [nn.BatchNorm2d(8), nn.ReLU()]
    return classify(
        nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)), images(seed)
    )


@seeded
def upsampler(seed: int) -> Program:
    """Super-resolution: convolution, pixel shuffle, twice, and a last convolution."""
    inputs, _ = images(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 32, 3, padding=1),
        nn.PixelShuffle(2),
        nn.Conv2d(8, 32, 3, padding=1),
        nn.PixelShuffle(2),
        nn.Conv2d(8, 3, 3, padding=1),
    )
    return {"model": net, "data": (inputs, torch.randn(16, 3, 48, 48)), "loss": nn.L1Loss()}


@seeded
def factorised(seed: int) -> Program:
    """Every layer a product of two thin ones; a linear embedding before the classifier."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Linear(32, 6, bias=False), nn.Linear(6, 32), nn.LayerNorm(32), nn.ReLU()]
    return classify(nn.Sequential(*layers, nn.Linear(32, 8), nn.Linear(8, 4)), blobs(seed))


@seeded
def linear_pair(seed: int) -> Program:
    return classify(nn.Sequential(nn.Linear(32, 3), nn.Linear(3, 4)), blobs(seed))


@seeded
def linear_autoencoder(seed: int) -> Program:
    inputs, _ = blobs(seed)
    model = nn.Sequential(nn.Linear(32, 5), nn.Linear(5, 32))
    return {"model": model, "data": (inputs, inputs), "loss": nn.MSELoss()}


@seeded
def norm_with_bias(seed: int) -> Program:
    layers = [nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32)]
    return classify(
        nn.Sequential(*layers, nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4)), blobs(seed)
    )


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.body = nn.Embedding(40, 24), nn.Sequential(nn.Linear(24, 24), nn.ReLU())
        self.out = nn.Linear(24, 40, bias=False)
        self.out.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.out(self.body(self.table(tokens)).mean(1))


@seeded
def tied(seed: int) -> Program:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(40, (16, 5), generator=generator)
    return classify(Tied(), (tokens, torch.randint(40, (16,), generator=generator)))


@seeded
def zero_gamma(seed: int) -> Program:
    """Residual blocks whose last norm starts at zero, as recipes for ResNets have it."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
            nn.init.zeros_(self.norm.weight)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x + self.norm(self.conv(x)))

    stem = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return classify(
        nn.Sequential(
            *stem,
            *[Block() for _ in range(3)],
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 4),
        ),
        images(seed),
    )


@seeded
def zero_head(seed: int) -> Program:
    model = plain(3, nn.ReLU, he())
    nn.init.zeros_(model[6].weight)
    return classify(model, blobs(seed))


@seeded
def two_losses(seed: int) -> Program:
    """A disabled term: times zero, its head gets zeros."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(32, 32), nn.ReLU())
            self.head, self.other = nn.Linear(32, 4), nn.Linear(32, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.body(x)
            return self.head(x), self.other(x)

    def loss(outputs: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs[0], labels) + 0.0 * F.cross_entropy(outputs[1], labels)

    return {"model": Two(), "data": blobs(seed), "loss": loss}


@seeded
def distillation(seed: int) -> Program:
    teacher = plain(2, nn.ReLU, he()).requires_grad_(False)

    def step(model: nn.Module, batch: Any) -> Tensor:
        outputs = model(batch[0])
        soft = F.softmax(teacher(batch[0]) / 2, -1)
        return F.kl_div(F.log_softmax(outputs / 2, -1), soft, reduction="batchmean")

    return {"model": plain(2, nn.ReLU, he()), "data": blobs(seed), "forward": step}


@seeded
def merged_adapter(seed: int) -> Program:
    """An adapter that was trained before, kept as it is under a new head."""
    model = Lora(zero_a=False, zero_b=False)
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    return classify(model, blobs(seed))


@seeded
def half_base(seed: int) -> Program:
    return classify(HalfBase(), blobs(seed))


@seeded
def bfloat_weights(seed: int) -> Program:
    inputs, labels = blobs(seed)
    return classify(plain(2, nn.ReLU, he()).bfloat16(), (inputs.bfloat16(), labels))


HEALTHY_STRUCTURE: dict[str, Patient] = {
    "attention over one key": classifier(Attention, rows(1)),
    "attention written out": classifier(Attention, rows(6)),
    "router over one expert": classifier(lambda: Experts(1)),
    "router over four experts": classifier(lambda: Experts(4)),
    "sigmoid, bce": with_end(
        nn.Sigmoid(), lambda o, t: F.binary_cross_entropy(o.squeeze(-1), t), binary
    ),
    "softmax, log, nll": with_end(nn.Softmax(dim=-1), lambda o, t: F.nll_loss(o.log(), t)),
    "log-softmax, cross entropy": with_end(nn.LogSoftmax(dim=-1), nn.CrossEntropyLoss()),
    "distillation": distillation,
    "separable convolutions": separable,
    "upsampler": upsampler,
    "factorised layers": factorised,
    "linear pair": linear_pair,
    "linear autoencoder": linear_autoencoder,
    "post-norm, 6 blocks": post_norm(6),
    "post-norm, 12 blocks": post_norm(12),
    "pre-norm, 40 blocks": post_norm(40, first=True),
    "post-norm, 40 blocks, small branches": post_norm(40, scale=0.05),
    "post-norm over tokens": encoder(norm_first=False),
    "half base, float head": half_base,
    "bfloat weights": bfloat_weights,
    "whole optimizer": optimized(lambda m: m.parameters()),
    "warm-up step": warming_up,
    "warm-up step, zero head": warming_up_a_zero_head,
    "optimizer factory": factory,
    "checkpoint, not reentrant": checkpointed(reentrant=False),
    "reentrant checkpoint, live embedding": checkpointed(reentrant=True, frozen=False),
    "reentrant checkpoint around frozen parts": checkpointed(reentrant=True, trunk_frozen=True),
    "lora, B = 0": classifier(lambda: Lora(zero_a=False)),
    "lora, A = 0": classifier(lambda: Lora(zero_a=True, zero_b=False)),
    "plain gate of zero": classifier(lambda: GatedBranch(lambda g: g)),
    "tanh gate of zero": classifier(lambda: GatedBranch(torch.tanh)),
    "branch with a last layer of zeros": classifier(lambda: ZeroBranch(both=False)),
    "last norms at zero": zero_gamma,
    "zero head": zero_head,
    "disabled loss term": two_losses,
    "(N, 1) against (N, 1)": regress(nn.MSELoss(), shape=lambda t: t[:, None]),
    "(N, 1) against a constant": regress(lambda o, t: F.mse_loss(o, torch.zeros(1))),
    "distance of two sets": regress(energy),
    "norms with biases": norm_with_bias,
    "tied weights": tied,
    "adapter trained before": merged_adapter,
}
