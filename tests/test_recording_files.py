"""Opening: after a kill, without rights, and files that are no recording or a bad one."""

import os
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from unvanish.errors import BadInput
from unvanish.recording import Event, Recording, StepReading, TensorEntry, Writer
from unvanish.recording.layout import APPLICATION

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import recording_kills

ENTRIES = [TensorEntry(name=name, shape=(2,), dtype="float32") for name in ("a", "b")]


def written(folder: Path) -> Path:
    with Writer(folder, ENTRIES, {"x": 1}) as writer:
        for step in range(3):
            values = {"gradient_l2": np.array([1, 2], np.float32)}
            counts = np.ones((2, 64), np.uint32)
            writer.write(
                StepReading(
                    step=step,
                    seconds=0,
                    stage="",
                    values=values,
                    histogram=counts,
                    scalars={"loss": 1.0},
                )
            )
        writer.event(Event(kind="note", name="n", step=0, seconds=0))
        writer.look(1, "{}")
    return writer.path


@pytest.mark.skipif(not hasattr(os, "kill") or os.name == "nt", reason="no SIGKILL here")
def test_five_programs_killed_while_recording() -> None:
    figures = recording_kills.record(recording_kills.many(5, seed=11), 11)
    assert figures["opened"] == figures["whole"] == 5, figures
    assert figures["steps written"] > 10


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from unvanish.recording import StepReading, TensorEntry, Writer
writer = Writer(Path(sys.argv[1]), [TensorEntry(name="a", shape=(2,), dtype="float32")], {})
for step in range(30):
    values = {"gradient_l2": np.array([step], np.float32)}
    writer.write(StepReading(step=step, seconds=0, stage="", values=values))
writer.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""

