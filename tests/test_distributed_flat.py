"""FSDP1: parameters laid end to end and cut anywhere; joined, they read as one process would have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_joined import assert_same, torchrun
from distributed_sharded import Dense, alone

import unvanish

SCRIPT = Path(__file__).with_name("distributed_flat.py")
KINDS = ("each", "flat", "whole")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    plain, watched = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("watched")
    torchrun(2, SCRIPT, plain, "plain", *KINDS)
    torchrun(2, SCRIPT, watched, *KINDS, "guarded")
    return plain, watched


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_is_the_same_to_the_bit(kind: str, folders: tuple[Path, Path]) -> None:
    plain, watched = (folder / kind for folder in folders)
    for rank in (0, 1):
        losses, weights = torch.load(plain / f"end-{rank}.pt")
        also, there = torch.load(watched / f"end-{rank}.pt")
        assert losses == also
        assert all(map(torch.equal, weights, there))


@pytest.mark.parametrize("kind", ["each", "whole"])
def test_with_original_parameters_it_says_what_one_process_says(
    kind: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with unvanish.Recording.open(folders[1] / kind) as joined, alone(Dense(), tmp_path) as one:
        assert_same(joined, one)
        assert not [event for event in joined.events if event.kind == "alarm"]
        assert bool(joined.conditions["parts"]) is (kind == "each")


def test_a_flat_parameter_says_what_its_tensors_say_together(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    with unvanish.Recording.open(folders[1] / "flat") as joined, alone(Dense(), tmp_path) as one:
        assert not [event for event in joined.events if event.kind == "alarm"]
        assert set(joined.tensors) == {f"{layer}._flat_param" for layer in ("up", "down", "out")}
        for layer in ("up", "down", "out"):
            both = [f"{layer}.{kind}" for kind in ("weight", "bias")]
            for statistic, together in (
                ("gradient_l2", np.hypot),
                ("gradient_abs_max", np.maximum),
            ):
                steps, values = joined.values(statistic, f"{layer}._flat_param")
                truth = together(*(one.values(statistic, name)[1] for name in both))
                assert len(steps) == len(truth)
                np.testing.assert_allclose(values, truth, rtol=1e-5)


def test_no_guard_acts_on_a_part(folders: tuple[Path, Path]) -> None:
    with unvanish.Recording.open(folders[1] / "guarded") as joined:
        said = [event.detail for event in joined.events if event.name == "zclip"]
        assert any("does nothing here: the parameters are sharded" in detail for detail in said)
        assert set(joined.stages) == {"unscaled unclipped local-shard"}
