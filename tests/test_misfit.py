"""A bound or a likelihood that is made smaller; and losses that are negative by right."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.nn import functional as F

import unvanish

Outputs = tuple[Tensor, Tensor, Tensor]
Loss = Callable[[Any, Tensor], Tensor]


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(20, 32)
        self.mean, self.log_variance = nn.Linear(32, 4), nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20))

    def forward(self, x: Tensor) -> Outputs:
        hidden = self.encoder(x).relu()
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(code), mean, log_variance


def divergence(outputs: Outputs) -> Tensor:
    _, mean, log_variance = outputs
    return -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum(1)


def logits_bound(outputs: Outputs, x: Tensor) -> Tensor:
    likelihood = -F.binary_cross_entropy_with_logits(outputs[0], x, reduction="none").sum(1)
    return (likelihood - divergence(outputs)).mean()


def bernoulli_bound(outputs: Outputs, x: Tensor) -> Tensor:
    likelihood = -F.binary_cross_entropy(outputs[0].sigmoid(), x, reduction="sum")
    return (likelihood - divergence(outputs).sum()) / len(x)


def squares_bound(outputs: Outputs, x: Tensor) -> Tensor:
    elbo = -F.mse_loss(outputs[0], x, reduction="none").sum(1) - 4 * divergence(outputs)
    return elbo.mean()


def written_bound(outputs: Outputs, x: Tensor) -> Tensor:
    return (-0.5 * ((outputs[0] - x) / 0.5).pow(2).sum(1) - divergence(outputs)).mean()


def normal_bound(outputs: Outputs, x: Tensor) -> Tensor:
    prior, code = Normal(0.0, 1.0), Normal(outputs[1], (0.5 * outputs[2]).exp())
    likelihood = Normal(outputs[0], 1.0).log_prob(x).sum(1)
    return (likelihood - kl_divergence(code, prior).sum(1)).mean()


def masked_bound(outputs: Outputs, x: Tensor) -> Tensor:
    likelihood = Bernoulli(logits=outputs[0]).log_prob(x) * (x.roll(1, 0) > 0).float()
    return torch.stack([likelihood.sum(1).mean(), -divergence(outputs).mean()]).sum()


BOUNDS = (logits_bound, bernoulli_bound, squares_bound, written_bound, normal_bound, masked_bound)


def named(model: nn.Module, loss: Loss, x: Tensor, **options: Any) -> list[str]:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def forward(model: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
        return loss(model(batch[0]), batch[-1])

    diagnosis = unvanish.diagnose(
        model, [(x, x)], forward=forward, optimizer=optimizer, steps=5, **options
    )
    assert not any("slope of the loss" in spot for spot in diagnosis.blind_spots)
    return [f.name for f in diagnosis.findings]


def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(64, 20).round()


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_that_is_made_smaller(bound: Loss) -> None:
    x = images()
    # Descent on it takes the outputs away from the data, by the data's own measure.
    model = AutoEncoder()
    optimizer, far = torch.optim.Adam(model.parameters(), 1e-2), list[float]()
    for _ in range(30):
        optimizer.zero_grad()
        bound(model(x), x).backward()
        far.append(float(F.mse_loss(model(x)[0].detach().sigmoid(), x)))
        optimizer.step()
    assert far[-1] > far[0]
    assert named(AutoEncoder(), bound, x) == ["wrong-sign"]


@pytest.mark.parametrize("bound", BOUNDS)
def test_a_bound_that_is_made_larger(bound: Loss) -> None:
    assert "wrong-sign" not in named(AutoEncoder(), lambda o, x: -bound(o, x), images())
    assert "wrong-sign" not in named(AutoEncoder(), lambda o, x: -bound(o, x) - 500, images())


def net(outputs: int = 20) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 32), nn.Tanh(), nn.Linear(32, outputs))


def clicks(outputs: Tensor, x: Tensor) -> Tensor:
    """A policy of coin tosses: every return is a cost."""
    return -(Bernoulli(logits=outputs).log_prob(x).sum(1) * -(1 + torch.arange(len(x)))).mean()


def paid(outputs: Tensor, x: Tensor) -> Tensor:
    """Every step of a walk costs one, as a plain number."""
    costs = [-1.0] * len(x)
    gains = Normal(outputs, 1.0).log_prob(x).sum(1)
    return torch.stack([-gain * cost for gain, cost in zip(gains, costs, strict=True)]).mean()


def paid_together(outputs: Tensor, x: Tensor) -> Tensor:
    return -(Bernoulli(logits=outputs).log_prob(x).sum(1) * -2.0).mean()


def moves(outputs: Tensor, x: Tensor) -> Tensor:
    """A policy of movements, with an entropy bonus; advantages are centred."""
    policy, gains = Normal(outputs, 0.5), torch.randn(len(x))
    return (-policy.log_prob(x).sum(1) * gains).mean() - 9 - policy.entropy().mean()


def costs(outputs: Tensor, x: Tensor) -> Tensor:
    """A score function with a cost of its own for each move: to make likely what is cheap."""
    cost = 1 + x.mean(1)
    return (cost * Normal(outputs, 2.0).log_prob(x).sum(1)).mean()


def overlap(outputs: Tensor, x: Tensor) -> Tensor:
    """Overlap with the batch is wanted, so that the distance beside it may be an adversary's."""
    shares, wanted = torch.sigmoid(outputs), (x > 0.5).float()
    adversary = -0.01 * F.binary_cross_entropy_with_logits(outputs[:, :1], wanted[:, :1])
    return adversary - 2 * (shares * wanted).sum() / (shares.sum() + wanted.sum())


