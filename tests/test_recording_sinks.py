"""Boards: few rows, no NaN, no harm to the user's own logging; against the real libraries."""

import json
import logging
import math
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import unvanish
from unvanish.errors import BadInput
from unvanish.recording import Event, StepReading, TensorEntry
from unvanish.recording.blocks import Blocks, blocks_of
from unvanish.recording.sinks import Board, MLflow, TensorBoard, Trackio, WandB
from unvanish.recording.statistics import LOWEST_EXPONENT, STATISTICS

ALARM = Event(
    kind="alarm",
    name="depth-decay",
    step=2,
    seconds=1.0,
    where=("h.3.w", "h.2.w"),
    detail="less at every layer",
)


def tensors(count: int = 10_000) -> list[TensorEntry]:
    return [
        TensorEntry(name=f"model.h.{i // 10}.part{i % 10}.weight", shape=(2, 3), dtype="float32")
        for i in range(count)
    ]


def reading(step: int, count: int, ill: bool = False) -> StepReading:
    values = {
        name: np.full(count, 0.5, np.float32)
        for name in STATISTICS
        if name != "gradient_log2_histogram"
    }
    values["gradient_zeros"][:] = 3
    values["gradient_nonfinite"][:] = 0
    scalars = {"loss": 1.5, "learning_rate": 0.1}
    if ill:
        values["gradient_rms"][: count // 2] = math.nan
        values["update_to_weight"][0] = math.inf
        values["gradient_nonfinite"][3] = 7
        scalars["loss"] = math.nan
    counts = np.zeros((count, 64), np.uint32)
    counts[:, -LOWEST_EXPONENT] = 6
    return StepReading(
        step=step, seconds=0, stage="s", values=values, histogram=counts, scalars=scalars
    )


class Memory(Board):
    """A board that keeps what it is shown."""

    def __init__(self, **settings: Any) -> None:
        self.shown: list[tuple[int, dict[str, float]]] = []
        self.told: list[Event] = []
        self.threads: set[str] = set()
        self.finished = 0
        super().__init__(**settings)

    def show(self, step: int, numbers: Mapping[str, float]) -> None:
        self.threads.add(threading.current_thread().name)
        self.shown.append((step, dict(numbers)))

    def tell(self, event: Event) -> None:
        self.told.append(event)

    def finish(self) -> None:
        self.finished += 1


def test_ten_thousand_tensors_are_twenty_rows_and_finite() -> None:
    board = Memory(seconds=0)
    board.write(reading(0, 10_000, ill=True), tensors())
    board.event(ALARM)
    board.close()
    board.close()
    ((step, numbers),) = board.shown
    sections: dict[str, int] = {}
    for name in numbers:
        sections[name.split("/")[0]] = sections.get(name.split("/")[0], 0) + 1
    assert step == 0
    assert len(numbers) < 100
    assert max(sections.values()) <= 20
    assert all(math.isfinite(number) for number in numbers.values())
    assert "unvanish/loss" not in numbers
    assert numbers["unvanish/gradient_nonfinite"] == 7
    assert numbers["unvanish/gradient_l2"] == pytest.approx(0.5 * 100)
    assert board.told == [ALARM]
    assert board.threads == {"unvanish-board"}
    assert board.finished == 1


def test_at_most_one_step_in_so_many_seconds() -> None:
    board = Memory(seconds=60)
    for step in range(1_000):
        board.write(reading(step, 3), tensors(3))
        if step == 2:
            board.event(ALARM)
    board.close()
    assert [step for step, _ in board.shown] == [0]
    assert board.told == [ALARM]


def test_a_board_that_hangs_or_fails_costs_the_training_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Slow(Memory):
        def show(self, step: int, numbers: Mapping[str, float]) -> None:
            gate.wait(20)
            super().show(step, numbers)

    class Broken(Memory):
        def show(self, step: int, numbers: Mapping[str, float]) -> None:
            raise ConnectionError("no network")

    gate = threading.Event()
    slow, broken = Slow(seconds=0), Broken(seconds=0)
    for step in range(300):
        slow.write(reading(step, 3), tensors(3))
    gate.set()
    slow.close()
    assert len(slow.shown) < 300
    with caplog.at_level(logging.WARNING, "unvanish"):
        for step in range(5):
            broken.write(reading(step, 3), tensors(3))
            time.sleep(0.02)
        broken.close()
    assert [record.getMessage() for record in caplog.records] == [
        "Broken gets nothing any more: no network"
    ]


def test_blocks_hold_every_tensor_once_in_order() -> None:
    for names in (
        [entry.name for entry in tensors()],
        ["w", "b"],
        ["a.w", "w", "b.c.w", "b.d.w", "b.w"],
        [f"{i}.weight" for i in range(57)],
        [
            "stem.weight",
            *(f"blocks.{i}.{p}.weight" for i in range(300) for p in "abc"),
            "head.bias",
        ],
    ):
        for most in (1, 2, 5, 20, 30):
            blocks = blocks_of(names, most)
            columns = [int(column) for block in blocks for column in block.columns]
            assert sorted(columns) == list(range(len(names)))
            assert len(blocks) <= most or len({name.split(".")[0] for name in names}) > most
            assert len({block.name for block in blocks}) == len(blocks)
    assert blocks_of([], 20) == ()


def test_the_numbers_of_a_block_are_those_of_its_tensors_joined() -> None:
    random = np.random.default_rng(0)
    shapes = [(3, 4), (5,), (2, 2, 2)]
    gradients = [random.normal(size=shape) for shape in shapes]
    weights = [random.normal(size=shape) for shape in shapes]
    gradients[1][2] = 0
    steps = [random.normal(size=shape) * 1e-3 for shape in shapes]
    entries = [
        TensorEntry(name=f"net.w{i}", shape=shape, dtype="float32")
        for i, shape in enumerate(shapes)
    ]

    def f32(numbers: list[float]) -> "np.ndarray[Any, Any]":
        return np.array(numbers, np.float32)

    joined = np.concatenate([g.reshape(-1) for g in gradients])
    together = np.concatenate([w.reshape(-1) for w in weights])
    change = np.concatenate([s.reshape(-1) for s in steps])
    found = Blocks(entries, 5).of(
        {
            "gradient_l2": f32([float(np.linalg.norm(g)) for g in gradients]),
            "gradient_rms": f32([float(np.sqrt((g**2).mean())) for g in gradients]),
            "gradient_mean": f32([float(g.mean()) for g in gradients]),
            "gradient_abs_max": f32([float(np.abs(g).max()) for g in gradients]),
            "gradient_zeros": f32([float((g == 0).sum()) for g in gradients]),
            "weight_rms": f32([float(np.sqrt((w**2).mean())) for w in weights]),
            "update_to_weight": f32(
                [
                    float(np.linalg.norm(s) / np.linalg.norm(w))
                    for s, w in zip(steps, weights, strict=True)
                ]
            ),
        }
    )
    one = {name: float(array[0]) for name, array in found.items()}
    assert one == {
        "gradient_l2": pytest.approx(np.linalg.norm(joined), rel=1e-6),
        "gradient_rms": pytest.approx(np.sqrt((joined**2).mean()), rel=1e-6),
        "gradient_mean": pytest.approx(joined.mean(), rel=1e-6),
        "gradient_abs_max": pytest.approx(np.abs(joined).max(), rel=1e-6),
        "gradient_zero_share": pytest.approx(1 / 25),
        "weight_rms": pytest.approx(np.sqrt((together**2).mean()), rel=1e-6),
        "update_to_weight": pytest.approx(
            np.linalg.norm(change) / np.linalg.norm(together), rel=1e-6
        ),
    }


def test_what_was_not_read_of_a_block_is_absent() -> None:
    entries = tensors(4)
    values = {"gradient_rms": np.array([math.nan, math.nan], np.float32)}
    assert np.isnan(Blocks(entries, 4).of(values)["gradient_rms"]).all()


def test_tensorboard_reads_back_what_was_shown(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    pytest.importorskip("torch")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path, seconds=0)
    for step in range(3):
        board.write(reading(step, 100, ill=step == 1), tensors(100))
    board.event(ALARM)
    board.close()
    found = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0, "scalars": 0})
    found.Reload()
    tags = found.Tags()
    assert 30 <= len(tags["scalars"]) <= 70
    assert [e.step for e in found.Scalars("unvanish/loss")] == [0, 2]  # NaN at step 1
    rows = [tag for tag in tags["scalars"] if tag.startswith("unvanish.gradient_rms/")]
    assert len(rows) <= 20
    assert found.Scalars(rows[-1])[0].value == 0.5
    (histogram, *_) = found.Histograms(tags["histograms"][0])
    assert histogram.histogram_value.num == sum(histogram.histogram_value.bucket)
    assert (histogram.histogram_value.min, histogram.histogram_value.max) == (0, 1)
    assert any("alarm" in tag for tag in tags["tensors"])