READING = """
import os, sys
from unvanish.recording import Recording
if os.geteuid() == 0:
    os.setuid(65534)
assert not os.access(sys.argv[1], os.W_OK)
with Recording.open(sys.argv[1]) as recording:
    print(len(recording.steps), recording.values("gradient_l2", "a")[1][-1], recording.finished)
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no rights of this kind on this system")
@pytest.mark.parametrize("beside", ["log and index", "log only"])
def test_a_killed_recording_is_complete_in_a_folder_without_rights(
    tmp_path: Path, beside: str
) -> None:
    folder = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)])
    assert done.returncode < 0
    log = folder / "recording.sqlite-wal"
    assert log.stat().st_size > 0
    if beside == "log only":
        log.with_name("recording.sqlite-shm").unlink()
    assert seen_without_rights(folder) == "30 29.0 False"


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="no rights of this kind on this system")
def test_a_finished_recording_opens_in_a_folder_without_rights(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    written(folder)
    assert seen_without_rights(folder) == "3 1.0 True"


def seen_without_rights(folder: Path) -> str:
    for above in [folder, *folder.parents]:  # pytest's own folders are for their owner only
        if above.owner() == folder.owner() and above.stat().st_mode & 0o005 != 0o005:
            above.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READING, str(folder)], capture_output=True, text=True
    )
    folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_where_there_is_no_recording_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no recording in"):
        Recording.open(tmp_path)
    with pytest.raises(BadInput, match=r"there is no recording at .*check the path"):
        Recording.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "is not a recording", id="empty"),
        pytest.param(b"hello " * 1000, "cannot be read as a recording", id="text"),
        pytest.param(
            b"SQLite format 3\0" + b"\xff" * 5000, "recording", id="garbage behind the magic"
        ),
    ],
)
def test_a_file_of_something_else_is_one_sentence(
    tmp_path: Path, content: bytes, said: str
) -> None:
    path = tmp_path / "recording.sqlite"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=said):
        Recording.open(path)


def edit(path: Path, *statements: str) -> None:
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_a_database_of_somebody_else_is_no_recording(tmp_path: Path) -> None:
    edit(tmp_path / "x.sqlite", "CREATE TABLE mine (x)")
    with pytest.raises(BadInput, match="is not a recording"):
        Recording.open(tmp_path / "x.sqlite")
    edit(tmp_path / "x.sqlite", f"PRAGMA application_id = {APPLICATION}")
    with pytest.raises(BadInput, match="has no table about, event"):
        Recording.open(tmp_path / "x.sqlite")


def test_a_newer_version_says_what_to_do(tmp_path: Path) -> None:
    path = written(tmp_path)
    edit(path, "PRAGMA user_version = 7")
    with pytest.raises(BadInput, match=r"version 7, this one reads up to 1\): install a newer"):
        Recording.open(path)


BOMB = zlib.compress(bytes(50_000_000))


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE reading SET numbers = x'0102' WHERE statistic = 'gradient_l2' AND step = 1",
         lambda r: r.values("gradient_l2", "a")),
        ("UPDATE reading SET numbers = x'010203' WHERE statistic = 'gradient_l2' AND step = 1",
         lambda r: r.matrix("gradient_l2")),
        ("UPDATE reading SET numbers = 'words' WHERE statistic = 'gradient_l2'",
         lambda r: r.values("gradient_l2", "a")),
        ("UPDATE reading SET numbers = 5 WHERE statistic = 'gradient_l2'",
         lambda r: r.matrix("gradient_l2")),
        ("UPDATE reading SET numbers = substr(numbers, 1, 9) WHERE statistic LIKE '%histogram'",
         lambda r: r.values("gradient_log2_histogram", "b")),
        ("UPDATE reading SET numbers = x'00' WHERE statistic LIKE '%histogram'",
         lambda r: r.values("gradient_log2_histogram", "b")),
        ("UPDATE step SET step = 1.5 WHERE step = 99", None),
        ("UPDATE step SET seconds = 'late'", lambda r: r.seconds),
        ("UPDATE scalar SET value = 'low'", lambda r: r.scalars("loss")),
        ("UPDATE event SET said = '[]'", lambda r: r.events),
        ("UPDATE event SET said = '{\"kind\": 1}'", lambda r: r.events),
        ("UPDATE look SET diagnosis = x'1234'", lambda r: r.look(1)),
        ("UPDATE about SET value = '3' WHERE key = 'conditions'", lambda r: r.conditions),
        ("UPDATE about SET value = '{' WHERE key = 'conditions'", lambda r: r.conditions),
        ("UPDATE tensor SET shape = '\"x\"'", lambda r: r.entries),
    ],
)  # fmt: skip
def test_damage_is_one_sentence(
    tmp_path: Path, statement: str, read: Callable[[Recording], object] | None
) -> None:
    path = written(tmp_path)
    edit(path, statement)
    with Recording.open(path) as recording:
        if read is not None:
            with pytest.raises(BadInput, match="damaged"):
                read(recording)
        assert recording.steps.tolist() == [0, 1, 2]


def test_a_blob_that_unpacks_without_end_is_not_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path)
    with sqlite3.connect(path) as connection:
        query = "UPDATE reading SET numbers = ? WHERE statistic LIKE '%histogram'"
        connection.execute(query, (BOMB,))
    connection.close()
    _, counts = Recording.open(path).values("gradient_log2_histogram", "b")
    assert counts.nbytes == 3 * 64 * 4


def test_a_torn_file_never_gives_more_than_a_sentence(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole").read_bytes()
    random = np.random.default_rng(0)
    for index in range(60):
        torn = bytearray(whole[: int(random.integers(100, len(whole)))])
        for place in random.integers(100, len(torn), 20) if len(torn) > 100 else []:
            torn[place] = int(random.integers(256))
        path = tmp_path / f"{index}.sqlite"
        path.write_bytes(torn)
        try:
            with Recording.open(path) as recording:
                for name in recording.tensors:
                    for statistic in recording.statistics:
                        recording.values(statistic, name)
                _ = recording.events, recording.entries, recording.stages, recording.seconds
                for step in recording.looks:
                    recording.look(int(step))
        except BadInput:
            pass
