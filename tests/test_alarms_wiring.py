"""Gradients that go astray in the middle of a training: named since when, and what looks like it is not."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import unvanish
from unvanish.alarms import Alarms
from unvanish.alarms.consequences import Consequences
from unvanish.alarms.listed import DETECTORS
from unvanish.probe.activations import units_alive
from unvanish.recording import StepReading, TensorEntry
from unvanish.watching.alarm_book import Alarm
from unvanish.watching.monitor import Monitor

Loop = Callable[[nn.Module, torch.optim.Optimizer, int], object]


class Two(nn.Module):
    """Two branches and a head; what ``cut`` says happens to the second branch."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(12, 3)
        self.cut = ""

    def forward(self, inputs: Tensor) -> Tensor:
        first, second = torch.tanh(self.one(inputs)), torch.tanh(self.two(inputs))
        if self.cut == "detached":
            second = second.detach()
        if self.cut == "left out":
            second = torch.zeros(16, 6)
        return self.head(torch.cat([first, second], 1))


def loss_of(model: nn.Module) -> Tensor:
    inputs = torch.randn(16, 4)
    return nn.functional.cross_entropy(model(inputs), (inputs[:, 0] > 0).long())


def watched(loop: Loop, steps: int, **options: float) -> Monitor:
    torch.manual_seed(0)
    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), options.get("rate", 0.1))
    with unvanish.watch(model, optimizer, budget=None) as monitor:
        for step in range(steps):
            loop(model, optimizer, step)
    return monitor


def serious(monitor: Monitor) -> list[tuple[str, int | None]]:
    """Alarms that are no notes, with the step that they say they began at."""
    told = [alarm for alarm in monitor.alarms if alarm.severity != "note"]
    return [(a.name, int(a.evidence["onset"]) if "onset" in a.evidence else None) for a in told]


# --- gradients that are never cleared -------------------------------------------------------------


