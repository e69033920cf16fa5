"""Trainings that a watch must judge rightly: healthy ones it must not blame, ruined ones it must name."""

import gc
import itertools
import logging
import math
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from test_alarms import CHAIN, reading
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish
from unvanish.alarms import Alarms
from unvanish.alarms.series import Series
from unvanish.alarms.suspicion import Suspicion
from unvanish.recording import Event
from unvanish.watching.everything import Everything
from unvanish.watching.monitor import Monitor


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))


def batch(step: int, spoilt: int | None = None) -> tuple[Tensor, Tensor]:
    x = torch.randn(32, 8, generator=torch.Generator().manual_seed(step))
    y = x[:, :1] - x[:, 1:2]
    if step == spoilt:
        x = x.clone()
        x[0, 0] = math.nan
    return x, y


def train(
    model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, spoilt: int | None = None
) -> None:
    for step in range(steps):
        x, y = batch(step, spoilt)
        optimizer.zero_grad()
        F.mse_loss(model(x), y).backward()
        optimizer.step()


# --- several optimizers --------------------------------------------------------------------------


def test_an_optimizer_per_tensor_leaves_nothing_out(tmp_path: Path) -> None:
    model = net()
    each = {p: torch.optim.SGD([p], lr=0.01) for p in model.parameters()}

    def step(parameter: Tensor) -> None:
        each[parameter].step()
        each[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    with Everything(tmp_path, budget=None) as watching:
        for number in range(6):
            x, y = batch(number)
            F.mse_loss(model(x), y).backward()
    assert len(watching.monitors) == 4
    for monitor in watching.monitors:
        assert monitor.alarms == ()
        assert monitor.diagnosis.healthy


@pytest.mark.parametrize("steps_on", [True, False])
def test_only_an_optimizer_that_steps_beside_holds_what_is_missing(steps_on: bool) -> None:
    model = net()
    front = torch.optim.SGD(model[0].parameters(), lr=0.01)
    back = torch.optim.SGD(model[2].parameters(), lr=0.01)
    train(model, back, 1)  # an earlier stage: it lives on
    with unvanish.watch(model, front, budget=None) as monitor:
        for step in range(6):
            if monitor.steps == 3:
                monitor._looks.arm()
            x, y = batch(step)
            model.zero_grad()
            F.mse_loss(model(x), y).backward()
            front.step()
            if steps_on:
                back.step()
    named = [f.name for f in monitor.diagnosis.findings if f.severity == "broken"]
    assert named == ([] if steps_on else ["not-in-optimizer"])


def test_trainings_that_are_not_watched_are_let_go_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unvanish.watching.everything.MOST", 1)
    gone: list[Any] = []
    with Everything(tmp_path, budget=None) as watching:
        for seed in range(4):
            model = net(seed)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            train(model, optimizer, 2)
            gone.append(weakref.ref(optimizer))
        del model, optimizer
        gc.collect()
        assert watching.left_out == 3
        assert [one() is None for one in gone] == [False, True, True, True]


class TwoHalves(torch.optim.Optimizer):
    """As sharpness-aware minimization is written: the step is another optimizer's."""

    def __init__(self, parameters: Any, lr: float) -> None:
        super().__init__(parameters, {"lr": lr})
        self.base_optimizer = torch.optim.SGD(self.param_groups, lr=lr)

    def second_step(self) -> None:
        self.base_optimizer.step()


def test_an_optimizer_that_steps_by_another_one_is_watched_there() -> None:
    model = net()
    halves = TwoHalves(model.parameters(), 0.01)
    with unvanish.watch(model, halves) as monitor:
        for step in range(5):
            x, y = batch(step)
            halves.zero_grad()
            F.mse_loss(model(x), y).backward()
            halves.second_step()
    assert monitor.steps == 5


def test_gradients_that_nothing_uses_are_said_once(caplog: pytest.LogCaptureFixture) -> None:
    model = net()
    idle = torch.optim.SGD(model.parameters(), lr=0.01)
    with unvanish.watch(model, idle), caplog.at_level(logging.WARNING, "unvanish"):
        train(model, torch.optim.Adam(model.parameters()), 250)
    assert [r.getMessage() for r in caplog.records if "no step of SGD" in r.getMessage()] == [
        "100 backward passes and no step of SGD was seen: if another optimizer takes the steps, "
        "watch that one"
    ]


# --- what is not a number ------------------------------------------------------------------------


def trained(steps: int, spoilt: int) -> Monitor:
    """What watched a training of which one batch was spoilt."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with unvanish.watch(model, optimizer) as monitor:
        train(model, optimizer, steps, spoilt)
    return monitor


def test_a_nan_in_the_batch_is_no_operations_fault() -> None:
    monitor = trained(20, spoilt=10)
    first = monitor.diagnosis.findings[0]
    assert first.name == "nonfinite-forward"
    assert "from outside" in (first.detail or "")
    [alarm] = [a for a in monitor.alarms if a.name == "nonfinite-forward"]
    assert alarm.since == 10


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_spoilt_weight_is_what_a_diagnosis_names(value: float) -> None:
    model, (x, y) = net(), batch(0)
    with torch.no_grad():
        model[2].weight[0, 3] = value
    diagnosis = unvanish.diagnose(model, (x, y), F.mse_loss)
    first = diagnosis.findings[0]
    assert (first.name, first.where, first.remedies) == ("nonfinite-forward", ("2.weight",), ())
    said = "The loss is not finite. NaN or Inf came in with parameter 2.weight."
    assert said in " ".join(str(diagnosis).split())
    again = unvanish.Diagnosis.from_json(diagnosis.to_json())
    assert again.trace.nonfinite[0].came_in == "parameter 2.weight"


def test_a_spoilt_batch_is_what_a_look_names() -> None:
    first = trained(1, spoilt=0).diagnosis.findings[0]
    assert first.where == ("0",)
    assert "a tensor of shape (32, 8) from outside" in (first.detail or "")


def test_an_operation_that_makes_it_is_still_named() -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.log()

    model = nn.Sequential(nn.Linear(8, 1), Root())
    first = unvanish.diagnose(model, batch(0), F.mse_loss).findings[0]
    assert (first.name, first.where) == ("nonfinite-forward", ("1",))
    assert (first.detail or "").startswith("log")


def test_one_fault_is_one_alarm_since_the_loss_was_no_number() -> None:
    alarms = Alarms(CHAIN)
    for step in range(60):
        bad = step >= 20
        loss = math.inf if bad else 1.0
        scale = 2.0 ** (16 - max(step - 20, 0))
        told = reading(
            step, nonfinite=[bad], loss=loss, loss_scale=scale, skipped=float(bad), backwards=1.0
        )
        alarms.feed(told)
    [collapse] = alarms.active
    assert (collapse.name, collapse.severity) == ("loss-scale-collapse", "broken")
    look = Event(kind="alarm", name="nonfinite-forward", step=60, seconds=6.0, severity="broken")
    assert alarms.of_look(look, "so it is", None).evidence["onset"] == 20
    alarms.hint("nonfinite-forward", ("1",))
    alarms.feed(reading(60, nonfinite=[True], loss=math.inf, loss_scale=0.1, skipped=1.0))
    assert alarms.causes == {"loss-scale-collapse": "nonfinite-forward"}
    [collapse] = alarms.active
    assert collapse.severity == "note"
    assert collapse.detail.startswith("follows from nonfinite-forward (step 20)")


def test_what_began_before_a_looks_finding_does_not_follow_from_it() -> None:
    alarms = Alarms(CHAIN)
    dead = [reading(s, [0.0] * 4 + [1.0] * 4, loss=1.0) for s in range(20)]
    for told in dead:
        alarms.feed(told)
    alarms.hint("nonfinite-forward", ())
    alarms.feed(reading(20, [0.0] * 4 + [1.0] * 4, nonfinite=[1.0] * 8, loss=math.nan))
    [units] = [event for event in alarms.active if event.name == "dead-units"]
    assert units.severity != "note"
    assert units.detail.count("nonfinite-forward") == 0


# --- what only a look can judge ------------------------------------------------------------------


def test_what_goes_up_and_down_for_ever_is_looked_at_ever_more_rarely() -> None:
    from unvanish.alarms.columns import Columns
    from unvanish.alarms.moment import Course

    suspicion, course, asked = Suspicion(), Course(), []
    for step in range(4000):
        course.loss.append(step, math.sin(step / 20))
        if suspicion.see(Columns(), course, step):
            asked.append(step)
    assert 3 <= len(asked) <= math.log2(4000)
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked)]
    assert all(gap >= 50 * 2**place for place, gap in enumerate(gaps))


def test_a_falling_or_noisy_loss_is_worth_no_look() -> None:
    from unvanish.alarms.columns import Columns
    from unvanish.alarms.moment import Course

    for course_of in (lambda s: 2.0 * 0.99**s, lambda s: math.sin(12.9898 * s**2)):
        suspicion, course = Suspicion(), Course()
        course.expected_update = Series(128)
        for step in range(500):
            course.loss.append(step, course_of(step))
            course.expected_update.append(step, 1e-3)
            assert not suspicion.see(Columns(), course, step)


def test_a_sign_that_is_flipped_in_the_middle_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with unvanish.watch(model, optimizer) as monitor:
        for step in range(200):
            x, _ = batch(step)
            loss = F.cross_entropy(model(x), x[:, :4].argmax(1))
            optimizer.zero_grad()
            (loss if step < 80 else -loss).backward()
            optimizer.step()
    assert "wrong-sign" in {alarm.name for alarm in monitor.alarms}
    assert min(a.step for a in monitor.alarms if a.name == "wrong-sign") > 80


def test_decay_that_takes_over_in_the_middle_is_named() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
    model.append(nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    with unvanish.watch(model, optimizer) as monitor:
        for step in range(420):
            if step == 120:
                optimizer.param_groups[0]["weight_decay"] = 50.0
            x, _ = batch(step)
            optimizer.zero_grad()
            F.cross_entropy(model(x), x[:, :4].argmax(1)).backward()
            optimizer.step()
    named = {alarm.name: alarm.since for alarm in monitor.alarms}
    assert 120 <= named["weight-decay-dominates"] <= 180


def test_a_step_that_decay_bends_uphill_has_the_right_sign() -> None:
    model = nn.Linear(8, 1, bias=False)
    x, y = batch(0)
    with torch.no_grad():
        model.weight.copy_(0.5 * torch.tensor([[1.0, -1.0] + [1e-3] * 6]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1000.0)
    before = model.weight.detach().clone()
    twin = nn.Linear(8, 1, bias=False)
    twin.load_state_dict(model.state_dict())
    own = torch.optim.AdamW(twin.parameters(), lr=1e-3, weight_decay=1000.0)
    F.mse_loss(twin(x), y).backward()
    own.step()
    moved = (twin.weight.detach() - before).flatten()
    assert twin.weight.grad is not None
    assert float(torch.cosine_similarity(moved, -twin.weight.grad.flatten(), 0)) < -0.5
    found = unvanish.diagnose(model, (x, y), F.mse_loss, optimizer).findings
    assert "wrong-sign" not in {finding.name for finding in found}


@pytest.mark.parametrize("falls", [True, False])
def test_a_matrix_that_grows_while_the_loss_comes_down_is_learning(falls: bool) -> None:
    alarms = Alarms(CHAIN, optimizer="SGD")
    events: list[Event] = []
    for step in range(160):
        since = max(step - 80, 0)
        after = 2.7 * 0.97**since if falls else 2.7 + 0.01 * math.sin(step)
        told = reading(
            step,
            updates=[0.02] * 8,
            weights=[0.5] * 6 + [0.5 * min(1.03**since, 4.0)] * 2,
            loss=after if step >= 80 else 0.15 + 0.001 * math.sin(step),
            learning_rate=0.05,
        )
        events += alarms.feed(told)
    assert [e.name for e in events if e.kind == "alarm"] == ([] if falls else ["step-too-large"])


# --- who is told ---------------------------------------------------------------------------------


def test_who_is_told_may_raise_and_the_alarm_is_on_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def raising(alarm: Any) -> None:
        raise RuntimeError(f"no {alarm.name}")

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with unvanish.watch(model, optimizer, tmp_path, on_alarm=raising) as monitor:
        train(model, optimizer, 20, spoilt=5)
    assert monitor.steps == 20
    said = [record.getMessage() for record in caplog.records]
    assert any("step 5: nonfinite-forward" in one for one in said)
    assert any("on_alarm raised RuntimeError at nonfinite-forward" in one for one in said)
    recording = monitor.recording
    assert recording is not None
    with recording:
        assert "nonfinite-forward" in [e.name for e in recording.events if e.kind == "alarm"]


@pytest.mark.parametrize(
    ("options", "word"), [({"budget": "x"}, "budget"), ({"to": 5}, "to must be a folder")]
)
def test_a_budget_or_a_folder_of_another_kind_is_refused(
    options: dict[str, Any], word: str
) -> None:
    model = net()
    with pytest.raises(unvanish.UnvanishError, match=word):
        unvanish.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_a_gradient_without_a_finite_entry_is_not_shown_as_zero(tmp_path: Path) -> None:
    from unvanish.recording.summarising import summarise
    from unvanish.report.html.recording import recording_page
    from unvanish.report.recording import render_recording

    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with unvanish.watch(model, optimizer, tmp_path) as monitor:
        train(model, optimizer, 60, spoilt=20)
    recording = monitor.recording
    assert recording is not None
    with recording:
        summary = summarise(recording)
        text = render_recording(summary, width=100, language="en")
        page = recording_page(recording, summary)
    for row in summary.profile:
        assert row.gradient_rms[0] is not None
        assert row.gradient_rms[0] > 0
        assert math.isnan(row.gradient_rms[1] or 0.0)
    assert text.count("→ NaN") == len(summary.profile)
    assert "→ zero" not in text
    assert "<td>NaN" in page or ">NaN<" in page
