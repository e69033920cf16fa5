"""The user's own training step: faults between backward and step, and what must not be touched."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

import unvanish
from unvanish.errors import BadInput
from unvanish.training.loss_roots import likeness, share_of_mean
from unvanish.training.optimizer_copy import copied_optimizer
from unvanish.training.recorder import LoopRecorder

Program = dict[str, Any]
Step = Callable[[nn.Module, torch.optim.Optimizer, Any], Any]


def net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(48, 6, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs[:, :1] - inputs[:, 1:2]


def program(step: Step, seed: int = 0, rate: float = 0.1, **more: Any) -> Program:
    model = net(seed)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    return {"model": model, "data": batch(seed), "optimizer": optimizer, "step": step, **more}


def squares(model: nn.Module, batch: Any) -> Tensor:
    return nn.functional.mse_loss(model(batch[0]), batch[1])


def names(made: Program) -> list[str]:
    return [finding.name for finding in unvanish.diagnose(**made).findings]


def plain(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    optimizer.zero_grad()
    squares(model, batch).backward()
    optimizer.step()


def scaled(unscale: bool, by: Callable[[nn.Module], Any]) -> Step:
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(squares(model, batch)).backward()
        if unscale:
            scaler.unscale_(optimizer)
        by(model)
        scaler.step(optimizer)
        scaler.update()

    return step


def by_hand(model: nn.Module) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    for gradient in gradients:
        gradient.mul_(torch.clamp(0.5 / norm, max=1.0))


CLIPPINGS = {
    "torch's": lambda model: clip_grad_norm_(model.parameters(), 0.5),
    "torch's, by name": lambda model: clip_grad_norm_(max_norm=0.5, parameters=model.parameters()),
    "by value": lambda model: torch.nn.utils.clip_grad_value_(list(model.parameters()), 0.05),
    "by hand": by_hand,
}


@pytest.mark.parametrize("how", CLIPPINGS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clipping_before_unscaling_is_named_however_it_is_done(how: str, seed: int) -> None:
    found = unvanish.diagnose(**program(scaled(False, CLIPPINGS[how]), seed)).findings[0]
    assert found.name == "clip-before-unscale"
    assert found.severity == "harmful"
    assert found.evidence["real_limit"] == pytest.approx(found.evidence["limit"] / 65536)


@pytest.mark.parametrize("how", CLIPPINGS)
def test_clipping_after_unscaling_is_not(how: str) -> None:
    assert "clip-before-unscale" not in names(program(scaled(True, CLIPPINGS[how])))


def test_a_limit_that_follows_the_scale_is_meant_so() -> None:
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(squares(model, batch)).backward()
        clip_grad_norm_(model.parameters(), 0.5 * scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()

    assert "clip-before-unscale" not in names(program(step))


def never_cleared(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    squares(model, batch).backward()
    optimizer.step()


def cleared_too_late(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    loss = squares(model, batch)
    loss.backward()
    optimizer.step()
    if float(loss) < 0:
        optimizer.zero_grad()


def cleared_in_place(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    squares(model, batch).backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=False)


def cleared_by_the_model(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    squares(model, batch).backward()
    optimizer.step()
    model.zero_grad()


def cleared_by_hand(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    squares(model, batch).backward()
    optimizer.step()


def after_another_loss(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
    (-squares(model, batch)).backward()  # as a generator's turn leaves it
    optimizer.zero_grad()
    squares(model, batch).backward()
    optimizer.step()


@pytest.mark.parametrize("step", [never_cleared, cleared_too_late])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gradients_that_nobody_clears_are_named(step: Step, seed: int) -> None:
    found = unvanish.diagnose(**program(step, seed)).findings[0]
    assert found.name == "stale-gradients"
    assert set(found.where) == {"0.weight", "0.bias", "2.weight", "2.bias"}


@pytest.mark.parametrize(
    "step",
    [plain, cleared_in_place, cleared_by_the_model, cleared_by_hand, after_another_loss],
    ids=lambda step: step.__name__,
)
def test_gradients_cleared_in_any_way_are_not_stale(step: Step) -> None:
    diagnosis = unvanish.diagnose(**program(step), loss=nn.MSELoss())
    assert diagnosis.healthy
    assert "stale-gradients" in [out.name for out in diagnosis.ruled_out]


def test_a_closure_that_clears_is_not_stale() -> None:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = squares(model, batch)
            loss.backward()
            return loss

        optimizer.step(closure)

    model = net()
    made = {"model": model, "data": batch(), "step": step}
    found = names({**made, "optimizer": torch.optim.LBFGS(model.parameters(), 0.1)})
    assert "stale-gradients" not in found


def gathered(number: int, divide: float, after: float = 1.0) -> Step:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        for part in zip(batch[0].chunk(number), batch[1].chunk(number), strict=True):
            (squares(model, part) / divide).backward()
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.div_(after)
        optimizer.step()

    return step


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_summed_micro_batches_are_named_and_explain_the_step(seed: int) -> None:
    findings = unvanish.diagnose(**program(gathered(16, 1.0), seed, rate=0.15)).findings
    assert findings[0].name == "unscaled-accumulation"
    assert findings[0].severity == "harmful"
    assert findings[0].evidence["backwards"] == 16
    assert all(f.because == "unscaled-accumulation" for f in findings[1:] if f.severity != "note")


@pytest.mark.parametrize("step", [gathered(16, 16.0), gathered(16, 1.0, after=16.0)])
def test_averaged_micro_batches_are_not(step: Step) -> None:
    assert "unscaled-accumulation" not in names(program(step, rate=0.5))


def test_micro_batches_gathered_over_calls_are_seen() -> None:
    calls = {"made": 0}

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        squares(model, batch).backward()
        calls["made"] += 1
        if calls["made"] % 6 == 0:
            optimizer.step()
            optimizer.zero_grad()

    assert "unscaled-accumulation" in names(program(step, rate=0.01))


def clipped(limit: float) -> Step:
    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        squares(model, batch).backward()
        clip_grad_norm_(model.parameters(), limit)
        optimizer.step()

    return step


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_limit_far_below_the_norm_is_named(seed: int) -> None:
    found = unvanish.diagnose(**program(clipped(1e-4), seed)).findings[0]
    assert (found.name, found.severity) == ("always-clipped", "harmful")
    assert found.evidence["share"] == 1


def test_a_limit_near_the_norm_is_no_alarm() -> None:
    assert unvanish.diagnose(**program(clipped(1.0))).healthy


def test_a_scaler_that_finds_its_scale_is_expected_and_one_that_never_will_is_named() -> None:
    high = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        loss = 50 * squares(model, batch)  # 2^127 times its gradient is above float32
        zero = loss - loss.detach()
        high.scale(loss + zero.sqrt() if poison else loss).backward()
        high.step(optimizer)
        high.update()

    poison = False
    diagnosis = unvanish.diagnose(**program(step, rate=0.001), loss=nn.MSELoss())
    assert diagnosis.healthy
    assert "scaler-probing" in [seen.name for seen in diagnosis.expected]
    poison = True
    found = names({**program(step), "loss": nn.MSELoss()})
    assert "loss-scale-collapse" in found


def test_the_norm_before_and_after_clipping_is_that_of_autograd() -> None:
    model = net().double()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    data = tuple(part.double() for part in batch())
    gradients = torch.autograd.grad(squares(model, data), list(model.parameters()))
    truth = float(torch.cat([g.flatten() for g in gradients]).norm())
    twin = copy.deepcopy(model)
    own = copied_optimizer(optimizer, model, twin)
    with LoopRecorder(twin, own) as recorder:
        clipped(truth / 3)(twin, own, data)
    (step,) = recorder.steps
    assert step.norm == pytest.approx(truth, rel=1e-9)
    assert step.used == pytest.approx(truth / 3, rel=1e-4)  # torch's own 1e-6 in the quotient


LOSSES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], float | None]] = {
    "mean": (lambda x, y: (x - y).square().mean(), 1.0),
    "mse / 4": (lambda x, y: nn.functional.mse_loss(x, y) / 4, 0.25),
    "0.5 * huber": (lambda x, y: 0.5 * nn.functional.huber_loss(x, y), 0.5),
    "mse * tensor": (lambda x, y: nn.functional.mse_loss(x, y) * torch.tensor(3.0), 3.0),
    "sum": (lambda x, y: (x - y).square().sum(), None),
    "sum / count": (lambda x, y: (x - y).square().sum() / len(x), None),
    "two terms": (lambda x, y: nn.functional.mse_loss(x, y) + x.square().mean(), None),
    "a computed divisor": (lambda x, y: nn.functional.mse_loss(x, y) / x.norm(), None),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_share_of_a_mean_in_a_loss(name: str) -> None:
    loss, truth = LOSSES[name]
    outputs = torch.randn(8, 2, requires_grad=True)
    share = share_of_mean(loss(outputs, torch.zeros(8, 2)))
    assert share == (None if truth is None else pytest.approx(truth))


def test_losses_of_the_same_operations_are_alike_whatever_their_data() -> None:
    model = net()
    one, other = batch(1), (torch.randn(3, 6), torch.randn(3, 1))
    assert likeness(squares(model, one)) == likeness(squares(model, other))
    assert likeness(squares(model, one)) != likeness(squares(model, one).sqrt())


class Trainer:
    """What a real script keeps outside of its step."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
        self.schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        self.average = torch.optim.swa_utils.AveragedModel(model)
        self.critic = nn.Linear(1, 1)
        self.other = torch.optim.Adam(self.critic.parameters(), 0.1)

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        outputs = model(batch[0])
        self.other.zero_grad()
        self.critic(outputs.detach()).square().mean().backward()
        self.other.step()
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(outputs, batch[1])
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), 1.0)
        self.scaler.step(optimizer)
        self.scaler.update()
        self.schedule.step()
        self.average.update_parameters(model)

    def state(self) -> list[Any]:
        parts = [self.scaler, self.schedule, self.average, self.critic, self.other]
        return [copy.deepcopy(part.state_dict()) for part in parts]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


