"""Samples that collapse or become strangers are named; nets that keep them apart are not."""

import math

import pytest
import torch
from patients import HEALTHY, blobs, classify, he, plain
from patients_gate import HEALTHY_GATE, SICK_GATE, deep, gain
from torch import nn

import unvanish
from unvanish.probe.gate import directions, likeness, singular_value_spread

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
