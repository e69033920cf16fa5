"""``unvanish show``: what a stranger reads of a recording, and the exit status."""

import json
import math
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unvanish.cli import run
from unvanish.recording import Event, Recording, StepReading, TensorEntry, Writer
from unvanish.recording.summarising import summarise
from unvanish.recording.summary import Alarm
from unvanish.report.recorded import verdict
from unvanish.report.recording import render_recording

CapSys = pytest.CaptureFixture[str]


def alarm(step: int, name: str = "step-too-large", severity: str = "broken") -> Event:
    return Event(
        kind="alarm",
        name=name,
        step=step,
        seconds=step / 10,
        severity=severity,
        where=("h.1.weight", "h.2.weight", "h.3.weight"),
        evidence={"final": 12.97, "odd": math.inf},
        detail="Just before, at step 40, the learning rate was multiplied by 600.",
    )


def recorded(
    folder: Path,
    *events: Event,
    tensors: int = 8,
    steps: int = 60,
    look: dict[str, Any] | None = None,
) -> Path:
    entries = [
        TensorEntry(name=f"h.{i // 2}.{'weight' if i % 2 == 0 else 'bias'}", shape=(4,), dtype="f")
        for i in range(tensors)
    ]
    with Writer(folder, entries, {"model": "MLP", "guard": []}) as writer:
        for step in range(steps):
            level = 10.0 ** -np.arange(tensors) * (100 if step >= steps - 10 else 1)
            values = {
                "gradient_rms": level.astype(np.float32),
                "gradient_zeros": np.full(tensors, 1, np.float32),
            }
            if step % 4 == 0:
                values["update_to_weight"] = np.full(tensors, 2e-3, np.float32)
                values["weight_rms"] = np.ones(tensors, np.float32)
            scalars = {"loss": 3.0 - step / 30, "watch_seconds": 0.0002, "step_seconds": 0.02}
            writer.write(
                StepReading(
                    step=step, seconds=step / 10, stage="unscaled", values=values, scalars=scalars
                )
            )
        for event in events:
            writer.event(event)
        if look is not None:
            writer.look(steps - 1, json.dumps(look))
    return folder


def shown(folder: Path, capsys: CapSys, status: int) -> str:
    assert run(["show", str(folder)]) == status
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 100
    return out


def test_a_healthy_recording_is_status_zero_and_one_screen(tmp_path: Path, capsys: CapSys) -> None:
    out = shown(recorded(tmp_path), capsys, 0)
    assert out.startswith("Healthy: no alarm stands after 60 steps.")
    assert len(out.splitlines()) <= 24
    assert "60 steps (0 to 59) in 5.9 s, 8 tensors" in out
    assert "loss 2.85 at first, 1.183 at last" in out
    assert "watching took 1.0 % of the time (median 0.2 of 20 ms a step)" in out
    assert str(tmp_path / "recording.sqlite") in out.replace("\n   ", "")
    assert "closed" in out


def test_a_standing_alarm_is_status_one_with_its_place_and_what_changed(
    tmp_path: Path, capsys: CapSys
) -> None:
    out = shown(recorded(tmp_path, alarm(50)), capsys, 1)
    first = out.splitlines()[0]
    assert first == "Broken: step-too-large at step 50 in h.1.weight and 2 more."
    assert "at step 40, the learning rate was multiplied by 600" in out
    assert "loss at last 12.97; odd inf" in out
    assert "more: unvanish explain step-too-large" in out


def test_an_alarm_that_is_over_is_told_and_healthy(tmp_path: Path, capsys: CapSys) -> None:
    over = Event(kind="cleared", name="step-too-large", step=55, seconds=5.5)
    out = shown(recorded(tmp_path, alarm(50), over), capsys, 0)
    assert out.startswith("Healthy: no alarm stands after 60 steps (1 earlier alarm is over).")
    assert "step 50, over at step 55: step-too-large" in out


def test_an_alarm_raised_again_stands(tmp_path: Path) -> None:
    over = Event(kind="cleared", name="step-too-large", step=55, seconds=5.5)
    folder = recorded(tmp_path, alarm(50), over, alarm(58), alarm(20, "dead-units", "harmful"))
    with Recording.open(folder) as recording:
        summary = summarise(recording)
    assert [(a.name, a.step, a.over) for a in summary.alarms] == [
        ("step-too-large", 50, 55),
        ("step-too-large", 58, None),
        ("dead-units", 20, None),
    ]
    assert [a.name for a in summary.standing] == ["step-too-large", "dead-units"]


def test_a_note_is_no_alarm(tmp_path: Path, capsys: CapSys) -> None:
    folder = recorded(tmp_path, alarm(3, "always-clipped", "note"))
    assert "always-clipped" in shown(folder, capsys, 0)