@pytest.mark.parametrize("fails", [False, True])
def test_everything_that_a_step_reaches_is_as_before(fails: bool) -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    trainer = Trainer(model, optimizer)
    plain(model, optimizer, batch())
    trainer.step(model, optimizer, batch())
    before = [trainer.state(), copy.deepcopy(model.state_dict())]
    before.append(copy.deepcopy(optimizer.state_dict()))
    patched = (torch.autograd.backward, torch.amp.GradScaler.scale, torch.optim.Optimizer.zero_grad)
    inner = clip_grad_norm_.__closure__[0].cell_contents  # type: ignore[attr-defined,index]

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        trainer.step(model, optimizer, batch)
        if fails:
            raise RuntimeError("the step's own fault")

    diagnosis = unvanish.diagnose(model, batch(), optimizer=optimizer, step=step, steps=3)
    assert any("the step's own fault" in spot for spot in diagnosis.blind_spots) is fails
    after = [trainer.state(), model.state_dict(), optimizer.state_dict()]
    assert same(before, after)
    now = (torch.autograd.backward, torch.amp.GradScaler.scale, torch.optim.Optimizer.zero_grad)
    assert now == patched
    assert clip_grad_norm_.__closure__[0].cell_contents is inner  # type: ignore[attr-defined,index]


