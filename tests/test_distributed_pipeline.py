"""Stages of torch.distributed.pipelining: nothing is changed, and joined they read as one process."""

from pathlib import Path

import numpy as np
import pytest
import torch
from distributed_joined import assert_same, torchrun
from distributed_pipeline import KINDS, MICRO, alone

import unvanish

SCRIPT = Path(__file__).with_name("distributed_pipeline.py")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    torchrun(2, SCRIPT, folder, "plain", *KINDS)
    return folder


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("watched")
    return folder, torchrun(2, SCRIPT, folder, *KINDS)


def assert_ends_alike(one: Path, other: Path) -> None:
    for rank in (0, 1):
        losses, weights = torch.load(one / f"end-{rank}.pt")
        also, there = torch.load(other / f"end-{rank}.pt")
        assert losses == also
        assert len(losses) == (0 if rank == 0 else 12 * MICRO)
        assert all(torch.equal(weights[name], there[name]) for name in weights)


@pytest.mark.parametrize("kind", KINDS)
def test_stages_say_what_one_process_says(
    kind: str, plain: Path, watched: tuple[Path, str], tmp_path: Path
) -> None:
    folder, said = watched
    assert_ends_alike(plain / kind, folder / kind)
    # The stages learn their shapes on memory that nobody has written to: of that nothing is said.
    assert "rank 0: step" not in said
    assert "rank 1: step" not in said
    with unvanish.Recording.open(folder / kind) as joined, alone(tmp_path) as one:
        assert_same(joined, one)
        assert not [event for event in joined.events if event.kind == "alarm"]
        assert set(joined.scalars("backwards")[1]) == {float(MICRO)}
        # What a stage sends on is no loss; the last one's is summed, as its backward passes are.
        assert "loss" not in joined.ranks[0].scalar_names
        losses = one.scalars("loss")[1]
        np.testing.assert_allclose(joined.scalars("loss")[1], MICRO * losses, rtol=1e-5)
        assert joined.ranks[0].look(0)["trace"]["conditions"]["loss"] is None
        assert joined.ranks[1].look(0)["trace"]["conditions"]["loss"] > 0


def test_a_script_in_stages_runs_unchanged(plain: Path, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    run = ("-m", "unvanish", "run", "--to", seen, SCRIPT, tmp_path, "plain", KINDS[1])
    said = torchrun(2, *run)
    assert_ends_alike(plain / KINDS[1], tmp_path / KINDS[1])
    assert "12 steps, no alarm" in said
    with unvanish.Recording.open(seen) as joined:
        assert {name.removesuffix(".weight") for name in joined.tensors if "weight" in name} == {
            "layers.0", "layers.1", "layers.2", "layers.3",
        }  # fmt: skip
        assert len(joined.scalars("loss")[1]) == 11  # a training is met at its first step


@pytest.mark.parametrize(("given", "loss"), [("same", True), ("other", False), ("zeros", False)])
def test_a_gradient_from_elsewhere_belongs_to_no_loss(
    given: str, loss: bool, tmp_path: Path
) -> None:
    net = torch.nn.Linear(4, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    gradient = {"same": torch.ones(5, 3), "other": torch.rand(5, 3), "zeros": torch.zeros(5, 3)}
    with unvanish.watch(net, optimizer, tmp_path, strict=True) as monitor:
        net(torch.rand(5, 4)).backward(gradient[given])
        optimizer.step()
        assert (monitor.diagnosis.trace.conditions.loss is not None) is loss
    with unvanish.Recording.open(tmp_path) as recording:
        assert ("loss" in recording.scalar_names) is loss
        assert list(recording.scalars("backwards")[1]) == [1.0]


def test_a_pass_that_only_learns_shapes_is_none() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    with unvanish.watch(net, optimizer, strict=True) as monitor:
        net(torch.full((2, 4), 1e30, requires_grad=True))  # what memory held, and nobody keeps it
        received = torch.empty(2, 4).requires_grad_()
        with torch.no_grad():
            received.copy_(torch.rand(2, 4))
        net(received).square().mean().backward()
        optimizer.step()
        found = [finding.name for finding in monitor.diagnosis.findings]
        assert "saturated-activation" not in found
        assert all(one.input_rms < 10 for one in monitor.diagnosis.trace.activations)
