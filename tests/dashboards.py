"""Recordings to show, and a served dashboard, for the tests of ``unvanish serve``."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np

from unvanish.languages import VARIABLE
from unvanish.recording import Event, StepReading, TensorEntry, Writer

HOSTILE = "<script>document.title='taken'</script>.<img src=x onerror=alert(1)>.weight"
SHAPE = (4, 5)


def entries(tensors: int, hostile: bool = False) -> list[TensorEntry]:
    names = [f"layers.{i // 2}.{'bias' if i % 2 else 'weight'}" for i in range(tensors)]
    if hostile:
        names[0] = HOSTILE
    return [
        TensorEntry(name=name, shape=SHAPE[: 1 + (i % 2 == 0)], dtype="float32")
        for i, name in enumerate(names)
    ]


def reading(step: int, tensors: int) -> StepReading:
    """Numbers by a formula, so that a test knows each: see :func:`rms`."""
    level = rms(step, tensors)
    values = {"gradient_rms": level, "gradient_zeros": np.full(tensors, 1, np.float32)}
    nonfinite = np.zeros(tensors, np.float32)
    nonfinite[0] = 3.0 if step == 7 else 0.0
    values["gradient_nonfinite"] = nonfinite
    if step % 4 == 0:
        values["update_to_weight"] = np.full(tensors, 2e-3, np.float32)
        values["weight_rms"] = np.ones(tensors, np.float32)
    histogram = None
    if step % 5 == 0:
        histogram = np.zeros((tensors, 64), np.uint32)
        histogram[:, 40], histogram[:, 42] = 3, 1
    scalars = {"loss": 3.0 / (step + 1), "learning_rate": 0.1, "gradient_l2": 1.0}
    return StepReading(
        step=step,
        seconds=step / 50,
        stage="unscaled unclipped whole",
        values=values,
        histogram=histogram,
        scalars=scalars,
    )


def rms(step: int, tensors: int) -> np.ndarray:
    level = 10.0 ** (-np.arange(tensors) / 3 - step / 50)
    level[-1] = np.nan if step % 2 else 0.0
    return level.astype(np.float32)


def alarm(
    step: int, name: str = "step-too-large", where: tuple[str, ...] = ("layers.1.weight",)
) -> Event:
    return Event(
        kind="alarm",
        name=name,
        step=step,
        seconds=step / 50,
        severity="broken",
        where=where,
        evidence={"onset": float(step)},
        detail="the loss stands above 0.69 since step 40.",
    )


def action(step: int) -> Event:
    return Event(kind="action", name="clip", step=step, seconds=step / 50, detail="clipped to 1")


def record(
    folder: Path, steps: int = 60, tensors: int = 12, *, hostile: bool = False, look: str = ""
) -> Path:
    with Writer(
        folder, entries(tensors, hostile), {"model": HOSTILE if hostile else "MLP"}
    ) as writer:
        for step in range(steps):
            writer.write(reading(step, tensors))
        writer.event(
            alarm(min(40, steps - 1), where=(HOSTILE,) if hostile else ("layers.1.weight",))
        )
        writer.event(action(min(45, steps - 1)))
        if look:
            writer.look(min(41, steps - 1), look)
    return folder


def diagnosis_json() -> str:
    """A real look: of a deep sigmoid net, in which the gradient vanishes."""
    import torch
    from torch import nn

    import unvanish

    torch.manual_seed(0)
    layers = [part for _ in range(12) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    net = nn.Sequential(*layers, nn.Linear(16, 2))
    batch = torch.randn(32, 16), torch.randint(2, (32,))
    return json.dumps(unvanish.diagnose(net, batch, nn.CrossEntropyLoss()).to_json())


@contextlib.contextmanager
def served(folder: Path, *options: str) -> Generator[str]:
    """The address of ``unvanish serve`` over a folder, in a process of its own."""
    with answering("serve", str(folder), *options) as address:
        yield address


@contextlib.contextmanager
def answering(*arguments: str) -> Generator[str]:
    """The address that a command which serves pages prints, for as long as this lasts."""
    command = [sys.executable, "-m", "unvanish", *arguments, "--no-browser"]
    # What the tests speak themselves is not what a browser prefers.
    environment = {key: value for key, value in os.environ.items() if key != VARIABLE}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()
            server.wait(20)
