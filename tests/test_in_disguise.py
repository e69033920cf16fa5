"""Known faults in other clothes: the name comes first in the sick program, none in its twin."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from patients import blobs, classify
from patients_exam import adam, mlp, sequences, sgd
from torch import Tensor, nn

import unvanish

Program = dict[str, Any]
Pair = Callable[[int, bool], Program]
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
    loss = nn.BCEWithLogitsLoss()
    return {"model": model, "data": data, "loss": loss, "optimizer": adam(model)}


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