def test_the_loss_of_the_step_is_observed_where_no_loss_is_given() -> None:
    made = program(scaled(True, CLIPPINGS["torch's"]))
    alone = unvanish.diagnose(**made).trace
    given = unvanish.diagnose(**{**made, "step": None}, loss=nn.MSELoss()).trace
    assert alone.conditions.loss == given.conditions.loss
    ours = [p.gradient_norm for p in alone.parameters]
    assert ours == pytest.approx([p.gradient_norm for p in given.parameters])


def test_bad_steps_get_one_sentence() -> None:
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with pytest.raises(BadInput, match="without calling backward"):
        unvanish.diagnose(model, batch(), optimizer=optimizer, step=lambda *_: None)
    with pytest.raises(BadInput, match="step must be callable"):
        unvanish.diagnose(model, batch(), optimizer=optimizer, step=3)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="needs an optimizer"):
        unvanish.diagnose(model, batch(), step=plain)


def test_a_step_that_uses_the_script_s_own_optimizer_is_told_so() -> None:
    model = net()
    mine = torch.optim.SGD(model.parameters(), 0.1)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        mine.zero_grad()
        squares(model, batch).backward()
        mine.step()

    before = copy.deepcopy(model.state_dict())
    diagnosis = unvanish.diagnose(model, batch(), optimizer=mine, step=step)
    assert any("another optimizer than the one it was given" in b for b in diagnosis.blind_spots)
    assert same(before, model.state_dict())
