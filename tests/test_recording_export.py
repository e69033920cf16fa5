"""Tables of a recording: what is in it is in them, to the bit; what is absent is empty."""

import csv
import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unvanish.errors import BadInput, MissingExtra
from unvanish.recording import Event, Recording, StepReading, TensorEntry, Writer, export


def filled(folder: Path) -> Recording:
    entries = [TensorEntry(name=f"w{i}", shape=(2,), dtype="float32") for i in range(3)]
    random = np.random.default_rng(0)
    with Writer(folder, entries, {"torch": "2.13"}) as writer:
        for step in range(5):
            values = {"gradient_l2": random.normal(size=3).astype(np.float32)}
            if step == 2:
                values = {}
            if step == 3:
                values["weight_rms"] = np.array([1, math.nan], np.float32)
            counts = random.integers(0, 99, size=(3, 64), dtype=np.uint32) if step == 4 else None
            scalars = {"loss": math.nan if step == 1 else step / 3}
            if step == 4:
                scalars = {}
            writer.write(
                StepReading(
                    step=step,
                    seconds=step / 7,
                    stage="unscaled",
                    values=values,
                    histogram=counts,
                    scalars=scalars,
                )
            )
        writer.event(Event(kind="note", name="hello", step=1, seconds=0.5))
    return Recording.open(folder)


@pytest.mark.parametrize("at_once", [1, 1 << 17])
def test_parquet_holds_what_the_recording_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    monkeypatch.setattr(export, "ROWS_AT_ONCE", at_once)
    recording = filled(tmp_path / "run")
    recording.to_parquet(tmp_path / "table.parquet")
    table = parquet.read_table(tmp_path / "table.parquet")
    rows = table.to_pylist()
    assert [(row["step"], row["tensor"]) for row in rows] == [
        *[(step, f"w{i}") for step in (0, 1) for i in range(3)],
        (2, None),
        *[(step, f"w{i}") for step in (3, 4) for i in range(3)],
    ]
    for name in recording.tensors:
        steps, values = recording.values("gradient_l2", name)
        found = {row["step"]: row["gradient_l2"] for row in rows if row["tensor"] == name}
        assert found == dict(zip(steps.tolist(), map(float, values), strict=True))
    assert [row["weight_rms"] for row in rows if row["step"] == 3] == [1.0, None, None]
    assert rows[6]["loss"] == 2 / 3
    assert math.isnan(rows[3]["loss"])
    assert rows[-1]["loss"] is None
    assert rows[0]["gradient_log2_histogram"] is None
    counts = recording.values("gradient_log2_histogram", "w2")[1][0]
    assert rows[-1]["gradient_log2_histogram"] == counts.tolist()
    assert (recording.histogram(4)[2] == counts).all()
    facts = {key.decode(): json.loads(text) for key, text in table.schema.metadata.items()
             if key.startswith(b"unvanish")}  # fmt: skip
    assert facts["unvanish.conditions"] == {"torch": "2.13"}
    assert facts["unvanish.events"][0]["name"] == "hello"


def test_csv_holds_the_same_to_the_bit(tmp_path: Path) -> None:
    recording = filled(tmp_path / "run")
    recording.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    for name in recording.tensors:
        values = recording.values("gradient_l2", name)[1]
        found = [row["gradient_l2"] for row in rows if row["tensor"] == name]
        assert np.array(found, np.float32).tobytes() == values.tobytes()
    assert rows[6] == {"step": "2", "seconds": str(2 / 7), "stage": "unscaled", "loss": str(2 / 3),
                       "tensor": "", "gradient_l2": "", "weight_rms": ""}  # fmt: skip
    assert rows[3]["loss"] == "nan"
    assert rows[-1]["loss"] == ""
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["table.csv"]


def test_an_empty_recording_is_an_empty_table(tmp_path: Path) -> None:
    with Writer(tmp_path, [], {}):
        pass
    recording = Recording.open(tmp_path)
    recording.to_csv(tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text().strip() == "step,seconds,stage,tensor"
    if importlib.util.find_spec("pyarrow"):
        recording.to_parquet(tmp_path / "table.parquet")


def test_what_goes_wrong_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = filled(tmp_path / "run")
    with pytest.raises(BadInput, match="cannot write"):
        recording.to_csv(tmp_path / "no" / "table.csv")
    with pytest.raises(BadInput, match="no histogram was read at step 0"):
        recording.histogram(0)

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtra, match="needs pyarrow"):
        recording.to_parquet(tmp_path / "table.parquet")
