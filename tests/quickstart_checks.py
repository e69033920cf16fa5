"""What is asked of every quick start."""

import importlib.util
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from quickstart_faults import NAMES
from quickstart_runs import Run, Runs

import unvanish

NEEDS = {
    "accelerate_loop": ("accelerate", "datasets", "transformers"),
    "keras_engineers": ("keras",),
    "lightning_15_minutes": ("lightning", "torchvision"),
    "peft_lora": ("peft", "datasets", "transformers", "accelerate"),
    "pytorch_quickstart": ("torchvision",),
    "timm_finetune": ("timm", "torchvision"),
    "transformers_trainer": ("transformers", "datasets", "accelerate"),
    "trl_sft": ("trl", "datasets", "transformers"),
    "ultralytics_train": ("ultralytics",),
}
WITHIN = 50


def missing_for(name: str) -> str:
    """What a quick start needs that is not installed, in words."""
    missing = [one for one in NEEDS[name] if importlib.util.find_spec(one) is None]
    if missing:
        return f"not installed: {missing}"
    found = importlib.util.find_spec(NEEDS[name][0])
    assert found is not None
    if (
        name == "ultralytics_train"
        and not (Path(str(found.origin)).parent / "cfg/models/26").is_dir()
    ):
        return "this release of ultralytics is older than the model of its documentation"
    return ""


def bare_runs(folder: Path, names: Iterable[str]) -> Iterator[tuple[Runs, dict[str, Run]]]:
    """The process that runs them, and what each quick start that can be run here does by itself."""
    runs = Runs(folder)
    yield runs, {name: runs.run(name, watched=False) for name in names if not missing_for(name)}
    runs.close()


def assert_undisturbed(name: str, runs: tuple[Runs, dict[str, Run]], steps: int) -> None:
    """Under unvanish it has the same losses and leaves the same weights, and nothing is said.

    ``steps`` is how many it takes; 0: as many as losses, which is for the script to decide.
    """
    if missing_for(name):
        pytest.skip(missing_for(name))
    running, bare = runs[0], runs[1][name]
    assert bare.status == 0, bare.errors
    watched = running.run(name, watched=True)
    assert watched.status == 0, watched.errors
    steps = steps or len(bare.losses)
    assert len(bare.losses) > 0
    assert watched.losses == bare.losses
    assert len(bare.weights) > 0
    assert watched.weights == bare.weights
    assert "no alarm: the gradient arrives (deep look at step " in watched.errors
    with unvanish.Recording.open(watched.folder / "runs" / name) as recording:
        assert len(recording.steps) == steps
        assert not [event.name for event in recording.events if event.kind == "alarm"]


def assert_named(name: str, runs: tuple[Runs, dict[str, Run]], fault: str) -> None:
    """A fault put in from outside changes the losses, and is named within fifty steps."""
    if missing_for(name):
        pytest.skip(missing_for(name))
    sick = runs[0].run(name, watched=True, fault=fault)
    assert sick.losses != runs[1][name].losses, sick.errors
    with unvanish.Recording.open(sick.folder / "runs" / name) as recording:
        alarms = {e.name: e.step for e in recording.events if e.kind == "alarm"}
    assert {one for one, step in alarms.items() if step < WITHIN} & NAMES[fault], alarms