def test_tensorboard_leaves_a_writer_of_the_users_open(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    writer = tensorboard.SummaryWriter(str(tmp_path))
    board = TensorBoard(writer, seconds=0)
    board.write(reading(0, 3), tensors(3))
    board.close()
    writer.add_scalar("mine", 1.0, 0)
    writer.close()


def test_wandb_takes_it_offline_and_the_users_steps_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(
        project="test", dir=str(tmp_path), settings=wandb.Settings(_disable_stats=True)
    )
    try:
        board = WandB(run, seconds=0)
        for step in range(3):
            board.write(reading(step, 100, ill=step == 1), tensors(100))
        board.event(ALARM)
        board.close()
        assert run.step == 0  # nothing was committed behind the user's back
        run.log({"mine": 1.0})
        assert run.step == 1
        summary = dict(run.summary)
        assert summary["mine"] == 1.0
        assert summary["unvanish.step"] == 2
        assert summary["unvanish/loss"] == 1.5
        assert "less at every layer" in summary["unvanish/alarm/depth-decay"]
        sections = [key for key in summary if key.startswith("unvanish.gradient_rms/")]
        assert 5 <= len(sections) <= 20
    finally:
        run.finish()
    assert list(tmp_path.rglob("*.wandb"))


def test_mlflow_keeps_metrics_and_alarms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri(tmp_path.as_uri())
    experiment = mlflow.create_experiment("test")
    with mlflow.start_run(experiment_id=experiment) as run:
        board = MLflow(run.info.run_id, seconds=0)
        for step in range(3):
            board.write(reading(step, 100, ill=step == 1), tensors(100))
        board.event(ALARM)
        board.close()
    client = mlflow.MlflowClient()
    history = client.get_metric_history(run.info.run_id, "unvanish/loss")
    assert [metric.step for metric in history] == [0, 2]
    data = client.get_run(run.info.run_id).data
    assert len(data.metrics) <= 70
    assert "less at every layer" in data.tags["unvanish.alarm.depth-decay"]


def test_trackio_keeps_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    if "trackio" in sys.modules:
        pytest.skip("trackio reads its folder once, when it is imported")
    trackio = pytest.importorskip("trackio", reason="trackio is not installed")
    run = trackio.init(project="test", embed=False)
    board = Trackio(run, seconds=0)
    for step in range(3):
        board.write(reading(step, 100), tensors(100))
    board.event(ALARM)
    board.close()
    trackio.finish()
    (file,) = tmp_path.glob("*.db")
    with sqlite3.connect(file) as connection:
        kept = connection.execute("SELECT step, metrics FROM metrics ORDER BY id").fetchall()
    connection.close()
    rows = [(step, json.loads(said)) for step, said in kept]
    assert [(step, row["unvanish/loss"]) for step, row in rows if "unvanish/loss" in row] == [
        (0, 1.5),
        (1, 1.5),
        (2, 1.5),
    ]
    assert (2, {"unvanish/alarms": 1}) in rows


def test_other_objects_than_runs_are_one_sentence() -> None:
    with pytest.raises(BadInput, match=r"what wandb.init returned, got str"):
        WandB("run")
    with pytest.raises(BadInput, match=r"what trackio.init returned, got int"):
        Trackio(3)


def test_the_public_name() -> None:
    assert unvanish.sinks.TensorBoard is TensorBoard


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_shows_nothing_and_does_not_hang() -> None:
    board = Memory(seconds=0)
    child = os.fork()
    if child == 0:
        board.write(reading(0, 3), tensors(3))
        board.event(ALARM)
        board.close()
        os._exit(0 if not board._calls else 1)
    assert os.waitpid(child, 0)[1] == 0
    board.close()
