"""A recording: what was written comes back to the bit, whatever happens meanwhile."""

import json
import logging
import math
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unvanish.errors import BadInput
from unvanish.recording import Event, Recording, StepReading, TensorEntry, Writer

STAGE = "unscaled unclipped whole"
FLOATS = ("gradient_l2", "gradient_rms", "gradient_mean", "weight_rms", "update_to_weight")


def entries(count: int, prefix: str = "layers") -> list[TensorEntry]:
    return [
        TensorEntry(name=f"{prefix}.{i}.weight", shape=(i + 1, 3), dtype="float32")
        for i in range(count)
    ]


def reading(step: int, tensors: int, histogram: bool = True) -> StepReading:
    random = np.random.default_rng(step)
    values = {name: random.normal(size=tensors).astype(np.float32) * 1e-30 for name in FLOATS}
    values["gradient_l2"][0] = np.float32(1e-45)  # the smallest there is
    counts = random.integers(0, 2**32, size=(tensors, 64), dtype=np.uint32)
    return StepReading(
        step=step,
        seconds=step / 7,
        stage=STAGE,
        values=values,
        histogram=counts if histogram else None,
        scalars={"loss": 1 / (step + 3), "learning_rate": 0.1},
    )


def test_everything_comes_back_to_the_bit(tmp_path: Path) -> None:
    readings = [reading(step, 5, histogram=step % 2 == 0) for step in range(6)]
    event = Event(
        kind="alarm",
        name="depth-decay",
        step=3,
        seconds=0.4,
        severity="harmful",
        where=("layers.0.weight", "läyer.1"),
        evidence={"decades": -7.25, "gone": math.inf, "odd": math.nan},
        detail="a line",
    )
    with Writer(tmp_path, entries(5), {"torch": "2.13", "rates": (0.1, math.nan)}) as writer:
        for one in readings:
            writer.write(one)
        writer.event(event)
        writer.look(4, json.dumps({"healthy": True, "findings": []}))
    with Recording.open(tmp_path) as recording:
        assert recording.steps.tolist() == list(range(6))
        assert recording.seconds.tolist() == [one.seconds for one in readings]
        assert recording.stages == (STAGE,) * 6
        assert recording.entries == tuple(entries(5))
        assert set(recording.statistics) == {*FLOATS, "gradient_log2_histogram"}
        for column, name in enumerate(recording.tensors):
            for statistic in FLOATS:
                steps, values = recording.values(statistic, name)
                expected = np.array([one.values[statistic][column] for one in readings])
                assert steps.tolist() == list(range(6))
                assert values.tobytes() == expected.tobytes()
                assert values.dtype == np.float32
            steps, counts = recording.values("gradient_log2_histogram", name)
            assert steps.tolist() == [0, 2, 4]
            assert counts.dtype == np.uint32
            for step, row in zip(steps, counts, strict=True):
                assert (row == readings[step].histogram[column]).all()  # type: ignore[index]
        assert recording.scalar_names == ("learning_rate", "loss")
        steps, losses = recording.scalars("loss")
        assert losses.tolist() == [one.scalars["loss"] for one in readings]
        (back,) = recording.events
        assert back.plain() | {"evidence": 0} == event.plain() | {"evidence": 0}
        assert back.evidence["gone"] == math.inf
        assert math.isnan(back.evidence["odd"])
        assert recording.conditions == {"torch": "2.13", "rates": [0.1, "nan"]}
        assert recording.looks.tolist() == [4]
        assert recording.look(4) == {"healthy": True, "findings": []}
        assert recording.finished
        assert recording.lost == {}
        assert recording.thinned == {}


def test_what_was_not_read_is_absent_and_never_zero(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(2), {}) as writer:
        one = reading(0, 2)
        one.values["gradient_l2"][1] = np.nan
        one.scalars["loss"] = math.nan
        writer.write(one)
        writer.add_tensors(entries(1, "late"))
        writer.write(reading(1, 3))
    with Recording.open(tmp_path) as recording:
        assert recording.tensors[2] == "late.0.weight"
        assert recording.values("gradient_l2", recording.tensors[1])[0].tolist() == [1]
        assert recording.values("weight_rms", "late.0.weight")[0].tolist() == [1]
        assert recording.values("gradient_log2_histogram", "late.0.weight")[0].tolist() == [1]
        steps, table = recording.matrix("weight_rms")
        assert steps.tolist() == [0, 1]
        assert np.isnan(table).tolist() == [[False, False, True], [False] * 3]
        assert np.isnan(recording.scalars("loss")[1]).tolist() == [True, False]


def test_the_arrays_may_be_used_again_at_once(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(3), {}) as writer:
        buffer = np.ones(3, np.float32)
        counts = np.ones((3, 64), np.uint32)
        values = {"gradient_l2": buffer}
        for step in range(50):
            buffer.fill(step)
            counts.fill(step)
            writer.write(
                StepReading(step=step, seconds=0, stage=STAGE, values=values, histogram=counts)
            )
    with Recording.open(tmp_path) as recording:
        assert recording.values("gradient_l2", "layers.1.weight")[1].tolist() == list(range(50))
        found = recording.values("gradient_log2_histogram", "layers.1.weight")[1]
        assert found[:, 9].tolist() == list(range(50))


