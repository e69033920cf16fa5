"""Layers that one step has killed: the step is named, and what changed just before it."""

from pathlib import Path

import numpy as np
import pytest
from test_alarms import CHAIN, reading

from unvanish.alarms import Alarms
from unvanish.recording import Event, Recording, Writer
from unvanish.recording.summarising import summarise
from unvanish.report.html.recording import recording_page
from unvanish.report.recording import render_recording

DEATHS = 40


def dying(factor: float, read_at: set[int]) -> dict[str, Event]:
    """All layers but the last get no gradient from step 40 on; weights were multiplied there."""
    alarms = Alarms(CHAIN, optimizer="SGD")
    noise = np.random.default_rng(0).normal(1.1, 0.05, 100)
    for step in range(100):
        dead = step >= DEATHS
        weights = [factor if dead else 1.0] * 8 if step in read_at else None
        gradients = [0.0 if dead else 1.0] * 7 + [1.0]
        told = reading(step, gradients, weights=weights, loss=float(noise[step]), learning_rate=0.1)
        alarms.feed(told)
    return {event.name: event for event in alarms.active}


def test_weights_that_doubled_in_the_step_that_killed() -> None:
    named = dying(4.0, {10, 30, 45, 60, 75})
    assert named["step-too-large"].severity == "broken"
    assert f"since step {DEATHS}" in named["step-too-large"].detail
    assert named["dead-units"].detail.startswith("follows from step-too-large")


def test_weights_that_did_not_or_long_before() -> None:
    assert set(dying(1.5, {10, 30, 45, 60, 75})) == {"dead-units"}
    # Between readings so far apart they may have doubled by learning.
    assert set(dying(4.0, {10, 90})) == {"dead-units"}


def test_what_a_look_finds_dead_has_its_onset_and_what_changed(tmp_path: Path) -> None:
    """The rate goes up tenfold at step 38; module 1 gets no gradient from step 40 on."""
    alarms = Alarms(CHAIN, optimizer="SGD")
    for step in range(48):
        gradients = [1.0, 1.0, *[float(step < DEATHS)] * 2, *[1.0] * 4]
        rate = 0.01 if step < 38 else 0.1
        assert alarms.feed(reading(step, gradients, loss=1.0, learning_rate=rate)) == []
    measured = {"dead_units": 4.0, "units": 4.0}
    found = Event(
        kind="alarm", name="dead-units", step=48, seconds=4.8, severity="broken", where=("1",),
        evidence=measured, detail="1",
    )  # fmt: skip
    told = alarms.of_look(found, "so it is", None)
    assert told.severity == "broken"
    assert told.since == DEATHS
    assert told.evidence["learning_rate_factor"] == pytest.approx(10)
    with Writer(tmp_path, CHAIN, {}) as writer:
        writer.write(reading(48))
        writer.event(told)
    with Recording.open(tmp_path) as recording:
        summary = summarise(recording)
        shown, page = (
            " ".join(render_recording(summary).split()),
            recording_page(recording, summary),
        )
    assert "Just before: the learning rate was multiplied by 10; step of the change" in page
    assert "Broken: dead-units since step 40 in 1." in shown
    assert "Just before: the learning rate was multiplied by 10; step of the change" in shown
