"""Ultralytics YOLO on pictures that are made here: watched by one line, or with no line changed."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

import unvanish

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("ultralytics") is None, reason="ultralytics is not installed"
    ),
    pytest.mark.filterwarnings("ignore"),  # the framework's own
]


def _small() -> str:
    """The smallest detector that this release knows."""
    found = importlib.util.find_spec("ultralytics")
    known = found is not None and found.origin is not None
    newer = known and (Path(str(found.origin)).parent / "cfg/models/11").is_dir()
    return "yolo11n" if newer else "yolov8n"


SMALL = _small()
SETTINGS = (
    "epochs=2, imgsz=64, batch=4, device='cpu', workers=0, plots=False, nbs=4, val=False, "
    "verbose=False, seed=0, deterministic=True, save=False"
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight pictures of light squares on dark noise, in the layout of coco8."""
    from PIL import Image

    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "1")
    random = np.random.default_rng(0)
    for part in ("train", "val"):
        (tmp_path / "images" / part).mkdir(parents=True)
        (tmp_path / "labels" / part).mkdir(parents=True)
        for number in range(4 if part == "val" else 8):
            picture = random.integers(0, 80, (64, 64, 3), dtype=np.uint8)
            x, y, size = random.integers(4, 36), random.integers(4, 36), random.integers(12, 24)
            picture[y : y + size, x : x + size] = 220
            Image.fromarray(picture).save(tmp_path / "images" / part / f"{number}.png")
            box = f"0 {(x + size / 2) / 64} {(y + size / 2) / 64} {size / 64} {size / 64}\n"
            (tmp_path / "labels" / part / f"{number}.txt").write_text(box)
    described = tmp_path / "squares.yaml"
    described.write_text(
        f"path: {tmp_path}\ntrain: images/train\nval: images/val\nnames:\n  0: square\n"
    )
    return described


def train(kind: str, data: Path, folder: Path, to: Path | None) -> tuple[list[torch.Tensor], Any]:
    from ultralytics import YOLO

    from unvanish.integrations.ultralytics import watch

    torch.manual_seed(0)
    model = YOLO(f"{kind}.yaml")
    watching = watch(model, to, strict=True) if to is not None else None
    kept: list[torch.Tensor] = []
    model.add_callback(
        "on_train_end",
        lambda trainer: kept.extend(v.clone() for v in trainer.model.state_dict().values()),
    )
    options: dict[str, Any] = eval(f"dict({SETTINGS})")
    model.train(data=str(data), project=str(folder), name="run", **options)
    return kept, watching.monitor if watching is not None else None


def test_a_watched_detector_trains_as_an_unwatched_one(data: Path, tmp_path: Path) -> None:
    expected, _ = train(SMALL, data, tmp_path / "plain", None)
    found, monitor = train(SMALL, data, tmp_path / "watched", tmp_path / "recording")
    assert len(found) == len(expected) > 0
    assert all(map(torch.equal, found, expected))
    assert monitor.closed
    assert monitor.steps == 4
    assert monitor.alarms == ()
    assert monitor.diagnosis.trace.ops
    with unvanish.Recording.open(tmp_path / "recording") as recording:
        assert len(recording.tensors) > 150
        _, factors = recording.scalars("clip_factor")
        _, total = recording.scalars("gradient_l2")
        # Its trainer clips at norm 10: what was used, over the factor, is what arrived.
        assert float(total.max()) <= 10.001
        assert (total / factors >= total - 1e-6).all()


class Checkpointed(torch.nn.Module):
    """A part recomputed by torch's reentrant checkpoint."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return checkpoint(self.inner, x, use_reentrant=True)


def sick_trainer(fault: str) -> type:
    """The trainer of a detector whose stem is frozen by a checkpoint or stands before a deep trunk."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Trainer(DetectionTrainer):
        def get_model(self, *arguments: Any, **options: Any) -> Any:
            net = super().get_model(*arguments, **options)
            stem = net.model[0]
            width = stem.conv.out_channels
            parts = [(torch.nn.Conv2d(width, width, 1), torch.nn.Sigmoid()) for _ in range(12)]
            trunk = torch.nn.Sequential(stem, *(part for pair in parts for part in pair))
            net.model[0] = Checkpointed(stem) if fault == "checkpoint" else trunk
            net.model[0].i, net.model[0].f, net.model[0].type = stem.i, stem.f, stem.type
            return net

    return Trainer