def test_matrix_is_cut_and_thinned_on_request(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(2), {}) as writer:
        for step in range(100):
            writer.write(reading(step, 2, histogram=False))
    with Recording.open(tmp_path) as recording:
        assert recording.matrix("weight_rms", 10, 20)[0].tolist() == list(range(10, 21))
        steps, table = recording.matrix("weight_rms", at_most=10)
        assert (steps[0], steps[-1], len(steps), table.shape) == (0, 99, 10, (10, 2))
        assert table[3, 1] == recording.values("weight_rms", "layers.1.weight")[1][steps[3]]


def test_a_recording_is_read_while_it_is_written(tmp_path: Path) -> None:
    writer = Writer(tmp_path, entries(2), {})
    with Recording.open(tmp_path) as recording:
        assert recording.steps.tolist() == []
        assert recording.statistics == ()
        writer.write(reading(0, 2))
        writer.flush()
        assert recording.steps.tolist() == [0]
        assert not recording.finished
        writer.write(reading(1, 2))  # and no further step arrives, and nobody flushes
        until = time.monotonic() + 30
        while recording.steps.tolist() != [0, 1]:
            assert time.monotonic() < until
            time.sleep(0.01)
        writer.close()
        assert recording.finished
        assert recording.values("weight_rms", "layers.0.weight")[0].tolist() == [0, 1]


def test_reads_of_one_snapshot_are_of_one_moment(tmp_path: Path) -> None:
    writer = Writer(tmp_path, entries(1), {})
    stop = threading.Event()

    def write() -> None:
        step = 0
        while not stop.is_set():
            writer.write(reading(step, 1, histogram=False))
            writer.flush()
            step += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with Recording.open(tmp_path) as recording:
            for _ in range(50):
                with recording.snapshot():
                    counts = {len(recording.steps), len(recording.stages), len(recording.seconds)}
                    assert len(counts) == 1
    finally:
        stop.set()
        thread.join()
        writer.close()


