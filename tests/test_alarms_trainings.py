"""Alarms over real trainings: injected faults are named in time, healthy look-alikes are not."""

import sys
import warnings
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import alarms as benchmark
from alarm_runs.faults import FAULTS
from alarm_runs.healthy import HEALTHY

LOOK_ALIKES = (
    """
ReLU, Adam, read at every step|ten batch norms|the same with SGD, read every step
the same under warm-up from 0|transformer, warm-up, cosine to 0|rate 0 for five steps
cosine to 0, then on at 0|rate divided by 10 twice|converged, momentum
margins kept: loss and gradient 0|one bad batch|GAN, both in one module|policy gradient
one sample a batch|rare words, sparse gradients|thawed at step 80|frozen at step 80|LoRA, warm-up
weight decay, batch norm|scaler probes every ten steps|clipped at 0.01 with Adam
loss multiplied by 1000|loss of 1e-5 from the start|gradient noise without variance|negative loss
loss not told|experts, masked|head switched off by a factor|head not in this loss
labels become half random
""".strip()
    .replace("\n", "|")
    .split("|")
)


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_named_in_time(name: str) -> None:
    fault = FAULTS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = benchmark.events(fault.build(0), fault.at + benchmark.WITHIN + 1)
    alarms = [event for event in events if event.kind == "alarm"]
    assert not [event.name for event in alarms if event.step < fault.at]
    right = [event for event in alarms if event.name in fault.names and event.severity != "note"]
    assert right, [event.plain() for event in alarms]
    assert right[0].where
    assert abs(right[0].evidence["onset"] - fault.at) <= benchmark.WITHIN


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_look_alike_is_left_alone(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        events = benchmark.events(HEALTHY[name](1), 120)
    assert [event.plain() for event in events] == []


def test_what_a_large_rate_killed_comes_after_the_rate() -> None:
    events = benchmark.events(FAULTS["rate x 1000, Adam"].build(0), 130)
    names = [event.name for event in events if event.kind == "alarm"]
    assert names[:2] == ["step-too-large", "dead-units"]
    cause, effect = events[:2]
    assert cause.evidence["learning_rate_factor"] == pytest.approx(1000)
    assert effect.severity == "note"
    assert effect.detail.startswith("follows from step-too-large")