NAMES = {
    "nan": {"nonfinite-forward", "nonfinite-backward"},
    "rate": {"step-too-large"},
    "checkpoint": {"frozen-by-checkpoint"},
    "sigmoid": {"depth-decay"},
}
EPOCHS = {"nan": 4, "rate": 12, "checkpoint": 6, "sigmoid": 12}


@pytest.mark.parametrize("fault", NAMES)
def test_a_fault_is_named(fault: str, data: Path, tmp_path: Path) -> None:
    from ultralytics import YOLO

    from unvanish.integrations.ultralytics import watch

    torch.manual_seed(0)
    model = YOLO(f"{SMALL}.yaml")
    watching = watch(model, tmp_path / "recording", strict=True)

    def break_branch(trainer: Any) -> None:
        calls: list[int] = []

        def broken(module: Any, arguments: Any, output: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return torch.log(output - 1e6) if len(calls) > 3 else output

        trainer.model.model[5].register_forward_hook(broken)

    def raise_rate(trainer: Any) -> None:  # it takes no lr0 above 1 itself
        trainer.scheduler.base_lrs = [1000 * rate for rate in trainer.scheduler.base_lrs]
        for group in trainer.optimizer.param_groups:
            group["lr"] *= 1000

    if fault in ("nan", "rate"):
        model.add_callback("on_train_start", break_branch if fault == "nan" else raise_rate)
    options: dict[str, Any] = eval(f"dict({SETTINGS})")
    options |= {"epochs": EPOCHS[fault], "warmup_epochs": 0, "optimizer": "SGD"}
    trainer = sick_trainer(fault) if fault in ("checkpoint", "sigmoid") else None
    with contextlib.suppress(RuntimeError):  # it gives up by itself after so many NaN
        model.train(trainer, data=str(data), project=str(tmp_path), name="run", **options)
    assert watching.monitor is not None
    assert watching.monitor.steps <= 50
    named = {alarm.name for alarm in watching.monitor.alarms}
    assert named & NAMES[fault], named


def test_two_lines_unchanged_under_run(data: Path, tmp_path: Path) -> None:
    script = tmp_path / "detect.py"
    script.write_text(
        "from ultralytics import YOLO\n"
        f"YOLO('yolo26n.yaml').train(data={str(data)!r}, project={str(tmp_path / 'out')!r}, {SETTINGS})\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "unvanish", "run", "--to", "seen", str(script)],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "4 steps" in done.stderr
    with unvanish.Recording.open(tmp_path / "seen") as recording:
        assert list(recording.steps) == [0, 1, 2, 3]
        assert all("model" in name for name in recording.tensors)


def test_a_detector_is_diagnosed_with_its_own_loss(data: Path) -> None:
    from ultralytics import YOLO
    from ultralytics.cfg import get_cfg

    torch.manual_seed(0)
    model = YOLO(f"{SMALL}.yaml").model
    model.args = get_cfg()
    model.train()
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    batch = {
        "img": torch.rand(2, 3, 64, 64),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.zeros(2, 1),
        "bboxes": torch.tensor([[0.5, 0.5, 0.3, 0.3], [0.4, 0.4, 0.3, 0.3]]),
    }
    diagnosis = unvanish.diagnose(model, [batch], forward=lambda net, one: net(one)[0].sum())
    assert diagnosis.trace.ops
    assert diagnosis.healthy, str(diagnosis)


def test_what_is_no_detector_is_refused() -> None:
    from unvanish.integrations.ultralytics import watch

    with pytest.raises(unvanish.UnvanishError, match="YOLO"):
        watch(torch.nn.Linear(2, 2))