def test_several_threads_write_and_nothing_is_mixed(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(3), {}) as writer:

        def write(start: int) -> None:
            for step in range(start, 200, 4):
                writer.write(reading(step, 3, histogram=False))

        threads = [threading.Thread(target=write, args=(start,)) for start in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with Recording.open(tmp_path) as recording:
        steps, table = recording.matrix("gradient_mean")
        assert steps.tolist() == list(range(200))
        expected = np.stack([reading(step, 3).values["gradient_mean"] for step in range(200)])
        assert table.tobytes() == expected.tobytes()


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    first, second = Writer(tmp_path, entries(1), {"run": 1}), Writer(tmp_path, [], {"run": 2})
    first.write(reading(0, 1))
    first.close()
    second.close()
    with Writer(tmp_path, [], {"run": 3}) as third:
        assert third.path.name == "recording-3.sqlite"
    assert [first.path.name, second.path.name] == ["recording.sqlite", "recording-2.sqlite"]
    assert Recording.open(tmp_path).conditions == {"run": 3}
    assert Recording.open(first.path).steps.tolist() == [0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "recording-2.sqlite",
        "recording-3.sqlite",
        "recording.sqlite",
    ]


def test_the_file_alone_is_complete_after_closing(tmp_path: Path) -> None:
    with Writer(tmp_path / "a", entries(1), {}) as writer:
        writer.write(reading(0, 1))
    moved = tmp_path / "with ? and # and %41.sqlite"
    moved.write_bytes(writer.path.read_bytes())
    with Recording.open(moved) as recording:
        assert recording.steps.tolist() == [0]


def test_closing_twice_and_writing_after_it_does_nothing(tmp_path: Path) -> None:
    writer = Writer(tmp_path, entries(1), {})
    writer.close()
    writer.close()
    writer.write(reading(0, 1))
    writer.flush()
    assert writer.failed is None
    assert Recording.open(tmp_path).steps.tolist() == []


def test_what_cannot_be_recorded_is_refused_once_said_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad: Any = reading(0, 1)
    bad.histogram = np.zeros((1, 7))
    with Writer(tmp_path, entries(1), {}) as writer:
        writer.write(bad)
        writer.write(bad)
        writer.write(reading(2**63, 1))
        writer.write(reading(1, 1))
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert Recording.open(tmp_path).steps.tolist() == [1]
    assert Recording.open(tmp_path).lost == {"refused": 1}


def test_unknown_names_are_answered_with_near_ones(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(3), {}) as writer:
        writer.write(reading(0, 3))
    recording = Recording.open(tmp_path)
    with pytest.raises(
        BadInput, match=r"no tensor 'layers.1.wieght'; did you mean layers.1.weight"
    ):
        recording.values("gradient_l2", "layers.1.wieght")
    with pytest.raises(BadInput, match="no statistic 'gradient_l3'; did you mean gradient_l2"):
        recording.values("gradient_l3", "layers.1.weight")
    with pytest.raises(BadInput, match="no scalar 'los'; did you mean loss"):
        recording.scalars("los")
    with pytest.raises(BadInput, match="not observed in full; there are none"):
        recording.look(3)
    with pytest.raises(BadInput, match="use values"):
        recording.matrix("gradient_log2_histogram")
    recording.close()
    with pytest.raises(BadInput, match="was closed"):
        _ = recording.steps


CHILD = """
import sys, os
from pathlib import Path
import numpy as np
from unvanish.recording import StepReading, TensorEntry, Writer
assert "torch" not in sys.modules
writer = Writer(Path(sys.argv[1]), [TensorEntry(name="w", shape=(2,), dtype="float32")], {})
def write(step):
    values = {"gradient_l2": np.ones(1, np.float32)}
    writer.write(StepReading(step=step, seconds=0, stage="", values=values))
"""


def child(tmp_path: Path, rest: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", CHILD + rest, str(tmp_path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_end_of_the_program_writes_what_waits(tmp_path: Path) -> None:
    done = child(tmp_path, "for step in range(100): write(step)")
    assert (done.returncode, done.stderr) == (0, "")
    recording = Recording.open(tmp_path)
    assert len(recording.steps) == 100
    assert recording.finished


def test_an_exception_of_the_program_passes_and_all_is_written(tmp_path: Path) -> None:
    done = child(tmp_path, "write(0); 1/0")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ZeroDivisionError: division by zero")
    assert Recording.open(tmp_path).steps.tolist() == [0]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_does_not_touch_the_recording(tmp_path: Path) -> None:
    rest = """
write(0)
for leave in (os._exit, sys.exit):
    pid = os.fork()
    if pid == 0:
        write(1); writer.flush(); writer.close()
        if leave is sys.exit: del writer
        leave(0)
    assert os.waitpid(pid, 0)[1] == 0
for step in range(2, 9): write(step)
writer.flush()
assert writer.failed is None
"""
    done = child(tmp_path, rest)
    assert (done.returncode, done.stderr) == (0, "")
    assert Recording.open(tmp_path).steps.tolist() == [0, *range(2, 9)]


def test_a_full_disk_stops_the_recording_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "unvanish"), Writer(tmp_path, entries(50), {}) as writer:
        writer._store._connection.execute("PRAGMA max_page_count = 40")
        for step in range(100):
            writer.write(reading(step, 50))
            if step == 0:
                writer.flush()
        writer.flush()
        assert writer.failed is not None
        assert "stopped after step" in writer.failed
        assert "disk is full" in writer.failed
    (record,) = caplog.records
    assert "training goes on" in record.getMessage()
    with Recording.open(tmp_path) as recording:
        assert recording.steps[0] == 0
        assert not recording.finished


def test_a_file_size_limit_of_the_system_stops_it_likewise(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    rest = """
import resource, time
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
for step in range(20_000): write(step)
writer.flush()
assert writer.failed, "it should have failed"
"""
    assert resource
    done = child(tmp_path, rest)
    assert done.returncode == 0, done.stderr
    assert "training goes on unrecorded" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    Recording.open(tmp_path).close()


def test_a_removed_folder_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "run"
    with Writer(folder, entries(1), {}) as writer:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        writer.write(reading(0, 1))
        writer.flush()
        assert writer.failed is not None
        assert "removed" in writer.failed
    assert not folder.exists()
    assert len(caplog.records) == 1


def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(1), {}) as writer:
        other = sqlite3.connect(writer.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        writer.write(reading(0, 1))
        time.sleep(0.5)
        other.execute("COMMIT")
        other.close()
        writer.flush()
        assert writer.failed is None
    assert Recording.open(tmp_path).steps.tolist() == [0]


def test_a_slow_disk_costs_detail_never_scalars_and_it_is_said(tmp_path: Path) -> None:
    with Writer(tmp_path, entries(64), {}, backlog_bytes=1 << 18) as writer:
        other = sqlite3.connect(writer.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # nothing can be written meanwhile
        for step in range(400):
            writer.write(reading(step, 64))
        other.execute("COMMIT")
        other.close()
    with Recording.open(tmp_path) as recording:
        assert recording.lost["histograms"] > 0
        assert recording.lost["readings"] > 0
        assert recording.scalars("loss")[0].tolist() == list(range(400))
        kept = recording.values("weight_rms", "layers.0.weight")[0]
        assert len(kept) == 400 - recording.lost["readings"]
        assert kept[-1] == 399


def test_a_folder_that_cannot_be_one_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="it is a file; name a folder"):
        Writer(tmp_path / "file", [], {})
    with pytest.raises(BadInput, match=r"cannot record to .*; name a folder"):
        Writer(tmp_path / "file" / "below", [], {})
    with pytest.raises(BadInput, match="limit_bytes must be at least"):
        Writer(tmp_path, [], {}, limit_bytes=3)
