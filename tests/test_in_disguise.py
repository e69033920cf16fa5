"""Known faults in other clothes: the name comes first in the sick program, none in its twin."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from patients import blobs, classify
from patients_exam import Pair, Program, adam, mlp, sequences, sgd
from torch import Tensor, nn

import unvanish

SEEDS = (0, 1)


class LinearAttention(nn.Module):
    """Matrices of its own behind a skip: no row of plain layers shows their size."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        for name in ("query", "key", "value", "out"):
            self.register_parameter(name, nn.Parameter(torch.randn(width, width) * std))

    def forward(self, x: Tensor) -> Tensor:
        query, key = (F.elu(x @ w) + 1 for w in (self.query, self.key))
        kept = torch.einsum("btd,bte->bde", key, x @ self.value)
        return (
            x
            + torch.einsum("btd,bde->bte", query, kept) / (query @ key.sum(1)[..., None]) @ self.out
        )


def linear_attention(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    blocks = [LinearAttention(48, 1.0 if broken else 48**-0.5) for _ in range(4)]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.blocks = nn.Linear(6, 48), nn.Sequential(*blocks)
            self.head = nn.Linear(48, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.blocks(self.enter(x)).mean(1))

    model = Model()
    return classify(model, sequences(seed), optimizer=sgd(model, 0.02))


class Adapted(nn.Module):
    """A weight with a low-rank adapter beside it that is zero at the start."""

    def __init__(self, width: int, std: float) -> None:
        super().__init__()
        self.base, self.down = nn.Linear(width, width), nn.Linear(width, 4, bias=False)
        self.up = nn.Linear(4, width, bias=False)
        nn.init.normal_(self.base.weight, 0.0, std)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.base(x) + self.up(self.down(x)))


