"""Trainings of several processes: what their files say together is what one process would have said."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import unvanish
from unvanish.recording import STATISTICS

SCRIPT = Path(__file__).with_name("distributed_training.py")


def torchrun(processes: int, kind: str, folder: Path, check: bool = True) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--max-restarts", "0"]
    command += ["--nproc-per-node", str(processes), str(SCRIPT), kind, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert not check or done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> unvanish.Recording:
    folder = tmp_path_factory.mktemp("alone")
    subprocess.run([sys.executable, str(SCRIPT), "alone", str(folder)], check=True, timeout=280)
    return unvanish.Recording.open(folder)


@pytest.mark.parametrize(("kind", "processes"), [("ddp", 2), ("fsdp", 2), ("fsdp", 4)])
def test_together_they_say_what_one_process_says(
    kind: str, processes: int, alone: unvanish.Recording, tmp_path: Path
) -> None:
    torchrun(processes, kind, tmp_path)
    with unvanish.Recording.open(tmp_path) as joined:
        assert joined.tensors == alone.tensors
        assert not [event for event in joined.events if event.kind == "alarm"]
        for statistic in STATISTICS:
            for tensor in alone.tensors:
                steps, values = joined.values(statistic, tensor)
                at, truth = alone.values(statistic, tensor)
                shared = np.isin(at, steps)
                often = statistic.startswith("gradient") and "histogram" not in statistic
                assert list(steps) == (list(range(30)) if often else [0, 25])
                truth = truth[shared]
                if statistic == "gradient_log2_histogram":
                    # An entry on the edge of an octave may fall to either side of it.
                    assert int(np.abs(values.astype(int) - truth.astype(int)).sum()) <= 4
                    continue
                # A mean may be nothing but rounding: what it is small against is the rms.
                against = "gradient_rms" if statistic == "gradient_mean" else statistic
                size = 1e-5 * float(np.abs(alone.values(against, tensor)[1]).max())
                np.testing.assert_allclose(values, truth, rtol=1e-5, atol=size, err_msg=statistic)
        _, matrix = joined.matrix("gradient_l2")
        assert matrix.shape == (30, len(alone.tensors))
        np.testing.assert_allclose(matrix, alone.matrix("gradient_l2")[1], rtol=1e-5, atol=1e-7)


def test_a_replica_that_goes_its_own_way_is_named(tmp_path: Path) -> None:
    torchrun(2, "parted", tmp_path)
    with unvanish.Recording.open(tmp_path) as joined:
        (event,) = [event for event in joined.events if event.name == "replica-diverged"]
        assert event.step == 10
        assert event.evidence["rank"] == 1.0
        assert event.evidence["ratio"] > 1


def test_stages_of_a_pipeline_stand_side_by_side(tmp_path: Path) -> None:
    torchrun(2, "stages", tmp_path)
    with unvanish.Recording.open(tmp_path) as joined:
        assert set(joined.tensors) == {
            "0.weight", "0.bias", "1.weight", "1.bias", "rank-1.0.weight", "rank-1.0.bias",
        }  # fmt: skip
        assert not [event for event in joined.events if event.name == "replica-diverged"]
        assert len(joined.values("gradient_l2", "rank-1.0.weight")[0]) == 30


def test_a_killed_process_hangs_nobody_and_is_named(tmp_path: Path) -> None:
    torchrun(2, "killed", tmp_path, check=False)
    with unvanish.Recording.open(tmp_path) as joined:
        assert len(joined.ranks[0].steps) > 0
    with unvanish.Recording.open(tmp_path / "rank-1") as dead:
        assert not dead.finished
