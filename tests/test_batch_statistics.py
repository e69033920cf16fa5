"""Norms that somebody wrote by hand: batch norm is known by what it does, and chaos stays named."""

from collections.abc import Callable

import pytest
import torch
from patients import Program, blobs, classify, he, plain
from patients_gate import gain, ten_classes
from torch import Tensor, nn

import unvanish
from unvanish.causes.batch_statistics import batch_norms
from unvanish.causes.dataflow import Dataflow

Norm = Callable[[Tensor], Tensor]
EPSILON = 1e-5


def by_variance(x: Tensor) -> Tensor:
    mean, variance = x.mean(0), x.var(0, unbiased=False)
    return (x - mean) * torch.rsqrt(variance + EPSILON)


def by_squares(x: Tensor) -> Tensor:
    mean = x.mean(0, keepdim=True)
    centred = x - mean
    return centred / torch.sqrt((centred * centred).mean(0, keepdim=True) + EPSILON)


def by_moments(x: Tensor) -> Tensor:
    """The scale and the shift first, and then one product and one sum, as Keras once did."""
    mean = x.sum(0) / len(x)
    scale = (x.pow(2).mean(0) - mean**2 + EPSILON) ** -0.5
    return x * scale + (0.1 - mean * scale)


def by_deviation(x: Tensor) -> Tensor:
    deviation, mean = torch.std_mean(x, 0)
    return (x - mean).mul_(1 / (deviation + EPSILON))


def by_fused_product(x: Tensor) -> Tensor:
    variance, mean = torch.var_mean(x, 0, keepdim=True)
    return torch.addcmul(torch.zeros(x.shape[1]), x - mean, variance.add(EPSILON).rsqrt())


def by_size(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred / (centred.abs().mean(0) + EPSILON)


class Normed(nn.Module):
    """A deep net with a function behind every weight, and one before the first."""

    def __init__(self, layers: nn.Sequential, norm: Norm, before: Norm) -> None:
        super().__init__()
        self.layers, self.norm, self.before = layers, norm, before

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        for layer in self.layers[:-1]:
            x = layer(x)
            x = self.norm(x) if isinstance(layer, nn.Linear | nn.Conv2d) else x
        return self.layers[-1](x)


def unchanged(x: Tensor) -> Tensor:
    return x


def tower(norm: Norm) -> Program:
    torch.manual_seed(0)
    return classify(Normed(plain(30, nn.ReLU, he()), norm, unchanged), blobs(0))


def chaos(norm: Norm, before: Norm) -> Program:
    torch.manual_seed(0)
    layers = plain(60, nn.Tanh, gain(2.0, 0.05), 64)
    layers[-1] = nn.Linear(64, 10)
    return classify(Normed(layers, norm, before), ten_classes(0, 64))


def names(program: Program) -> list[str]:
    return [finding.name for finding in unvanish.diagnose(**program).findings]


WRITTEN = [by_variance, by_squares, by_moments, by_deviation, by_fused_product, by_size]


@pytest.mark.parametrize("norm", WRITTEN)
def test_a_batch_norm_is_known_however_it_is_written(norm: Norm) -> None:
    fused = names(tower(lambda x: nn.functional.batch_norm(x, None, None, training=True)))
    assert "chaotic-signal" not in fused
    assert names(tower(norm)) == fused


@pytest.mark.parametrize("channels", [8, 16])
def test_channels_are_not_taken_for_samples(channels: int) -> None:
    def norm(x: Tensor) -> Tensor:
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        scale = (variance + EPSILON).rsqrt()[:, None, None]
        return (x - mean[:, None, None]) * scale

    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1)]
    for _ in range(3):
        layers += [nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)]
    layers += [nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(16 * channels, 4))]
    inputs, labels = torch.randn(8, 3, 4, 4), torch.arange(8) % 4
    model = Normed(nn.Sequential(*layers), norm, unchanged)
    flow = Dataflow(unvanish.observe(model, (inputs, labels), nn.CrossEntropyLoss()))
    assert [flow[index].function for index in batch_norms(flow)] == ["mul"] * 4


def each_sample(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True) + EPSILON).sqrt()


def whole_batch(x: Tensor) -> Tensor:
    return (x - x.mean()) / x.std()


@pytest.mark.parametrize("norm", [each_sample, whole_batch, unchanged])
@pytest.mark.parametrize("before", [by_variance, unchanged])
def test_chaos_keeps_its_name_beside_norms_that_do_not_make_it(norm: Norm, before: Norm) -> None:
    """One scale for each sample, or for all: each layer still draws neighbours apart."""
    assert "chaotic-signal" in names(chaos(norm, before))


def test_batch_norm_before_the_first_layer_is_no_excuse() -> None:
    standardise = nn.BatchNorm1d(64, affine=False)
    assert "chaotic-signal" in names(chaos(unchanged, standardise))


def test_layer_norm_by_hand_is_as_healthy_as_torchs() -> None:
    torch.manual_seed(0)
    layers = plain(10, nn.ReLU, gain(1.0), 32)
    assert names(classify(Normed(layers, each_sample, unchanged), blobs(0))) == []


@pytest.mark.parametrize("transform", [lambda x: x / 2.0, lambda x: x * x.mean(0), each_sample])
def test_what_divides_by_no_statistic_of_the_batch_is_no_batch_norm(transform: Norm) -> None:
    flow = Dataflow(unvanish.observe(**tower(transform)))
    assert batch_norms(flow) == []


class Averaging(nn.Module):
    """A hand-written batch norm whose running average is a parameter that takes no gradient."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.average = nn.Parameter(torch.zeros(width), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(0)
        if self.training:
            with torch.no_grad():
                self.average.mul_(0.9).add_(mean, alpha=0.1)
        return (x - mean) / x.std(0)


def test_running_averages_are_statistics_and_not_frozen_by_anybody() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 16), Averaging(16), nn.ReLU(), nn.Linear(16, 4))
    model[0].bias.requires_grad_(False)
    before = model[1].average.clone()
    diagnosis = unvanish.diagnose(**classify(model, blobs(0)))
    said = {expected.name: expected.where for expected in diagnosis.expected}
    assert said["running-statistics"] == ("1.average",)
    assert said["frozen-by-you"] == ("0.bias",)
    assert torch.equal(model[1].average, before)
    assert diagnosis.trace.conditions.notes == ()


def test_a_weight_that_the_forward_pass_clips_is_still_told() -> None:
    class Clipped(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            with torch.no_grad():
                self.weight.clamp_(-0.01, 0.01)
            return super().forward(input)

    model = nn.Sequential(Clipped(32, 16), nn.ReLU(), nn.Linear(16, 4))
    diagnosis = unvanish.diagnose(**classify(model, blobs(0)))
    (note,) = diagnosis.trace.conditions.notes
    assert "writes into parameter 0.weight" in note
    assert "running-statistics" not in {expected.name for expected in diagnosis.expected}