def adapters_on_a_loud_base(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    std = 1.0 if broken else (2 / 40) ** 0.5
    blocks = [Adapted(40, std) for _ in range(8)]
    model = nn.Sequential(nn.Linear(32, 40), *blocks, nn.Linear(40, 4))
    return classify(model, blobs(seed), optimizer=sgd(model, 0.05))


def generator_of_normal_weights(seed: int, broken: bool) -> Program:
    """Its tanh is at its ends for the weights' sake: the loss is not to blame."""
    torch.manual_seed(seed)
    model = nn.Sequential(mlp(10, 256, 64, 20), nn.Tanh())
    if broken:
        for weight in (p for p in model.parameters() if p.dim() > 1):
            nn.init.normal_(weight)
    data = torch.randn(48, 10), torch.tanh(torch.randn(48, 20))
    return {"model": model, "data": data, "loss": nn.MSELoss(), "optimizer": adam(model)}


class SmallUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, (entering, leaving) in {
            "first": (1, 12),
            "down": (12, 24),
            "middle": (24, 24),
            "up": (36, 12),
            "last": (12, 1),
        }.items():
            self.add_module(name, nn.Conv2d(entering, leaving, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        near = F.relu(self.first(x))
        far = F.relu(self.middle(F.relu(self.down(F.max_pool2d(near, 2)))))
        return self.last(
            F.relu(self.up(torch.cat([near, F.interpolate(far, scale_factor=2.0)], 1)))
        )


def unet_of_normal_kernels(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = SmallUNet()
    if broken:
        for part in model.children():
            assert isinstance(part, nn.Conv2d)
            nn.init.normal_(part.weight)
    images = torch.randn(6, 1, 16, 16)
    data = images, (F.avg_pool2d(images, 3, 1, 1) > 0).float()
    return classify(model, data, optimizer=adam(model)) | {"loss": nn.BCEWithLogitsLoss()}


def distilled(temperature: float) -> Pair:
    """A student's probabilities, over a temperature, into the softmax of the loss."""

    def pair(seed: int, broken: bool) -> Program:
        torch.manual_seed(seed)
        student = mlp(32, 16, 6)
        model = nn.Sequential(student, nn.Softmax(-1)) if broken else student
        inputs, _ = blobs(seed)
        with torch.no_grad():
            wanted = (mlp(32, 64, 6)(inputs) * 6).softmax(-1)

        def loss(outputs: Tensor, targets: Tensor) -> Tensor:
            said = F.log_softmax(outputs / temperature, -1)
            return F.kl_div(said, targets, reduction="batchmean") * temperature**2

        return {"model": model, "data": (inputs, wanted), "loss": loss, "optimizer": adam(model)}

    return pair


class Scored(nn.Module):
    """Features times the softmax of their one score; or of a router's shares, picked one by one."""

    def __init__(self, routed: bool) -> None:
        super().__init__()
        self.routed = routed
        self.body, self.score, self.head = nn.Linear(32, 24), nn.Linear(24, 1), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        made = torch.tanh(self.body(x))
        share = self.score(made).softmax(-1)
        if self.routed:
            share = share[..., 0:1]
        return self.head(made * share)


def score_of_one(seed: int, broken: bool) -> Program:
    torch.manual_seed(seed)
    model = Scored(routed=not broken)
    return classify(model, blobs(seed), optimizer=adam(model))


PAIRS: dict[str, tuple[Pair, str, str]] = {
    "linear attention, standard normal": (linear_attention, "init-too-large", "blocks.0"),
    "adapters on a loud base": (adapters_on_a_loud_base, "init-too-large", "1.base"),
    "U-Net of standard normal kernels": (unet_of_normal_kernels, "init-too-large", "first"),
    "generator of standard normal weights": (generator_of_normal_weights, "init-too-large", ""),
    "probabilities over a temperature": (distilled(2.0), "double-softmax", "0"),
    "one score times many features": (score_of_one, "single-unit-softmax", "score"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("with_optimizer", [True, False])
@pytest.mark.parametrize("name", PAIRS)
def test_the_fault_comes_first(name: str, with_optimizer: bool, seed: int) -> None:
    pair, expected, place = PAIRS[name]
    program = pair(seed, True)
    if not with_optimizer:
        program.pop("optimizer")
    findings = unvanish.diagnose(**program).findings
    assert findings
    assert findings[0].name == expected, [f.name for f in findings]
    assert any(where.startswith(place) for where in findings[0].where), findings[0].where


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", PAIRS)
def test_its_healthy_twin_is_quiet(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**PAIRS[name][0](seed, False))
    assert diagnosis.healthy, [(f.name, dict(f.evidence)) for f in diagnosis.findings]


def test_probabilities_made_large_again_are_scores() -> None:
    diagnosis = unvanish.diagnose(**distilled(0.05)(0, True))
    assert "double-softmax" not in {f.name for f in diagnosis.findings}


class SummedNeighbours(nn.Module):
    """Messages of neighbours, added up: each hop multiplies the signal by their number."""

    def __init__(self, hops: int, neighbours: int, summed: bool) -> None:
        super().__init__()
        widths = [8] + [32] * hops
        self.hops = nn.ModuleList(nn.Linear(i, o) for i, o in itertools.pairwise(widths))
        self.head, self.share = nn.Linear(32, 4), 1.0 if summed else 1 / neighbours
        generator = torch.Generator().manual_seed(7)
        self.register_buffer("source", torch.randint(60, (60 * neighbours,), generator=generator))
        self.register_buffer("target", torch.arange(60).repeat_interleave(neighbours))

    def forward(self, x: Tensor) -> Tensor:
        for hop in self.hops:
            made = hop(x)
            heard = torch.zeros_like(made).index_add(0, self.target, made[self.source])
            x = made + F.leaky_relu(heard * self.share)
        return self.head(x)


def summed_messages(seed: int, summed: bool) -> Program:
    torch.manual_seed(seed)
    model = SummedNeighbours(9, 16, summed)
    inputs, labels = blobs(seed, samples=60, features=8)
    return classify(model, (inputs, labels), optimizer=sgd(model, 0.02))


@pytest.mark.parametrize("seed", SEEDS)
def test_growth_that_no_rate_bears_is_harmful_and_other_growth_is_not(seed: int) -> None:
    found = unvanish.diagnose(**summed_messages(seed, True)).findings
    assert (found[0].name, found[0].severity) == ("depth-growth", "harmful"), [
        (f.name, f.severity) for f in found
    ]
    assert unvanish.diagnose(**summed_messages(seed, False)).healthy


def test_large_columns_beside_a_table_are_named_where_they_are_read() -> None:
    torch.manual_seed(0)

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kinds, self.body = nn.Embedding(7, 4), mlp(7, 40, 2)

        def forward(self, kind: Tensor, numbers: Tensor) -> Tensor:
            return self.body(torch.cat([self.kinds(kind), numbers], 1))

    kind, numbers = torch.randint(7, (96,)), torch.randn(96, 3)
    labels = (numbers[:, 0] + (kind > 3) > 0.5).long()
    large = numbers * torch.tensor([15000.0, 12.0, 3.0]) + torch.tensor([40000.0, 40.0, 5.0])
    model = Table()
    program = {"model": model, "loss": F.cross_entropy, "optimizer": sgd(model)}
    first = unvanish.diagnose(data=[((kind, large), labels)], **program).findings[0]
    assert (first.name, first.where) == ("unscaled-input", ("body.0.weight",))
    assert unvanish.diagnose(data=[((kind, numbers), labels)], **program).healthy