def test_what_only_the_deep_look_found_counts_and_is_not_told_twice(
    tmp_path: Path, capsys: CapSys
) -> None:
    finding = {"name": "dead-units", "severity": "harmful", "where": ["h.1"], "detail": None,
               "evidence": {"dead_units": 3.0, "bad": "inf"}}  # fmt: skip
    folder = recorded(tmp_path / "a", look={"healthy": False, "findings": [finding]})
    out = shown(folder, capsys, 1)
    assert out.startswith("Harmful: dead-units at step 59 in h.1.")
    assert "Found by the deep look alone" in out
    known = recorded(
        tmp_path / "b", alarm(50, "dead-units", "harmful"), look={"findings": [finding]}
    )
    assert "Found by the deep look alone" not in shown(known, capsys, 1)
    fine = recorded(tmp_path / "c", look={"healthy": True, "findings": []})
    assert "the deep look at step 59 found nothing" in shown(fine, capsys, 0)


def test_what_a_guard_did_is_counted(tmp_path: Path, capsys: CapSys) -> None:
    acts = [
        Event(kind="action", name="zclip", step=step, seconds=0, detail=f"clipped to 0.{step}")
        for step in (11, 12, 40)
    ]
    skip = Event(kind="action", name="skip-nonfinite", step=7, seconds=0, detail="not taken")
    out = shown(recorded(tmp_path, *acts, skip), capsys, 0)
    assert "zclip acted 3 times, steps 11 to 40; the last: clipped to 0.40" in out
    assert "skip-nonfinite acted at step 7; not taken" in out


def test_the_profile_is_of_the_first_and_the_last_steps(tmp_path: Path) -> None:
    with Recording.open(recorded(tmp_path)) as recording:
        summary = summarise(recording)
    rows = {row.block: row for row in summary.profile}
    assert list(rows) == ["h.0", "h.1", "h.2", "h.3"]
    joined = math.sqrt((1 + 0.1**2) / 2)
    assert rows["h.0"].gradient_rms == (pytest.approx(joined), pytest.approx(100 * joined))
    assert rows["h.0"].update_to_weight == (pytest.approx(2e-3), pytest.approx(2e-3))
    assert rows["h.0"].zeros == (pytest.approx(0.25), pytest.approx(0.25))


def test_ten_thousand_tensors_fit_on_a_screen(tmp_path: Path, capsys: CapSys) -> None:
    out = shown(recorded(tmp_path, tensors=10_000, steps=3), capsys, 0)
    assert len(out.splitlines()) <= 50
    assert "(10000 tensors in 30 blocks)" in out


def test_a_recording_without_steps_has_no_verdict(tmp_path: Path, capsys: CapSys) -> None:
    out = shown(recorded(tmp_path, steps=0), capsys, 0)
    assert out.startswith("No verdict: no step was recorded yet.")


def test_while_it_is_being_written_it_says_so(tmp_path: Path, capsys: CapSys) -> None:
    with Writer(tmp_path, [], {}) as writer:
        writer.write(StepReading(step=0, seconds=0, stage="", values={}))
        writer.flush()
        assert "not closed: still being written" in " ".join(shown(tmp_path, capsys, 0).split())


UNCLOSED = """
import os, sys
from unvanish.recording import StepReading, Writer
writer = Writer(sys.argv[1], [], {"world": int(sys.argv[2]), "rank": int(sys.argv[3])})
for step in range(int(sys.argv[4])):
    writer.write(StepReading(step=step, seconds=step / 10, stage="", values={}))
writer.flush()
os._exit(9)
"""


def left_open(folder: Path, world: int = 1, rank: int = 0, steps: int = 7) -> None:
    command = [sys.executable, "-c", UNCLOSED, str(folder), str(world), str(rank), str(steps)]
    assert subprocess.run(command).returncode == 9


def test_a_program_that_was_killed_is_not_called_healthy(tmp_path: Path, capsys: CapSys) -> None:
    left_open(tmp_path)
    said = " ".join(shown(tmp_path, capsys, 0).split())
    assert said.startswith(
        "Ended early: the process ended without closing its recording, whose last step is 6. "
        "No alarm stands after 7 steps."
    )
    with Recording.open(tmp_path) as recording:
        text = render_recording(summarise(recording), width=200, language="ru")
    assert text.startswith("Завершилось досрочно: ")


