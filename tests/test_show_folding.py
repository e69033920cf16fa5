"""One alarm for one fault: what a recording says is what the training itself said at its end."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from test_show import alarm, recorded

import unvanish
from unvanish.cli import run
from unvanish.cli.folding import folded
from unvanish.lessons import single_unit_softmax
from unvanish.lessons.lesson import Lesson
from unvanish.recording import Event, Recording
from unvanish.recording.summarising import summarise
from unvanish.recording.summary import Summary

CapSys = pytest.CaptureFixture[str]


def trained(lesson: Lesson, folder: Path) -> unvanish.Diagnosis:
    """What the watch itself says in the end."""
    torch.manual_seed(0)
    program = lesson.sick()
    model, (inputs, targets), loss = program["model"], program["data"], program["loss"]
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    with unvanish.watch(model, optimizer, to=folder, budget=1.0) as monitor:
        for _ in range(120):
            optimizer.zero_grad()
            loss(model(inputs), targets).backward()
            optimizer.step()
    return monitor.diagnosis


def test_what_follows_from_another_alarm_is_counted_in_neither(
    tmp_path: Path, capsys: CapSys
) -> None:
    found = trained(single_unit_softmax.LESSON, tmp_path).findings
    serious = [finding for finding in found if finding.severity != "note"]
    (cause,) = [finding.name for finding in serious if finding.because is None]
    followers = [finding for finding in serious if finding.because == cause]
    assert followers
    assert run(["show", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "more below" not in said
    for finding in followers:
        assert f"{finding.name}  note" in said
        assert f"follows from {cause}" in said


def of(folder: Path, *events: Event, evidence: Mapping[str, Mapping[str, float]]) -> Summary:
    told = [Event(**{**plain(e), "evidence": evidence.get(e.name, {})}) for e in events]  # type: ignore[arg-type]
    with Recording.open(recorded(folder, *told)) as recording:
        return folded(summarise(recording))


def plain(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__slots__}


def test_what_began_before_its_cause_stays_a_fault_of_its_own(tmp_path: Path) -> None:
    events = alarm(20, "nonfinite-forward"), alarm(30, "step-too-large")
    since = {"nonfinite-forward": {"onset": 5.0}, "step-too-large": {"onset": 10.0}}
    assert len(of(tmp_path / "a", *events, evidence=since).standing) == 2
    since = {"nonfinite-forward": {"onset": 15.0}, "step-too-large": {"onset": 10.0}}
    standing = of(tmp_path / "b", *events, evidence=since).standing
    assert [one.name for one in standing] == ["step-too-large"]


def test_what_a_look_alone_has_seen_explains_what_was_raised_before_it(tmp_path: Path) -> None:
    events = alarm(20, "step-too-small"), alarm(30, "init-too-small")
    standing = of(tmp_path, *events, evidence={"step-too-small": {"onset": 0.0}}).standing
    assert [one.name for one in standing] == ["init-too-small"]


def test_two_faults_that_have_nothing_to_do_with_each_other_stay_two(tmp_path: Path) -> None:
    events = alarm(20, "stale-gradients"), alarm(30, "weight-decay-dominates")
    assert len(of(tmp_path, *events, evidence={}).standing) == 2


def test_what_is_over_explains_nothing_that_stands(tmp_path: Path) -> None:
    over = Event(kind="cleared", name="step-too-large", step=25, seconds=2.5)
    events = alarm(10, "step-too-large"), over, alarm(30, "nonfinite-forward")
    summary = of(tmp_path, *events, evidence={})
    assert [one.name for one in summary.standing] == ["nonfinite-forward"]