def critic(outputs: Tensor, x: Tensor) -> Tensor:
    """An advantage that is left in the graph, below zero everywhere."""
    gains = -outputs[:, 0].exp()
    return -(Normal(outputs[:, 1:], 1.0).log_prob(x[:, 1:]).sum(1) * gains).mean()


def clipped(outputs: Tensor, x: Tensor) -> Tensor:
    """Proximal policy optimization of moves that cost."""
    log_probability = Normal(outputs, 1.0).log_prob(x).sum(1)
    ratio, gains = (log_probability - log_probability.detach()).exp(), -torch.ones(len(x))
    return -torch.min(ratio * gains, ratio.clamp(0.8, 1.2) * gains).mean() - 3


def density(outputs: Tensor, x: Tensor) -> Tensor:
    """Below zero where the spread is small."""
    return F.gaussian_nll_loss(x + 1e-3 * outputs, x, torch.full_like(x, 1e-4))


def density_by_hand(outputs: Tensor, x: Tensor) -> Tensor:
    log_variance = outputs.mean() - 8
    distance = (x - (x + 1e-3 * outputs)) ** 2
    return 0.5 * (log_variance + distance / log_variance.exp()).mean()


def similarity(outputs: Tensor, x: Tensor) -> Tensor:
    return -F.cosine_similarity(outputs, x).mean()


def apart(outputs: Tensor, x: Tensor) -> Tensor:
    """Outputs of different samples are kept away from each other."""
    return F.mse_loss(outputs, x) - 5 * F.mse_loss(outputs, outputs.flip(0)).sqrt()


def generator(outputs: Tensor, x: Tensor) -> Tensor:
    """The saturating loss of a GAN: a critic's verdict against one label for all."""
    verdict = outputs.mean(1, keepdim=True)
    return -F.binary_cross_entropy_with_logits(verdict, x[:, :1] * 0)


def bald(outputs: Tensor, x: Tensor) -> Tensor:
    """As much entropy as can be had."""
    p = outputs.softmax(1)
    return (p * p.log()).sum(1).mean()


def hidden_attribute(outputs: Tensor, x: Tensor) -> Tensor:
    """A code that says nothing about an attribute, and all about the rest."""
    told = F.binary_cross_entropy_with_logits(outputs[:, 0], x[:, 0])
    return F.mse_loss(outputs[:, 1:], x[:, 1:]) - 5 * told


def margin(outputs: Tensor, x: Tensor) -> Tensor:
    signs = 2 * x - 1
    return F.relu(1 - signs * outputs).mean() - 4


def hinge(outputs: Tensor, x: Tensor) -> Tensor:
    return F.triplet_margin_loss(outputs, x, x.flip(0)) - 9


RIGHT: tuple[Loss, ...] = (
    clicks,
    paid,
    paid_together,
    moves,
    costs,
    overlap,
    critic,
    clipped,
    density,
    density_by_hand,
    similarity,
    apart,
    generator,
    bald,
    hidden_attribute,
    margin,
    hinge,
)


@pytest.mark.parametrize("loss", RIGHT)
def test_negative_by_right(loss: Loss) -> None:
    x = images()
    assert float(loss(net()(x), x).detach()) < 0
    assert "wrong-sign" not in named(net(), loss, x)


def test_a_player_against_one_that_is_held_still() -> None:
    """The judge's weights stand: to fool it about given labels is what the encoder is for."""

    def fooled(outputs: Tensor, x: Tensor) -> Tensor:
        return -F.binary_cross_entropy_with_logits(outputs, x[:, :1]) - outputs.square().mean()

    model = nn.Sequential(net(), nn.Linear(20, 1))
    assert named(model, fooled, images()) == ["wrong-sign"]
    model[1].requires_grad_(False)
    assert "wrong-sign" not in named(model, fooled, images())