def never_cleared(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    loss_of(model).backward()
    optimizer.step()


def cleared(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad()
    never_cleared(model, optimizer, step)


def zeroed(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    optimizer.zero_grad(set_to_none=False)
    never_cleared(model, optimizer, step)


def zeroed_behind(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.data.zero_()
    never_cleared(model, optimizer, step)


def accumulated(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    for _ in range(3):
        loss_of(model).backward()
    optimizer.step()
    optimizer.zero_grad()


def left_by_another(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    loss_of(model).backward()  # a generator's loss: it reaches these weights, for nothing
    cleared(model, optimizer, step)


def decayed(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    never_cleared(model, optimizer, step)
    for parameter in model.parameters():
        assert parameter.grad is not None
        parameter.grad.mul_(0.5)


def test_gradients_that_are_never_cleared_are_named() -> None:
    # The watch meets the first of them at the second step: what was left then was the first's.
    [(name, onset)] = serious(watched(never_cleared, 12))
    assert (name, onset) == ("stale-gradients", 1)


@pytest.mark.parametrize(
    "loop", [cleared, zeroed, zeroed_behind, accumulated, left_by_another, decayed]
)
def test_gradients_that_are_cleared_in_some_way_are_not(loop: Loop) -> None:
    assert serious(watched(loop, 12)) == []


# --- gradients that are gone when the optimizer steps ---------------------------------------------


def cleared_too_late(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    loss_of(model).backward()
    if step >= 5:
        optimizer.zero_grad()
    optimizer.step()
    optimizer.zero_grad()


class Taking(torch.optim.SGD):
    """Takes the gradients away as they arrive, and steps with what it has taken."""

    def take(self, parameter: Tensor) -> None:
        self.state[parameter]["taken"], parameter.grad = parameter.grad, None

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        with torch.no_grad():
            for parameter, state in self.state.items():
                parameter.sub_(state["taken"], alpha=0.1)


def test_gradients_cleared_before_the_step_are_named() -> None:
    monitor = watched(cleared_too_late, 25)
    assert serious(monitor) == [("not-in-optimizer", 5)]
    assert "cleared between" in str(monitor.diagnosis.findings[0].detail)


def test_gradients_that_the_optimizer_took_itself_are_not() -> None:
    model = Two()
    optimizer = Taking(model.parameters(), 0.1)
    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(optimizer.take)
    with unvanish.watch(model, optimizer, budget=None) as monitor:
        for _ in range(25):
            loss_of(model).backward()
            optimizer.step()
    assert serious(monitor) == []


# --- a branch without gradient from some step on --------------------------------------------------


@pytest.mark.parametrize("since", [30, 60])
def test_a_branch_that_is_cut_off_in_the_middle_is_named_since_then(since: int) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        model.cut = "detached" if step >= since else ""
        cleared(model, optimizer, step)

    assert serious(watched(loop, since + 40)) == [("detached", since)]


def test_a_head_that_took_the_place_of_another_is_named_at_once() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        if step == 40:
            model.head = nn.Linear(12, 3)
        cleared(model, optimizer, step)

    [alarm] = watched(loop, 110).alarms
    assert (alarm.name, alarm.over) == ("not-in-optimizer", None)
    assert 40 <= alarm.step <= 42
    assert "head.weight" in alarm.where


@pytest.mark.parametrize("period", [1, 7, 40])
def test_a_branch_that_is_left_out_or_frozen_is_none(period: int) -> None:
    def turns(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        model.cut = "left out" if (step // period) % 2 else ""
        cleared(model, optimizer, step)

    def frozen(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        model.two.requires_grad_(step < period)
        cleared(model, optimizer, step)

    assert serious(watched(turns, 100)) == []
    assert serious(watched(frozen, 80)) == []


def test_a_look_is_asked_for_once_and_not_of_what_takes_turns() -> None:
    def asked(there: Callable[[int], bool]) -> list[int]:
        entries = [TensorEntry(name=n, shape=(4, 4), dtype="float32") for n in ("one", "two")]
        alarms, steps = Alarms(entries), list[int]()
        for step in range(200):
            norms = torch.tensor([1.0, 1.0 if there(step) else float("nan")]).numpy()
            told = StepReading(step=step, seconds=0.0, stage="", values={"gradient_l2": norms})
            alarms.feed(told)
            steps += [step] if alarms.worth_a_look else []
        return steps

    assert asked(lambda step: step < 100) == [103]
    assert asked(lambda step: True) == []
    generator = torch.Generator().manual_seed(0)
    chance = (torch.rand(200, generator=generator) < 0.2).tolist()
    assert asked(lambda step: bool(chance[step])) == []


# --- factors that hold each other at zero ---------------------------------------------------------


class Adapted(nn.Module):
    """A frozen layer with two factors beside it, both of them zero or one."""

    def __init__(self, both: bool) -> None:
        super().__init__()
        self.base = nn.Linear(4, 6).requires_grad_(False)
        self.down = nn.Parameter(torch.zeros(2, 4) if both else torch.randn(2, 4))
        self.up = nn.Parameter(torch.zeros(6, 2))
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(inputs) + inputs @ self.down.T @ self.up.T))


@pytest.mark.parametrize(("both", "named"), [(True, ["stuck-saddle"]), (False, [])])
def test_two_factors_at_zero_are_stuck_and_not_dead(both: bool, named: list[str]) -> None:
    torch.manual_seed(0)
    model = Adapted(both)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-2)
    with unvanish.watch(model, optimizer, budget=None) as monitor:
        for step in range(30):
            cleared(model, optimizer, step)
    assert [name for name, _ in serious(monitor)] == named
    assert all(set(alarm.where) == {"down", "up"} for alarm in monitor.alarms)


# --- a look in which a loss scaler was at work ----------------------------------------------------


def scaled(start: float, always: bool) -> Monitor:
    torch.manual_seed(0)
    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=start)
    with unvanish.watch(model, optimizer, budget=None) as monitor:
        for _ in range(40):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.float16):
                outputs = model(torch.randn(16, 4))
            loss = outputs.float().square().mean()
            if always:
                loss = loss + (outputs.float() * 0).sum().abs().sqrt()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    return monitor


def test_a_step_that_a_scaler_skips_is_no_alarm_of_a_look() -> None:
    monitor = scaled(2.0**24, always=False)
    assert serious(monitor) == []
    assert monitor.diagnosis.healthy


def test_a_gradient_that_no_scale_makes_finite_is() -> None:
    names = [name for name, _ in serious(scaled(2.0**4, always=True))]
    assert names[0] == "loss-scale-collapse"
    assert "nonfinite-backward" in names


def test_an_alarm_of_the_last_steps_leaves_no_look_behind() -> None:
    """The last steps are judged when the watch is closed: who asks for a look then gets none."""
    from torch.nn.modules import module as global_hooks

    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = len(global_hooks._global_forward_pre_hooks)
    with unvanish.watch(model, optimizer) as monitor:
        for step in range(6):
            never_cleared(model, optimizer, step)
    assert [name for name, _ in serious(monitor)] == ["stale-gradients"]
    assert len(global_hooks._global_forward_pre_hooks) == before


# --- one alarm for one fault ----------------------------------------------------------------------


def test_what_a_nan_batch_does_to_units_is_a_note(caplog: pytest.LogCaptureFixture) -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.zero_grad()
        inputs = torch.full((16, 4), float("nan") if step == 30 else 1.0)
        torch.relu(model(inputs)).square().mean().backward()
        optimizer.step()

    monitor = watched(loop, 60)
    assert serious(monitor) == [("nonfinite-forward", 30)]


def test_the_cause_leads_where_a_look_finds_the_consequence() -> None:
    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.param_groups[0]["lr"] = 3e38 if step >= 30 else 0.1
        cleared(model, optimizer, step)

    monitor = watched(loop, 60)
    first, *others = monitor.diagnosis.findings
    assert isinstance(first, Alarm)
    assert (first.name, first.evidence["onset"]) == ("step-too-large", 30)
    because = {finding.name: finding.because for finding in others}
    assert because["nonfinite-forward"] == "step-too-large"


def test_what_began_earlier_or_is_unknown_explains_nothing() -> None:
    consequences = Consequences(DETECTORS)
    known = {"step-too-large": 10}
    assert consequences.cause_of("dead-units", 12, known) == "step-too-large"
    assert consequences.cause_of("dead-units", 9, known) is None
    assert consequences.cause_of("detached", 12, known) is None


def test_a_unit_that_is_no_number_is_not_zero() -> None:
    outputs = torch.tensor([[0.0, float("nan"), 1.0], [-1.0, -1.0, -1.0]])
    assert units_alive(outputs, channels_first=False).tolist() == [False, True, True]


@pytest.mark.parametrize(("trained", "named"), [(False, ["not-in-optimizer"]), (True, [])])
def test_a_layer_that_is_new_is_looked_at(trained: bool, named: list[str]) -> None:
    """Of tied weights that come apart the old tensor goes on training: nothing else is to be seen."""

    def loop(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        if not step:
            model.two.weight = model.one.weight
        if step == 20:
            model.two.weight = nn.Parameter(model.one.weight.detach().clone())
            if trained:
                optimizer.add_param_group({"params": [model.two.weight]})
        cleared(model, optimizer, step)

    assert [name for name, _ in serious(watched(loop, 40))] == named
