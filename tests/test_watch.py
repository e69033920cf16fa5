"""watch: what it reads is what the training used, and what cannot be watched is said."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from trainings import batches, mlp

import unvanish


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 4) -> None:
    for inputs, targets in batches((16, 8), count=steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


def test_every_number_is_that_of_float64(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truth: dict[str, list[list[float]]] = {}
    with unvanish.watch(model, optimizer, tmp_path, budget=None, strict=True):
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            g = [p.grad.double().flatten() for p in model.parameters()]
            w = [p.detach().double().flatten().clone() for p in model.parameters()]
            optimizer.step()
            after = [p.detach().double().flatten() for p in model.parameters()]
            for name, values in {
                "gradient_l2": [float(x.norm()) for x in g],
                "gradient_rms": [float(x.square().mean().sqrt()) for x in g],
                "gradient_mean": [float(x.mean()) for x in g],
                "gradient_abs_max": [float(x.abs().max()) for x in g],
                "gradient_zeros": [float((x == 0).sum()) for x in g],
                "gradient_nonfinite": [0.0 for _ in g],
                "weight_rms": [float(x.square().mean().sqrt()) for x in w],
                "update_to_weight": [
                    float((b - a).norm() / a.norm()) for a, b in zip(w, after, strict=True)
                ],
            }.items():
                truth.setdefault(name, []).append(values)
    recording = unvanish.Recording.open(tmp_path)
    assert list(recording.steps) == list(range(6))
    assert list(recording.tensors) == [name for name, _ in model.named_parameters()]
    for name, rows in truth.items():
        for column, tensor in enumerate(recording.tensors):
            steps, values = recording.values(name, tensor)
            assert list(steps) == list(range(6))
            np.testing.assert_allclose(
                values, [row[column] for row in rows], rtol=2e-6, err_msg=name
            )
    steps, histogram = recording.values("gradient_log2_histogram", "0.weight")
    assert histogram.shape == (6, 64)
    assert (histogram.sum(1) == 64).all()


def test_clipping_and_its_factor_are_recorded(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    norms = []
    with unvanish.watch(model, optimizer, tmp_path, strict=True) as monitor:
        for inputs, targets in batches((16, 8)):
            optimizer.zero_grad()
            (100 * nn.functional.cross_entropy(model(inputs), targets)).backward()
            norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
            optimizer.step()
    recording = monitor.recording
    assert set(recording.stages) == {"unscaled after-clipping whole"}
    _, factors = recording.scalars("clip_factor")
    np.testing.assert_allclose(factors, [1 / (norm + 1e-6) for norm in norms], rtol=1e-5)
    _, total = recording.scalars("gradient_l2")
    np.testing.assert_allclose(total, 1.0, rtol=1e-4)


@pytest.mark.parametrize("fused", [False, True])
def test_a_loss_scale_is_divided_away_and_recorded(fused: bool, tmp_path: Path) -> None:
    def run(scale: float) -> unvanish.Recording:
        torch.manual_seed(0)
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        with unvanish.watch(model, optimizer, tmp_path / f"{scale}", strict=True) as monitor:
            for inputs, targets in batches((16, 8)):
                optimizer.zero_grad()
                scaler.scale(nn.functional.cross_entropy(model(inputs), targets)).backward()
                scaler.step(optimizer)
                scaler.update()
        return monitor.recording

    one, other = run(1.0), run(4096.0)
    for tensor in one.tensors:
        np.testing.assert_allclose(
            one.values("gradient_l2", tensor)[1], other.values("gradient_l2", tensor)[1], rtol=1e-5
        )
    np.testing.assert_allclose(one.scalars("loss")[1], other.scalars("loss")[1], rtol=1e-6)
    assert set(other.scalars("loss_scale")[1]) == {4096.0}


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_the_scaler_skips_is_recorded_and_no_alarm(fused: bool, tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with unvanish.watch(model, optimizer, tmp_path, strict=True) as monitor:
        for number, (inputs, targets) in enumerate(batches((16, 8))):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            scaler.scale(loss * float("inf") if number == 3 else loss).backward()
            scaler.step(optimizer)
            scaler.update()
    steps, skipped = monitor.recording.scalars("skipped")
    assert dict(zip(steps, skipped, strict=True))[3] == 1.0
    assert sum(skipped) == 1.0
    _, bad = monitor.recording.values("gradient_nonfinite", "0.weight")
    assert list(bad > 0) == [False, False, False, True, False, False]
    assert not monitor.alarms


def test_a_closure_is_read_after_it_ran(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    truth = []
    with unvanish.watch(model, optimizer, tmp_path, strict=True) as monitor:
        for inputs, targets in batches((16, 8)):

            def closure(inputs=inputs, targets=targets):  # type: ignore[no-untyped-def]
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                truth.append(float(model[0].weight.grad.norm()))
                return loss

            optimizer.step(closure)
    _, values = monitor.recording.values("gradient_l2", "0.weight")
    np.testing.assert_allclose(values, truth, rtol=1e-6)


def test_none_is_not_zero(tmp_path: Path) -> None:
    model = mlp()
    model[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(model, optimizer, tmp_path, strict=True) as monitor:
        train(model, optimizer)
    steps, _ = monitor.recording.values("gradient_l2", "0.weight")
    assert len(steps) == 0


def test_the_first_step_is_observed_in_full(tmp_path: Path) -> None:
    model = mlp(12, nn.Sigmoid)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(model, optimizer, tmp_path, strict=True) as monitor:
        train(model, optimizer, 1)
        assert monitor.diagnosis.trace.ops
        assert [alarm.name for alarm in monitor.alarms][:1] == ["depth-decay"]
        assert monitor.alarms[0].step == 0
        assert monitor.alarms[0].code == "UV301"
        assert not monitor.diagnosis.healthy
    assert list(monitor.recording.looks) == [0]


def test_a_healthy_training_raises_no_alarm(tmp_path: Path) -> None:
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    with unvanish.watch(model, optimizer, tmp_path, strict=True) as monitor:
        train(model, optimizer, 60)
    assert monitor.alarms == ()
    assert monitor.diagnosis.healthy


def test_an_alarm_is_one_line_in_the_log_and_calls_back(caplog: pytest.LogCaptureFixture) -> None:
    model = mlp(12, nn.Sigmoid)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told = []
    caplog.set_level(logging.WARNING, "unvanish")
    with unvanish.watch(model, optimizer, on_alarm=told.append, strict=True):
        train(model, optimizer, 3)
    assert [alarm.name for alarm in told] == ["depth-decay"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert lines[0].startswith("step 0: depth-decay")


def test_what_cannot_be_watched_goes_on_unwatched(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = mlp()
    other = torch.optim.SGD(mlp().parameters(), lr=0.1)
    meta = nn.Linear(2, 2, device="meta")
    wall = tmp_path / "file"
    wall.write_text("")
    mine = torch.optim.SGD(model.parameters(), lr=0.1)
    cases = [
        (model, other, None, "holds no parameter of this model"),
        (meta, torch.optim.SGD(meta.parameters(), lr=0.1), None, "meta device"),
        (model, mine, wall / "run", "file"),
    ]
    for module, optimizer, to, word in cases:
        caplog.clear()
        with unvanish.watch(module, optimizer, to) as monitor:
            pass
        assert monitor.steps == 0
        assert monitor.diagnosis.blind_spots
        assert len(caplog.records) == 1
        assert word in caplog.records[0].getMessage()
        with pytest.raises(unvanish.UnvanishError, match=word):
            unvanish.watch(module, optimizer, to, strict=True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("net", None), "nn.Module"),
        ((nn.Linear(2, 2), "adam"), "optim.Optimizer"),
        ((nn.Linear(2, 2), []), "empty"),
    ],
)
def test_wrong_types_are_refused(arguments: tuple[object, ...], word: str) -> None:
    with pytest.raises(unvanish.UnvanishError, match=word):
        unvanish.watch(*arguments)  # type: ignore[arg-type]


def test_a_fault_of_the_watcher_does_not_stop_the_training(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(model, optimizer) as monitor:
        monkeypatch.setattr(monitor._steps, "_read", lambda _: 1 / 0)
        train(model, optimizer)
    assert monitor.closed
    assert "training goes on" in caplog.records[0].getMessage()
    assert not optimizer._optimizer_step_pre_hooks


def test_the_cost_is_measured() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with unvanish.watch(model, optimizer, strict=True) as monitor:
        train(model, optimizer)
    cost = monitor.cost
    assert cost.steps == 4
    assert 0 < cost.looks < cost.seconds
    assert cost.share == pytest.approx(cost.seconds / cost.training_seconds)


FORGETFUL = """
import sys, torch, unvanish
net = torch.nn.Linear(4, 1)
sgd = torch.optim.SGD(net.parameters(), lr=0.001)
monitor = unvanish.watch(net, sgd, to=sys.argv[1], strict=True)
for step in range(7):
    sgd.zero_grad()
    net(torch.ones(8, 4) if step < 6 else torch.full((8, 4), torch.nan)).square().mean().backward()
    sgd.step()
"""
"""Steps of a fraction of a millisecond, which wait to be judged together; and nobody closes."""


def test_a_process_that_ends_takes_its_last_steps_along(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORGETFUL, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with unvanish.Recording.open(tmp_path) as recording:
        assert list(recording.values("gradient_l2", "weight")[0]) == list(range(7))
        assert [e.name for e in recording.events if e.kind == "alarm"] == ["nonfinite-forward"]


def test_alarms_are_told_before_anybody_can_ask_for_them() -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    told: list[str] = []
    with unvanish.watch(
        model, optimizer, strict=True, on_alarm=lambda alarm: told.append(alarm.name)
    ) as monitor:
        train(model, optimizer)
        with torch.no_grad():
            next(model.parameters()).fill_(torch.nan)
        train(model, optimizer)
        assert [alarm.name for alarm in monitor.alarms] == told
        assert "nonfinite-forward" in told