def test_a_killed_program_is_told_beside_a_standing_alarm(tmp_path: Path) -> None:
    left_open(tmp_path)
    with Recording.open(tmp_path) as recording:
        summary = summarise(recording)
    standing = Alarm(
        name="dead-units", severity="harmful", step=3, over=None, where=(), evidence={}, detail=""
    )
    severity, said = verdict(replace(summary, alarms=(standing,)))
    assert severity == "harmful"
    assert said.startswith("Harmful: dead-units at step 3. Ended early: the process ended")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_of_several_processes_the_one_that_stopped_is_named(
    elsewhere: bool, tmp_path: Path, capsys: CapSys
) -> None:
    """Known by its process here; where it ran on another machine, by the others having closed."""
    for rank in (0, 2):
        folder = tmp_path / f"rank-{rank}" if rank else tmp_path
        with Writer(folder, [], {"world": 3, "rank": rank}) as writer:
            for step in range(9):
                writer.write(StepReading(step=step, seconds=step / 10, stage="", values={}))
    left_open(tmp_path / "rank-1", 3, 1)
    if elsewhere:
        with sqlite3.connect(tmp_path / "rank-1" / "recording.sqlite") as connection:
            connection.execute("UPDATE about SET value = '\"other\"' WHERE key = 'machine'")
        connection.close()
    said = " ".join(shown(tmp_path, capsys, 0).split())
    assert said.startswith(
        "Ended early: rank 1 ended without closing its recording, whose last step is 6. No alarm"
    )


def test_where_nothing_is_known_of_the_process_nothing_is_claimed(tmp_path: Path) -> None:
    left_open(tmp_path)
    with sqlite3.connect(tmp_path / "recording.sqlite") as connection:
        connection.execute("DELETE FROM about WHERE key = 'machine'")
    connection.close()
    with Recording.open(tmp_path) as recording:
        summary = summarise(recording)
    assert summary.endings == ()
    assert verdict(summary)[0] == "good"


def test_what_a_program_raised_is_in_the_verdict(tmp_path: Path, capsys: CapSys) -> None:
    note = Event(kind="note", name="training-raised", step=60, seconds=6, detail="ValueError: no")
    said = shown(recorded(tmp_path, note), capsys, 0)
    assert said.startswith("Ended early: the process raised at step 60 (ValueError: no). No alarm")


def test_json_alone_on_standard_output_and_strict(tmp_path: Path, capsys: CapSys) -> None:
    folder = recorded(tmp_path / "run", alarm(50))
    assert run(["show", str(folder), "--json", "-"]) == 1
    out, err = capsys.readouterr()
    said = json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert err == ""
    assert said["healthy"] is False
    assert said["alarms"][0]["evidence"] == {"final": 12.97, "odd": "inf"}
    assert said["steps"] == 60
    assert run(["show", str(folder), "--json", str(tmp_path / "x.json")]) == 1
    assert json.loads((tmp_path / "x.json").read_text()) == said


def test_html_opens_offline(tmp_path: Path, capsys: CapSys) -> None:
    folder = recorded(tmp_path / "run", alarm(50, "<b>alarm</b>"))
    page = tmp_path / "x.html"
    assert run(["show", str(folder), "--html", str(page)]) == 1
    assert "report written to" in capsys.readouterr().out
    content = page.read_text(encoding="utf-8")
    assert "Broken" in content
    assert "<b>alarm" not in content
    assert "http" not in content.replace("http-equiv", "")
    assert run(["show", str(folder), "--html", str(tmp_path / "x.txt")]) == 2
    assert "must end in .html" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"hello " * 1000])
def test_bad_input_is_status_two_and_one_line(
    tmp_path: Path, capsys: CapSys, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "recording.sqlite").write_bytes(content)
    assert run(["show", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("unvanish: ")
    assert "Traceback" not in err


def test_a_file_that_cannot_be_written_is_status_two(tmp_path: Path, capsys: CapSys) -> None:
    folder = recorded(tmp_path / "run")
    assert run(["show", str(folder), "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "--json: cannot write" in capsys.readouterr().err


@pytest.mark.parametrize("first", [False, True])
def test_a_process_killed_before_it_wrote_anything_of_its_tensors(
    first: bool, tmp_path: Path, capsys: CapSys
) -> None:
    """Up to a fifth of a second of readings is lost with a process: that may be all of them."""
    tensors = [TensorEntry(name="weight", shape=(4,), dtype="f")]
    for rank in (0, 1):
        folder = tmp_path / f"rank-{rank}" if rank else tmp_path
        with Writer(folder, tensors, {"world": 2, "rank": rank}) as writer:
            for step in range(0 if (rank == 0) == first else 5):
                values = {"weight_rms": np.ones(1, np.float32)}
                values["gradient_l2"] = np.ones(1, np.float32)
                told = StepReading(step=step, seconds=step / 10, stage="", values=values)
                writer.write(told)
    with Recording.open(tmp_path) as joined:
        assert len(joined.ranks) == 2
        assert joined.tensors == ("weight",)
        assert "rank-stopped" not in {event.name for event in joined.events}  # it was closed
    shown(tmp_path, capsys, 0)
