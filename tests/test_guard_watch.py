"""Guard policies under the real watch: what they do to a user's own loop, and that nothing stays changed."""

import math
from typing import Any

import pytest
import torch
from guarded import same, state_of
from test_guard import blobs, net, sgd
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.guard import POLICIES, AutoClip, RollBack, TrainingStopped
from unvanish.guard.policy import Moment
from unvanish.recording import Event, StepReading


class Heard:
    """A sink that keeps what the policies did."""

    def __init__(self) -> None:
        self.acts: list[Event] = []

    def write(self, reading: StepReading, tensors: Any) -> None: ...

    def event(self, event: Event) -> None:
        if event.kind == "action":
            self.acts.append(event)

    def close(self) -> None: ...


def steps(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    count: int,
    *,
    spoil: Any = None,
    scaler: Any = None,
    schedule: Any = None,
) -> list[float]:
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    losses = []
    for step in range(count):
        x, y = blobs(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if spoil is not None:
            loss = spoil(step, loss)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if schedule is not None:
            schedule.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("name", [None, *POLICIES])
@pytest.mark.parametrize("fused", [False, True])
def test_a_quiet_policy_leaves_a_watched_training_as_it_is(name: str | None, fused: bool) -> None:
    def trained(watched: bool) -> Any:
        model = net(norm=True)
        optimizer = torch.optim.Adam(model.parameters(), 0.003, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 60)
        guard = AutoClip(percent=100) if name == "autoclip" else name
        guard = unvanish.guard.AGC(share=1e6) if name == "agc" else guard
        guard = unvanish.guard.ZClip(z_most=1e6) if name == "zclip" else guard
        if watched:
            with unvanish.watch(model, optimizer, guard=guard, strict=True):
                losses = steps(model, optimizer, 60, scaler=scaler, schedule=schedule)
        else:
            losses = steps(model, optimizer, 60, scaler=scaler, schedule=schedule)
        return losses, state_of(model, optimizer), scaler.state_dict(), schedule.get_last_lr()

    assert same(trained(True), trained(False))


def nan_at(*bad: int) -> Any:
    return lambda step, loss: loss * math.nan if step in bad else loss


def test_a_skipped_step_is_on_record_and_the_gradients_are_still_there(tmp_path: Any) -> None:
    model = net()
    optimizer = sgd(model, 0.05)
    with unvanish.watch(model, optimizer, to=tmp_path, guard="skip-nonfinite") as monitor:
        steps(model, optimizer, 20, spoil=nan_at(12))
        assert all(p.grad is not None for p in model.parameters())
        events = monitor.recording.events
    acts = [event for event in events if event.kind == "action"]
    assert [(act.name, act.step) for act in acts] == [("skip-nonfinite", 12)]
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_training_stopped_reaches_the_user_and_the_weights_are_good() -> None:
    model = net()
    optimizer = sgd(model, 0.05)
    with (
        pytest.raises(TrainingStopped, match="21 steps in a row"),
        unvanish.watch(model, optimizer, guard="skip-nonfinite", strict=True),
    ):
        steps(model, optimizer, 60, spoil=lambda step, loss: loss * math.inf if step > 9 else loss)
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


def test_a_policy_knows_which_gradients_it_decides_by() -> None:
    stages: list[str] = []

    class Asks(AutoClip):
        def before_step(self, moment: Moment) -> None:
            stages.append(moment.reading.stage)

    model = net()
    optimizer = sgd(model, 0.05)
    with unvanish.watch(model, optimizer, guard=Asks(), strict=True):
        steps(model, optimizer, 1)
        F.cross_entropy(model(blobs(1)[0]), blobs(1)[1]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
    assert stages == ["unscaled unclipped whole", "unscaled after-clipping whole"]


def test_a_lower_rate_is_never_seen_by_a_schedule() -> None:
    model = net()
    optimizer = sgd(model, 0.02)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 30, 0.5)
    heard = Heard()
    with unvanish.watch(model, optimizer, guard="rate-back-off", sinks=[heard]):
        steps(model, optimizer, 40, schedule=schedule)
        with torch.no_grad():
            list(model.parameters())[2].mul_(-20)
        steps(model, optimizer, 10, schedule=schedule)
        assert optimizer.param_groups[0]["lr"] == 0.01
    assert "diverges" in heard.acts[0].detail
    assert optimizer.param_groups[0]["lr"] == schedule.get_last_lr()[0] == 0.01


@pytest.mark.parametrize("fused", [False, True])
def test_roll_back_saves_a_training_that_one_batch_has_ruined(fused: bool) -> None:
    def trained(guard: Any) -> list[float]:
        model = net(norm=True)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
        with unvanish.watch(model, optimizer, guard=guard, strict=True):
            return steps(
                model,
                optimizer,
                100,
                spoil=lambda step, loss: loss * 3000 if step == 60 else loss,
                scaler=scaler,
            )

    assert max(trained(RollBack(every=20))[-10:]) < 0.5
    assert max(trained(None)[-10:]) > 0.5


def test_a_collapsing_scale_is_rescued_by_the_watch() -> None:
    def trained(guard: Any) -> tuple[float, list[Event]]:
        model = net()
        optimizer = sgd(model, 0.05)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
        heard = Heard()
        with unvanish.watch(model, optimizer, guard=guard, sinks=[heard], strict=True):
            steps(
                model,
                optimizer,
                60,
                spoil=lambda step, loss: loss * math.inf if 10 <= step < 40 else loss,
                scaler=scaler,
            )
        return scaler.get_scale(), heard.acts

    scale, acts = trained("loss-scale-rescue")
    assert scale == 2.0**16
    assert len(acts) == 2
    assert trained(None)[0] == 2.0**-14


def test_several_parameter_groups_and_a_frozen_part() -> None:
    model = net()
    parts: list[Any] = list(model)
    parts[0].bias.requires_grad_(False)
    groups = [{"params": parts[0].parameters(), "lr": 0.2}, {"params": parts[3].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9)
    before: Tensor = parts[0].bias.detach().clone()
    names = ["skip-nonfinite", "roll-back", "rate-back-off", "layer-balance", "agc", "zclip"]
    with unvanish.watch(model, optimizer, guard=names, strict=True):
        losses = steps(model, optimizer, 80, spoil=nan_at(40))
    assert losses[-1] < 0.6
    assert torch.equal(parts[0].bias, before)
    assert [group["lr"] for group in optimizer.param_groups] == [0.2, 0.01]


class Bare(torch.optim.Optimizer):
    """As in many a paper's repository: no question whether there is a gradient, nor a tensor."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr, "taken": 0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            norms = torch.stack([p.grad.norm() for p in group["params"]])
            assert bool(norms.isfinite().all())
            group["taken"] += 1
            for p in group["params"]:
                state = self.state[p]
                state["mean"] = 0.9 * state.get("mean", torch.zeros_like(p)) + p.grad
                p.add_(state["mean"] + 0.1 * p, alpha=-group["lr"])


@pytest.mark.parametrize("name", ["skip-nonfinite", "roll-back"])
def test_an_optimizer_that_asks_for_nothing_bears_a_step_left_out(name: str) -> None:
    """Step 5 is left out: weights, state and counts are those of a training without it."""
    model, twin = net(), net()
    twin.load_state_dict(model.state_dict())
    ours, plain = Bare(model.parameters(), 0.05), Bare(twin.parameters(), 0.05)
    with unvanish.watch(model, ours, guard=name):
        steps(model, ours, 12, spoil=nan_at(5))
    for step in [s for s in range(12) if s != 5]:
        x, y = blobs(step)
        plain.zero_grad()
        F.cross_entropy(twin(x), y).backward()
        plain.step()
    assert same(state_of(model, ours), state_of(twin, plain))
    assert ours.param_groups[0]["taken"] == 11
