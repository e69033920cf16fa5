"""Gradients that are cut off: found whatever way the values went, and not called a fault if meant."""

import pytest
import torch
from patients_cuts import HEALTHY_CUTS, SICK_CUTS, Adversary, generators_turn
from torch import Tensor, nn

import unvanish
from unvanish.experiments.laboratory import Laboratory

SEEDS = (0, 1, 2)
# torch warns of a tensor, or a number, that is made of a tensor.
pytestmark = pytest.mark.filterwarnings(
    "ignore:To copy construct from a tensor", "ignore:Converting a tensor with requires_grad"
)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SICK_CUTS)
def test_cut_is_found(name: str, seed: int) -> None:
    patient, expected, place = SICK_CUTS[name]
    diagnosis = unvanish.diagnose(**patient(seed))
    assert [f.name for f in diagnosis.findings if f.severity != "note"] == [expected]
    assert any(place in where for where in diagnosis.findings[0].where)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", HEALTHY_CUTS)
def test_cut_that_is_meant_is_no_finding(name: str, seed: int) -> None:
    diagnosis = unvanish.diagnose(**HEALTHY_CUTS[name](seed))
    assert diagnosis.healthy, [(f.name, f.where) for f in diagnosis.findings]
    unreached = {p.name for p in diagnosis.trace.parameters if p.state == "none"}
    assert unreached
    assert unreached <= {w for e in diagnosis.expected for w in e.where}


def test_without_an_optimizer_the_critics_turn_is_a_note() -> None:
    program = HEALTHY_CUTS["the critic's turn in a GAN"](0)
    del program["optimizer"]
    diagnosis = unvanish.diagnose(**program)
    assert diagnosis.healthy
    assert [(f.name, f.severity) for f in diagnosis.findings] == [("detached", "note")]


def test_head_that_sees_the_batch_only_through_a_cut_is_a_fault() -> None:
    """As a critic that is never shown the data: all it gets comes through the cut."""
    program = HEALTHY_CUTS["the critic's turn in a GAN"](0)
    del program["optimizer"]
    program["forward"] = lambda net, batch: net.critic(net.generator(batch[1]).detach()).mean()
    assert [f.name for f in unvanish.diagnose(**program).findings] == ["detached"]
    assert not unvanish.diagnose(**program).healthy


@pytest.mark.parametrize("cut", [False, True])
def test_step_whose_second_loss_reaches_what_the_first_cuts_off(cut: bool) -> None:
    """Both turns of a GAN in one step; the sick one cuts the generator off in its own turn too."""
    program = generators_turn(0)
    model = program["model"]
    real = torch.randn(64, 8)

    def step(net: Adversary, optimizer: torch.optim.Optimizer, batch: tuple[torch.Tensor]) -> None:
        fake = net.generator(batch[0])
        optimizer.zero_grad()
        (-net.critic(real).mean() + net.critic(fake.detach()).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.nn.functional.softplus(-net.critic(fake.detach() if cut else fake)).mean().backward()
        optimizer.step()

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    diagnosis = unvanish.diagnose(model, program["data"], optimizer=optimizer, step=step)
    if cut:
        assert diagnosis.findings[0].name == "detached"
        assert any(name.startswith("generator.") for name in diagnosis.findings[0].where)
    else:
        assert diagnosis.healthy, diagnosis.findings
        assert "trained-by-another-loss" in [e.name for e in diagnosis.expected]


def test_teacher_that_differs_and_is_in_the_optimizer_is_a_cut() -> None:
    program = HEALTHY_CUTS["teacher that the optimizer does not hold"](0)
    program["optimizer"] = torch.optim.Adam(program["model"].parameters(), 1e-3)
    assert unvanish.diagnose(**program).findings[0].name == "detached"


@pytest.mark.parametrize("seed", SEEDS)
def test_player_with_an_optimizer_of_its_own_is_a_note(seed: int) -> None:
    diagnosis = unvanish.diagnose(**generators_turn(seed))
    assert diagnosis.healthy
    assert [(f.name, f.severity) for f in diagnosis.findings] == [("not-in-optimizer", "note")]
    assert all(name.startswith("critic.") for name in diagnosis.findings[0].where)


def test_part_of_a_player_that_is_missing_is_a_fault() -> None:
    program = generators_turn(0)
    program["optimizer"] = torch.optim.Adam(program["model"].generator[0].parameters(), 1e-3)
    assert unvanish.diagnose(**program).findings[0].severity == "broken"


def test_part_that_is_missing_from_one_network_is_a_fault() -> None:
    class Whole(Adversary):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.critic(self.generator(x))

    model = Whole()
    finding = unvanish.diagnose(
        model,
        (torch.randn(32, 4), torch.randn(32, 1)),
        torch.nn.functional.mse_loss,
        torch.optim.Adam(model.generator.parameters(), 1e-3),
    ).findings[0]
    assert (finding.name, finding.severity) == ("not-in-optimizer", "broken")


def test_asking_the_loss_changes_nothing() -> None:
    program = SICK_CUTS["features as floats"][0](0)
    before = {n: t.clone() for n, t in program["model"].state_dict().items()}
    state = torch.get_rng_state()
    assert not unvanish.diagnose(**program).healthy
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(before[n], t) for n, t in program["model"].state_dict().items())


def test_nothing_is_asked_where_there_is_no_model() -> None:
    assert Laboratory().loss_follows(["weight"]) is None


def test_watch_does_not_take_constants_for_numbers_that_came_back() -> None:
    def looked_at(program: dict[str, object], name: str) -> list[str]:
        model, (inputs, targets) = program["model"], program["data"]
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with unvanish.watch(model, optimizer) as monitor:
            for _ in range(3):
                optimizer.zero_grad()
                program["loss"](model(inputs), targets).backward()
                optimizer.step()
        return [f.name for f in monitor.diagnosis.findings if f.name == name]

    assert looked_at(HEALTHY_CUTS["a head whose output is logged"](0), "detached") == []
    assert looked_at(SICK_CUTS["features as floats"][0](0), "detached") == ["detached"]


class Scaled(nn.Module):
    """A learned factor, read as a number: into the output, or for a log alone."""

    def __init__(self, into_output: bool) -> None:
        super().__init__()
        self.layer, self.factor = nn.Linear(6, 3), nn.Parameter(torch.tensor(1.5))
        self.into_output, self.log = into_output, 0.0

    def forward(self, x: Tensor) -> Tensor:
        number = self.factor.item()
        self.log = number
        return self.layer(x) * (number if self.into_output else 1.0)


@pytest.mark.parametrize("into_output", [True, False])
def test_a_parameter_read_as_a_number_is_cut_where_the_loss_follows_it(into_output: bool) -> None:
    torch.manual_seed(0)
    data = torch.randn(32, 6), torch.arange(32) % 3
    found = unvanish.diagnose(Scaled(into_output), data, nn.functional.cross_entropy)
    named = [(f.name, f.where) for f in found.findings]
    assert named == ([("detached", ("(model)", "factor"))] if into_output else [])
