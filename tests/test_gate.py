"""Samples that collapse or become strangers are named; nets that keep them apart are not."""

import math

import pytest
import torch
from patients import HEALTHY, blobs, classify, he, plain
from patients_gate import HEALTHY_GATE, NONFINITE, SICK_GATE, positive
from torch import nn

import unvanish
from unvanish.probe.gate import Samples, directions, singular_value_spread

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SICK_GATE)
def test_sick_program_gets_its_own_name_first(name: str, seed: int) -> None:
    patient, expected, place = SICK_GATE[name]
    first = unvanish.diagnose(**patient(seed)).findings[0]
    assert first.name == expected
    assert any(place in where for where in first.where)
    assert first.because is None


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY_GATE)
def test_healthy_program_gets_no_alarm(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**HEALTHY_GATE[name](seed))
    assert diagnosis.healthy, [(f.name, dict(f.evidence)) for f in diagnosis.findings]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", NONFINITE)
def test_nonfinite_pattern_is_named(name: str, seed: int) -> None:
    patient, phase, words = NONFINITE[name]
    first = unvanish.diagnose(**patient(seed)).findings[0]
    assert first.name == f"nonfinite-{phase}"
    assert first.detail is not None
    assert words in first.detail


@pytest.mark.parametrize("term", [1, 2, 3])
def test_term_of_the_loss_is_counted(term: int) -> None:
    model, data = plain(1, nn.Tanh), blobs(0)

    def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        parts = [nn.functional.cross_entropy(outputs, labels), outputs.square().mean()]
        parts.insert(term - 1, 0.1 * torch.log(positive(outputs)).mean())
        return parts[0] + parts[1] + parts[2]

    first = unvanish.diagnose(model, data, loss).findings[0]
    assert (first.evidence["loss_term"], first.evidence["loss_terms"]) == (term, 3)


def test_readings_are_those_of_the_definition() -> None:
    samples = torch.randn(20, 50, dtype=torch.float64) + 0.3
    gram = Samples(samples).gram
    assert gram is not None
    units = samples / samples.norm(dim=1, keepdim=True)
    cosines = units @ units.T
    assert float(gram.trace()) == pytest.approx(1 - float(cosines.mean()), rel=1e-10)
    exact = torch.linalg.svdvals(units - units.mean(0)) ** 2 / 20
    assert directions(gram) == pytest.approx(exact[:10].tolist(), rel=1e-9)


@pytest.mark.parametrize("width", [8, 500])
def test_readings_are_of_the_moment_however_they_are_kept(width: int) -> None:
    output = torch.randn(40, width)
    before, kept = Samples(output.clone()).gram, Samples(output)
    output.relu_()  # an operation in place, further on in the net
    assert before is not None
    assert torch.equal(before, kept.gram)


def test_readings_do_not_change_when_a_batch_is_given_twice() -> None:
    samples = torch.randn(12, 40)
    once, twice = Samples(samples).gram, Samples(torch.cat([samples, samples])).gram
    assert once is not None
    assert twice is not None
    assert directions(twice)[:8] == pytest.approx(directions(once)[:8], rel=1e-6)


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_spread_of_singular_values_is_that_of_a_known_matrix(spread: float) -> None:
    count = 256
    generator = torch.Generator().manual_seed(0)
    left = torch.linalg.qr(torch.randn(count, count, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(count, count, generator=generator))[0]
    quantiles = (torch.arange(count) + 0.5) / count
    values = torch.exp(spread * torch.special.ndtri(quantiles.double())).float()
    model = nn.Linear(count, count, bias=False)
    with torch.no_grad():
        model.weight.copy_(left @ torch.diag(values) @ right)
    ratio = float((values**4).mean() / (values**2).mean() ** 2)
    expected = math.sqrt(max(math.log(ratio), 0.0)) / 2
    measured = singular_value_spread(model, torch.randn(8, count, generator=generator))
    assert measured == pytest.approx(expected, abs=0.02 + 0.03 * spread)


def test_every_healthy_patient_with_hidden_layers_has_its_gate_read() -> None:
    for name in ("kaiming relu", "resnet", "pre-norm encoder", "converged"):
        gate = unvanish.observe(**HEALTHY[name](0)).gate
        assert gate is not None
        assert gate.cosine_last is not None, name
        assert gate.sensitivity_decades is not None, name


def test_likeness_follows_the_correlation_map_of_relu() -> None:
    """1 - correlation of unrelated samples after 10 and 30 He-ReLU layers: .12846, .02799."""
    torch.manual_seed(0)
    data = torch.randn(32, 512), torch.randint(4, (32,))
    layers = unvanish.observe(**classify(plain(31, nn.ReLU, he(), width=512), data)).layers
    for depth, expected in ((10, 0.12846), (30, 0.02799)):
        # The output of layer l is phi(z_l): one step of the map further than its pre-activation.
        difference = layers[len(layers) - depth].difference
        assert difference is not None
        assert difference * 32 / 31 == pytest.approx(expected, rel=0.2)
