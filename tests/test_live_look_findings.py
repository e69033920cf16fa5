"""What a look finds in a running training is what an observation finds in a copy."""

from collections.abc import Callable

import pytest
import torch
from live_trainings import told
from patients import HEALTHY, SICK, Program

import unvanish
from unvanish.batches import compute_loss
from unvanish.diagnosis import Diagnosis
from unvanish.lessons import LESSONS
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
