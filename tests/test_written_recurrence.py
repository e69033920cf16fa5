"""Recurrences written out with weights of their own: their time steps, and what only looks like them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import unvanish

SEEDS = (0, 1, 2)
STEPS = 40


class Loop(nn.Module):
    """h = f(x_t + h W), with W a parameter of the model itself; ``given`` says what x_t is."""

    def __init__(self, recurrent: Tensor, given: str, function: str) -> None:
        super().__init__()
        width = len(recurrent)
        self.read = nn.Linear(4, width)
        self.recurrent = nn.Parameter(recurrent)
        self.head = nn.Linear(width, 2)
        self.given, self.function = given, function

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), len(self.recurrent))
        for given in self.inputs(x):
            state = getattr(torch, self.function)(given + state @ self.recurrent)
        return self.head(state)

    def inputs(self, x: Tensor) -> list[Tensor]:
        if self.given == "step by step":
            return [self.read(step) for step in x.unbind(1)]
        read = self.read(x)
        if self.given == "read before":
            return [read[:, step] for step in range(x.shape[1])]
        return [read[:, 0]] * STEPS if self.given == "the same, kept" else [read.mean(1)] * STEPS


def program(seed: int, gain: float, given: str, function: str) -> dict[str, object]:
    torch.manual_seed(seed)
    weights = torch.linalg.qr(torch.randn(16, 16))[0] * gain
    x = torch.randn(32, STEPS, 4)
    labels = (x[:, 0, 0] > 0).long()
    return {"model": Loop(weights, given, function), "data": (x, labels), "loss": F.cross_entropy}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("given", ["step by step", "read before"])
@pytest.mark.parametrize(("gain", "function", "expected"), [(0.5, "tanh", "time-decay")])
def test_written_recurrence_that_forgets(
    seed: int, given: str, gain: float, function: str, expected: str
) -> None:
    diagnosis = unvanish.diagnose(**program(seed, gain, given, function))
    assert diagnosis.findings[0].name == expected
    assert diagnosis.findings[0].where == ("recurrent",)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("given", ["step by step", "read before"])
def test_written_recurrence_that_explodes(seed: int, given: str) -> None:
    diagnosis = unvanish.diagnose(**program(seed, 2.0, given, "relu"))
    assert "time-growth" in [f.name for f in diagnosis.findings if f.severity != "note"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("given", ["the same, kept", "the same, averaged"])
def test_iteration_that_reads_the_same_again_loses_nothing(seed: int, given: str) -> None:
    diagnosis = unvanish.diagnose(**program(seed, 0.5, given, "tanh"))
    assert diagnosis.healthy, [(f.name, f.where) for f in diagnosis.findings]
    assert "settling-iteration" in [e.name for e in diagnosis.expected]


def test_profile_is_the_gradient_at_each_use_of_the_weight() -> None:
    drawn = program(0, 0.5, "step by step", "tanh")
    trace = unvanish.observe(drawn["model"], drawn["data"], drawn["loss"])
    (profile,) = [p for p in trace.profiles if p.module == "recurrent"]
    assert len(profile.norms) == STEPS
    assert not profile.rereads

    model, (x, labels) = drawn["model"], drawn["data"]
    products: list[Tensor] = []
    state = x.new_zeros(len(x), 16)
    for given in model.inputs(x):
        products.append(state @ model.recurrent)
        products[-1].retain_grad()
        state = torch.tanh(given + products[-1])
    F.cross_entropy(model.head(state), labels).backward()
    for norm, product in zip(profile.norms, products, strict=True):
        assert math.isclose(norm, float(product.grad.norm()), rel_tol=1e-4)


def test_torchs_own_recurrence_is_named_once() -> None:
    torch.manual_seed(0)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.memory, self.head = nn.GRU(4, 16, batch_first=True), nn.Linear(16, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.memory(x)[0][:, -1])

    x = torch.randn(16, 150, 4)
    data = x, (x[:, 0, 0] > 0).long()
    diagnosis = unvanish.diagnose(Last(), data, F.cross_entropy)
    assert [(f.name, f.where) for f in diagnosis.findings] == [("time-decay", ("memory",))]


class StateSpace(nn.Module):
    """h = a h + x_t for every entry by itself, ``a`` made of a parameter; or an average of both."""

    def __init__(self, logit: float, average: bool = False) -> None:
        super().__init__()
        self.average = average
        self.read, self.head = nn.Linear(4, 32), nn.Linear(32, 2)
        self.keeping = nn.Parameter(torch.full((32,), logit))

    def forward(self, x: Tensor) -> Tensor:
        kept, state = torch.sigmoid(self.keeping), x.new_zeros(len(x), 32)
        for given in self.read(x).unbind(1):
            state = kept * state + ((1 - kept) * given if self.average else given)
        return self.head(state)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("average", [False, True])
def test_a_state_that_keeps_a_part_of_itself_forgets_or_does_not(seed: int, average: bool) -> None:
    given = program(seed, 1.0, "step by step", "tanh")
    findings = unvanish.diagnose(**(given | {"model": StateSpace(-1.0, average)})).findings
    assert (findings[0].name, findings[0].where) == ("time-decay", ("keeping",))
    assert unvanish.diagnose(**(given | {"model": StateSpace(5.0, average)})).healthy


class OneGain(nn.Module):
    """Blocks that share the gain of their branches: depth, and none of it lost."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(12))
        self.enter, self.head = nn.Linear(4 * STEPS, 32), nn.Linear(32, 2)
        self.gain = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        made = self.enter(x.flatten(1))
        for block in self.blocks:
            made = made + self.gain * torch.relu(block(made))
        return self.head(made)


def test_a_gain_that_blocks_share_is_no_forgetting() -> None:
    given = program(0, 1.0, "step by step", "tanh") | {"model": OneGain()}
    assert unvanish.diagnose(**given).healthy
