"""The quick starts of the frameworks, unmodified: the same to the bit under unvanish, faults named.

The scripts in ``quickstarts`` make the calls of each framework's own page and know nothing of this
package; they find on disk what they would download (:mod:`quickstart_data`). Those of Hugging Face
are in ``test_quickstarts_huggingface``.
"""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from quickstart_checks import assert_named, assert_undisturbed, bare_runs
from quickstart_faults import NAMES
from quickstart_runs import Run, Runs

import unvanish

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forks of one process")

STEPS = {
    "pytorch_quickstart": 50, "lightning_15_minutes": 100, "timm_finetune": 6,
    "keras_engineers": 0, "ultralytics_train": 2,
}  # fmt: skip
FAULTS = [
    *((name, fault) for name in ("pytorch_quickstart", "lightning_15_minutes") for fault in NAMES),
    ("keras_engineers", "sigmoid"),
    ("keras_engineers", "nan"),
    ("ultralytics_train", "sigmoid"),
    ("ultralytics_train", "checkpoint"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Runs, dict[str, Run]]]:
    yield from bare_runs(tmp_path_factory.mktemp("quickstarts"), STEPS)


@pytest.mark.parametrize("name", STEPS)
def test_a_quick_start_is_not_disturbed(name: str, runs: tuple[Runs, dict[str, Run]]) -> None:
    assert_undisturbed(name, runs, STEPS[name])


@pytest.mark.parametrize(("name", "fault"), FAULTS)
def test_a_fault_is_named(name: str, fault: str, runs: tuple[Runs, dict[str, Run]]) -> None:
    assert_named(name, runs, fault)


KERAS = """
import numpy as np
import keras
keras.utils.set_random_seed(0)
layers = [keras.layers.Input((8,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(3)]
model = keras.Sequential(layers)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x = np.random.default_rng(0).normal(size=(64, 8))
told = model.fit(x, (x[:, 0] > 0).astype(int), batch_size=8, epochs=2, verbose=0)
print(told.history["loss"], [value.tolist() for value in model.get_weights()])
print("apply" in vars(model.optimizer))
"""


def _call(folder: Path, *under: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *under, "fit.py"],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="keras is not installed")
def test_keras_is_met_where_the_script_imports_it(tmp_path: Path) -> None:
    (tmp_path / "fit.py").write_text(KERAS)
    plain, watched = (_call(tmp_path, *under) for under in ([], ["-m", "unvanish", "run"]))
    assert watched.stdout.splitlines()[0] == plain.stdout.splitlines()[0]
    assert "16 steps, no alarm: the gradient arrives (deep look at step " in watched.stderr
    with unvanish.Recording.open(tmp_path / "runs" / "fit") as recording:
        assert len(recording.steps) == 16
        assert list(recording.tensors) == [
            "dense.kernel", "dense.bias", "dense_1.kernel", "dense_1.bias",
        ]  # fmt: skip
