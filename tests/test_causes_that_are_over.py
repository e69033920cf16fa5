"""A cause that is over, and what followed from it: a training is not healthy while that stands."""

import json
from pathlib import Path

import numpy as np
import pytest
from test_alarms import CHAIN, quiet, reading, scripted, told

from unvanish.alarms import Alarms
from unvanish.alarms.stream import PATIENCE
from unvanish.recording import Event, Recording, StepReading, TensorEntry, Writer
from unvanish.recording.summarising import summarise
from unvanish.report.recorded import verdict

LONG = 4 * PATIENCE


def with_consequence(after: str) -> Alarms:
    """Alarms whose cause is over after sixty steps; its consequence goes on as ``after`` says."""
    cause = scripted("step-too-large", "s" * 5 + "a" * LONG, onset=1, explains=("dead-units",))
    effect = scripted("dead-units", "u" * 5 + "s" * 5 + after * LONG, onset=6)
    return Alarms(CHAIN, detectors=[cause, effect])


def test_a_consequence_that_outlives_its_cause_stands_by_itself() -> None:
    alarms = with_consequence("s")
    events = [event for one in quiet(LONG + 10) for event in alarms.feed(one)]
    over = next(e.step for e in events if (e.kind, e.name) == ("cleared", "step-too-large"))
    [again] = [e for e in events if e.kind == "alarm" and e.step > over]
    assert (again.name, again.severity) == ("dead-units", "broken")
    assert again.step == over + 2 * PATIENCE + 1
    assert "because_onset" not in again.evidence
    assert [(e.name, e.severity) for e in alarms.active] == [("dead-units", "broken")]


@pytest.mark.parametrize("after", ["a", "u"])
def test_a_consequence_that_is_not_seen_any_more_says_nothing(after: str) -> None:
    alarms = with_consequence(after)
    raised = [name for _, kind, name in told(alarms, quiet(LONG + 10)) if kind == "alarm"]
    assert raised == ["step-too-large", "dead-units"]


def thrown(steps: int, comes_back: bool) -> list[StepReading]:
    """The rate goes up tenfold, the loss doubles, and nothing moves any more.

    Updates are read every sixty steps, so that those of the large steps were only reckoned.
    """
    losses = np.random.default_rng(0).normal(1.0, 0.02, steps)
    losses[40 : 100 if comes_back else steps] += 1.0
    return [
        reading(
            step,
            updates=None if step % 60 else [0.03 if not step else 1e-6] * 8,
            loss=float(losses[step]),
            learning_rate=0.01 if step < 38 else 0.1,
        )
        for step in range(steps)
    ]


def test_a_loss_that_never_came_down_is_no_alarm_that_is_over() -> None:
    alarms = Alarms(CHAIN, optimizer="SGD")
    events = told(alarms, thrown(500, comes_back=False))
    assert [(kind, name) for _, kind, name in events] == [("alarm", "step-too-large")]
    assert [event.name for event in alarms.active] == ["step-too-large"]


def test_a_loss_that_came_back_is() -> None:
    alarms = Alarms(CHAIN, optimizer="SGD")
    events = told(alarms, thrown(500, comes_back=True))
    assert [(kind, name) for _, kind, name in events] == [
        ("alarm", "step-too-large"),
        ("cleared", "step-too-large"),
    ]
    assert alarms.active == ()


FOUND = {"name": "dead-units", "severity": "broken", "where": ["0"], "evidence": {}}


def alarm(name: str, step: int, severity: str, **evidence: float) -> Event:
    return Event(
        kind="alarm", name=name, step=step, seconds=1.0, severity=severity, evidence=evidence
    )


def over(name: str, step: int) -> Event:
    return Event(kind="cleared", name=name, step=step, seconds=4.0)


CAUSE = alarm("step-too-large", 20, "harmful", onset=10.0)
FOLLOWS = alarm("dead-units", 22, "note", onset=12.0, because_onset=10.0)


def recorded(folder: Path, *events: Event, found: bool) -> tuple[str, str]:
    """The verdict on sixty steps with these events, and a look at step 30 that found dead units."""
    entries = [TensorEntry(name="0.weight", shape=(4, 4), dtype="float32")]
    with Writer(folder, entries, {}) as writer:
        for step in range(60):
            writer.write(StepReading(step=step, seconds=step / 10, stage="unscaled", values={}))
        for event in events:
            writer.event(event)
        writer.look(30, json.dumps({"findings": [FOUND] if found else []}))
    with Recording.open(folder) as recording:
        return verdict(summarise(recording))


def test_a_looks_finding_stands_when_its_cause_is_over(tmp_path: Path) -> None:
    ended = over("step-too-large", 40)
    severity, said = recorded(tmp_path, CAUSE, FOLLOWS, ended, found=True)
    assert severity == "broken"
    assert said.startswith("Broken: dead-units")


def test_a_looks_finding_is_its_causes_while_that_stands(tmp_path: Path) -> None:
    severity, said = recorded(tmp_path, CAUSE, FOLLOWS, found=True)
    assert severity == "harmful"
    assert "step-too-large" in said
    assert "dead-units" not in said


def test_a_look_that_found_nothing_is_told(tmp_path: Path) -> None:
    ended = over("step-too-large", 40)
    severity, said = recorded(tmp_path, CAUSE, FOLLOWS, ended, found=False)
    assert severity == "good"
    assert "the deep look at step 30 found nothing" in said


def test_a_look_that_found_what_is_over_is_not_said_to_have_found_nothing(tmp_path: Path) -> None:
    raised = alarm("dead-units", 20, "broken")
    severity, said = recorded(tmp_path, raised, over("dead-units", 40), found=True)
    assert severity == "good"
    assert "found nothing" not in said
