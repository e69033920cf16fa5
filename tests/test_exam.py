"""Programs of an examiner: the right name and place first, and silence once they are repaired."""

import pytest
import torch
from patients import classify, images
from patients_exam import EXAM, SILENT, sgd
from torch import nn

import unvanish

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", EXAM)
def test_broken_program_gets_its_own_name_first(name: str, seed: int) -> None:
    pair, expected, place = EXAM[name]
    findings = unvanish.diagnose(**pair(seed, True)).findings
    assert findings
    assert findings[0].name == expected, [f.name for f in findings]
    assert any(place in where for where in findings[0].where), findings[0].where


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", EXAM)
def test_repaired_twin_gets_no_alarm(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**EXAM[name][0](seed, False))
    assert diagnosis.healthy, [(f.name, dict(f.evidence)) for f in diagnosis.findings]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SILENT)
def test_what_only_looks_like_it_gets_no_alarm(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**SILENT[name](seed))
    assert diagnosis.healthy, [(f.name, dict(f.evidence)) for f in diagnosis.findings]


def test_a_rate_that_moves_the_head_as_usual_is_not_called_too_small() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for place in range(8):
        layers += [nn.Conv2d(16 if place else 3, 16, 3, padding=1), nn.SiLU()]
    head = nn.Linear(256, 4)
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), head)
    program = classify(model, images(0), optimizer=sgd(model, 0.05))
    # Its far layers move by a millionth: the gradient does not get there, whatever the rate.
    assert "step-too-small" not in {f.name for f in unvanish.diagnose(**program).findings}
