"""Causes that are decided by real steps on a copy."""

import pytest
import torch
from patients_steps import HEALTHY_STEPS, SICK_STEPS, adam, relu, sgd, trained_by
from torch import nn

import unvanish
from unvanish.batches import compute_loss
from unvanish.experiments.rehearsal import rehearse

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SICK_STEPS)
def test_sick_program_gets_its_own_name_first(name: str, seed: int) -> None:
    patient, expected, place = SICK_STEPS[name]
    findings = unvanish.diagnose(**patient(seed)).findings
    assert findings
    assert findings[0].name == expected, [f.name for f in findings]
    assert not place or any(place in where for where in findings[0].where)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY_STEPS)
def test_healthy_program_gets_no_alarm(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**HEALTHY_STEPS[name](seed))
    assert diagnosis.healthy, [(f.name, dict(f.evidence)) for f in diagnosis.findings]


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("name", ["Adam at 3", "Adam at 1e-8", "0..255 into tanh", "maximize"])
def test_verdict_under_adam_does_not_depend_on_the_scale_of_the_loss(
    name: str, factor: float
) -> None:
    program = SICK_STEPS[name][0](0)
    loss = program["loss"]
    scaled = {**program, "loss": lambda outputs, targets: factor * loss(outputs, targets)}
    assert unvanish.diagnose(**program).findings[0].name == SICK_STEPS[name][1]
    assert unvanish.diagnose(**scaled).findings[0].name == SICK_STEPS[name][1]


def test_movement_is_the_closed_form_of_sgd() -> None:
    program = relu(0)
    model = program["model"].double()
    data = (program["data"][0].double(), program["data"][1])
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.5)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    gradients = dict(
        zip(
            weights,
            torch.autograd.grad(program["loss"](model(data[0]), data[1]), list(model.parameters())),
            strict=True,
        )
    )
    record = rehearse(
        model, optimizer, [data], 1, lambda m, b: compute_loss(m, b, program["loss"], None)
    )
    for movement in record.movements:
        change = -0.1 * (gradients[movement.name] + 0.5 * weights[movement.name])
        assert movement.update[0] == pytest.approx(float(change.norm()), rel=1e-9)
        assert movement.weight[0] == pytest.approx(float(weights[movement.name].norm()), rel=1e-12)
        cosine = torch.nn.functional.cosine_similarity(
            -change.flatten(), gradients[movement.name].flatten(), 0
        )
        assert movement.descent[0] == pytest.approx(float(cosine), abs=1e-9)


def test_first_step_of_adam_moves_by_the_rate() -> None:
    program = trained_by(relu(0), adam(1e-3))
    record = rehearse(
        program["model"],
        program["optimizer"],
        [program["data"]],
        1,
        lambda m, b: compute_loss(m, b, program["loss"], None),
    )
    assert all(m.moved[0] == pytest.approx(1.0, abs=0.05) for m in record.weights)


def test_experiments_are_listed_with_their_cost_and_leave_nothing() -> None:
    program = trained_by(relu(0), sgd(30.0))
    before = {n: p.detach().clone() for n, p in program["model"].named_parameters()}
    diagnosis = unvanish.diagnose(**program)
    assert any("20 steps" in line and " s)" in line for line in diagnosis.experiments)
    assert all(torch.equal(before[n], p) for n, p in program["model"].named_parameters())
    assert not program["optimizer"].state


def test_experiment_that_raises_is_a_blind_spot() -> None:
    class NotCopied(nn.Linear):
        def __deepcopy__(self, memo: object) -> "NotCopied":
            raise RuntimeError("cannot be copied")

    model = nn.Sequential(NotCopied(32, 16), nn.ReLU(), nn.Linear(16, 4))
    program = {**relu(0), "model": model}
    diagnosis = unvanish.diagnose(**trained_by(program, sgd(0.1)))
    assert any("cannot be copied" in spot for spot in diagnosis.blind_spots)
    assert diagnosis.healthy


def test_without_optimizer_the_step_is_said_to_be_untested() -> None:
    diagnosis = unvanish.diagnose(**relu(0))
    assert any("optimizer" in spot for spot in diagnosis.blind_spots)
