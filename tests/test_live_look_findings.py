"""What a look finds in a running training is what an observation finds in a copy."""

import copy
from collections.abc import Callable

import pytest
import torch
from live_trainings import told
from patients import HEALTHY, SICK, Program
from torch import nn

import unvanish
from unvanish.batches import call_model, compute_loss
from unvanish.diagnosis import Diagnosis
from unvanish.lessons import LESSONS
from unvanish.lessons.lesson import Lesson
from unvanish.probe.live import LiveLook
from unvanish.trace import Trace

pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a target size",
    "ignore:None of the inputs have requires_grad",
    "ignore:enable_nested_tensor is True",
)


def watched(program: Program) -> Trace | None:
    """The trace of the first step of an ordinary loop over the program's data."""
    model, data = program["model"], program["data"]
    batch = data if isinstance(data, tuple) else next(iter(data))
    look = LiveLook(model)
    torch.manual_seed(0)
    with told(look):
        look.begin()
        loss = compute_loss(model, batch, program.get("loss"), program.get("forward"))
        if loss.requires_grad:
            loss.backward()
        trace = look.finish()
    assert (trace is None) == (look.reason is not None)
    return trace


TRAINED = [
    "depth_decay",
    "time_decay",
    "dead_units",
    "detached",
    "double_softmax",
]


@pytest.mark.parametrize("one", [o for o in LESSONS if o.name in TRAINED], ids=lambda o: o.name)
def test_step_in_the_middle_of_a_training_reads_as_its_copy_does(one: Lesson) -> None:
    """The fourth step of an ordinary loop, against an observation of a copy at that moment."""
    program = one.sick(0)
    model, (inputs, targets), loss = program["model"], program["data"], program["loss"]
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    look = LiveLook(model)
    with told(look):
        for number in range(4):
            if number == 3:
                twin = copy.deepcopy(model)
                look.begin()
            optimizer.zero_grad()
            loss(call_model(model, inputs), targets).backward()
            optimizer.step()
    trace = look.finish()
    assert trace is not None
    observed = unvanish.observe(twin, program["data"], loss)
    mine, theirs = unvanish.diagnose(trace), unvanish.diagnose(observed)
    assert first(mine) == first(theirs) == one.finding
    for parameter in observed.parameters:
        norm = trace.parameter(parameter.name).gradient_norm
        assert norm == (norm and pytest.approx(parameter.gradient_norm, rel=1e-4))
        assert (norm is None) == (parameter.gradient_norm is None)


def first(diagnosis: Diagnosis) -> str | None:
    return diagnosis.findings[0].name if diagnosis.findings else None


PROGRAMS: dict[str, Callable[[int], Program]] = {
    **{f"lesson {one.name}": one.sick for one in LESSONS if one.name != "nothing_trainable"},
    **{f"well {one.name}": one.well for one in LESSONS},
    **{name: make for name, (make, _, _) in SICK.items()},
    **HEALTHY,
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_first_finding_is_that_of_an_observation(name: str) -> None:
    program = PROGRAMS[name](0)
    observed = unvanish.observe(
        program["model"], program["data"], program.get("loss"), program.get("forward")
    )
    trace = watched(PROGRAMS[name](0))
    assert trace is not None
    assert first(unvanish.diagnose(trace)) == first(unvanish.diagnose(observed))


class Picking(nn.Module):
    """Uses what another net made: handed in, or picked up inside of its own forward."""

    def __init__(self, other: nn.Module, handed: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 1)
        self.held = [other]
        self.made: torch.Tensor | None = None if handed else other(torch.ones(4, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.tanh(inputs if self.made is None else inputs * self.made))


@pytest.mark.parametrize(("handed", "owner"), [(True, "outside"), (False, "unregistered")])
def test_what_a_net_is_called_with_may_come_from_another_one(handed: bool, owner: str) -> None:
    """A discriminator on what a generator made before its look began: the weights are not lost."""
    other = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6))
    model = Picking(other, handed)
    look = LiveLook(model)
    with told(look):
        look.begin()
        inputs = other(torch.randn(4, 3)) if handed else torch.randn(4, 6)
        model(inputs).square().mean().backward()
    trace = look.finish()
    assert trace is not None
    assert [stranger.owner for stranger in trace.strangers] == [owner] * 4
    named = [finding.name for finding in unvanish.diagnose(trace).findings]
    assert ("unregistered-module" in named) is not handed
