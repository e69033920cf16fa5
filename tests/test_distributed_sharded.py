"""Sharded in other ways, accumulated, partly unused: joined, it reads as one process would have."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from distributed_joined import assert_same, torchrun
from distributed_sharded import Dense, Step, alone, in_two, one_pass
from torch import nn

import unvanish

SCRIPT = Path(__file__).with_name("distributed_sharded.py")
IN_TWOS = (
    "accumulated", "unused", "tensor_parallel", "tensor_parallel_loss", "sequence_parallel",
    "nan_shard", "chosen", "diagnosed",
)  # fmt: skip


@pytest.fixture(scope="module")
def in_twos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("twos")
    return folder, torchrun(2, SCRIPT, folder, *IN_TWOS)


@pytest.fixture(scope="module")
def in_fours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fours")
    torchrun(4, SCRIPT, folder, "hybrid", "both")
    return folder


@pytest.mark.parametrize(
    ("kind", "model", "step"),
    [("accumulated", Dense, in_two), ("tensor_parallel", Dense, one_pass)],
)
def test_two_processes_say_what_one_says(
    kind: str, model: Any, step: Step, in_twos: tuple[Path, str], tmp_path: Path
) -> None:
    with (
        unvanish.Recording.open(in_twos[0] / kind) as joined,
        alone(model(), tmp_path, step) as one,
    ):
        assert_same(joined, one)
        assert not [event for event in joined.events if event.kind == "alarm"]
        backwards = 2.0 if step is in_two else 1.0
        assert set(joined.scalars("backwards")[1]) == {backwards}


@pytest.mark.parametrize("kind", ["hybrid", "both"])
def test_four_processes_say_what_one_says(kind: str, in_fours: Path, tmp_path: Path) -> None:
    with unvanish.Recording.open(in_fours / kind) as joined, alone(Dense(), tmp_path) as one:
        assert_same(joined, one)
        assert not [event for event in joined.events if event.kind == "alarm"]


def test_no_gradient_and_a_gradient_of_zeros_are_two_things(in_twos: tuple[Path, str]) -> None:
    with unvanish.Recording.open(in_twos[0] / "unused") as joined:
        assert np.isnan(joined.values("gradient_l2", "spare.weight")[1]).all()
        assert (joined.values("gradient_l2", "killed.weight")[1] == 0).all()
        assert (joined.values("gradient_zeros", "killed.weight")[1] == 24).all()
        assert (joined.values("gradient_l2", "up.weight")[1] > 0).all()


def test_nobody_is_asked_for_a_loss_that_is_spread(in_twos: tuple[Path, str]) -> None:
    # A sum over processes, or whole everywhere: either way no process waits for another.
    with unvanish.Recording.open(in_twos[0] / "tensor_parallel_loss") as joined:
        assert len(joined.steps) == 12
        assert (joined.values("gradient_l2", "out.weight")[1] > 0).all()


def test_of_a_summand_nothing_is_claimed(in_twos: tuple[Path, str], tmp_path: Path) -> None:
    from distributed_sharded import Net

    net = Net()
    del net.spare, net.killed
    with (
        unvanish.Recording.open(in_twos[0] / "sequence_parallel") as joined,
        alone(net, tmp_path) as one,
    ):
        for name in one.tensors:
            values = joined.values("gradient_l2", name)[1]
            truth = one.values("gradient_l2", name)[1]
            if not np.isnan(values).all():  # either not known, or right
                np.testing.assert_allclose(values, truth, rtol=1e-5, err_msg=name)
        assert np.isnan(joined.values("gradient_l2", "norm.weight")[1]).all()
        assert not np.isnan(joined.values("gradient_l2", "up.weight")[1]).any()


def test_the_shard_with_nan_is_named(in_twos: tuple[Path, str]) -> None:
    folder, said = in_twos
    assert "rank 1: step 8: nonfinite-backward in up.weight" in said
    assert "rank 0: step 8:" not in said
    with unvanish.Recording.open(folder / "nan_shard") as joined:
        first = next(event for event in joined.events if event.kind == "alarm")
        assert (first.name, first.step) == ("nonfinite-backward", 8)
        assert first.evidence["rank"] == 1.0
        assert "rank 1" in first.detail
    command = [sys.executable, "-m", "unvanish", "show", str(folder / "nan_shard")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 1
    assert "rank 1" in shown.stdout


def test_one_process_diagnoses_alone(in_twos: tuple[Path, str]) -> None:
    said = json.loads((in_twos[0] / "diagnosed" / "said.json").read_text())
    assert said["ddp"] == []
    assert said["ops"] > 0
    assert said["same"] is True
    assert "sharded over processes (FSDP)" in said["fsdp"]


def test_an_alarm_is_over_when_it_is_over_everywhere() -> None:
    from unvanish.recording import Event
    from unvanish.recording.replicas import over_at_last

    def event(kind: str, step: int) -> Event:
        return Event(kind=kind, name="a", step=step, seconds=0.0)

    met = [(event("alarm", 1), [0, 1]), (event("cleared", 3), [0]), (event("cleared", 5), [1])]
    assert [one.step for one, _ in over_at_last(met)] == [1, 5]


def test_a_model_in_parts_is_refused_and_not_run() -> None:
    class FSDPModule(nn.Linear):
        """Named as torch names what it makes of a module that it shards."""

    with pytest.raises(unvanish.UnvanishError, match="sharded"):
        unvanish.diagnose(FSDPModule(2, 2), (1, 1), nn.MSELoss())


def test_a_part_that_is_missing_is_no_zero(in_twos: tuple[Path, str], tmp_path: Path) -> None:
    import shutil

    shutil.copytree(in_twos[0] / "tensor_parallel", tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "rank-1")
    with unvanish.Recording.open(tmp_path / "half") as joined:
        assert len(joined.values("gradient_l2", "up.weight")[0]) == 0
        assert len(joined.values("gradient_l2", "out.weight")[0]) == 12  # whole in every process
        _, table = joined.matrix("gradient_l2")
        assert np.isnan(table[:, joined.tensors.index("up.weight")]).all()
        assert not np.isnan(table[:, joined.tensors.index("out.weight")]).any()
    command = [sys.executable, "-m", "unvanish", "show", str(tmp_path / "half")]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr


def test_chosen_ranks_record(in_twos: tuple[Path, str]) -> None:
    assert sorted(path.name for path in (in_twos[0] / "chosen").iterdir()) == ["recording.sqlite"]
    with unvanish.Recording.open(in_twos[0] / "chosen") as recording:
        assert len(recording.values("gradient_l2", "up.weight")[0]) == 12
    assert in_twos[1].count("rank 1: step 8: nonfinite") == 2  # said in the log all the same


def test_the_first_one_records_always() -> None:
    net = nn.Linear(2, 2)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(unvanish.UnvanishError, match="contain 0"):
        unvanish.watch(net, sgd, ranks=[1])
