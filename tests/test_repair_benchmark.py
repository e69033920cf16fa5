"""The repair corpus builds, its faults are where they should be, labels and shares count right."""

import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from repair import autotrainer, early, editing, labels, scoring, table, zero_skill
from repair.cure import carried_out, kept_apart, left_alone
from repair.healthy import COUNT, healthy
from repair.mutations import CANDIDATES, MUTATIONS, candidate
from repair.programs import Built, Program, build
from repair.sample import candidates, mixed, named, stratified
from repair.training import Run, run

CANDIDATE = [candidate(index) for index in range(CANDIDATES)]
HEALTHY = [healthy(index) for index in range(COUNT)]
FAMILIES = {p.design.family: p for p in reversed(CANDIDATE)}


def short(program: Program) -> Program:
    """The same program with a budget of four steps."""
    return replace(program, design=replace(program.design, steps=4))


def weights(built: Built) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in built.model.parameters()])


def first(kind: str, family: str = "mlp") -> Program:
    return next(p for p in CANDIDATE if p.kinds == (kind,) and p.design.family == family)


def test_counts_and_names() -> None:
    assert len(CANDIDATE) >= 1000
    assert len(HEALTHY) >= 200
    assert len({p.name for p in (*CANDIDATE, *HEALTHY)}) == CANDIDATES + COUNT
    assert {k for p in CANDIDATE for k in p.kinds} == set(MUTATIONS)
    assert {p.design.family for p in CANDIDATE} == set("mlp cnn rnn lstm gru transformer".split())
    assert all(p.design != p.base for p in CANDIDATE)
    assert all(p.design == p.base for p in HEALTHY)
    assert all(1 <= len(p.kinds) <= 3 for p in CANDIDATE)
    # The recipe of one to three of depth, activation and initialisation makes more than half.
    recipe = [p for p in CANDIDATE if set(p.kinds) <= {"depth", "activation", "init"}]
    assert len(recipe) > CANDIDATES / 2


@pytest.mark.parametrize("program", [*CANDIDATE[::60], *HEALTHY[:8]], ids=lambda p: p.name)
def test_index_and_seed_alone_decide(program: Program) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = program.build(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(weights(once), weights(program.build(3)))
    twin = program.twin(3)
    assert type(once.optimizer) is type(twin.optimizer)
    assert all(torch.equal(a[1], b[1]) for a, b in zip(once.data, twin.data, strict=True))
    inputs, targets = once.data[0]
    assert once.loss(once.model(inputs), targets).isfinite() or program.kind != "ordinary"


def test_a_program_is_a_target_for_the_command_line() -> None:
    made = CANDIDATE[0]()
    assert set(made) == {"model", "data", "loss", "optimizer"}
    assert isinstance(made["model"], nn.Module)
    assert len(made["data"]) >= 3


def test_held_out_samples_are_not_trained_on() -> None:
    for task in {p.design.task for p in CANDIDATE}:
        built = next(p for p in CANDIDATE if p.design.task == task).twin(0)
        rows = {tuple(x.flatten().tolist()) for x in built.task.train[0]}
        apart = [tuple(x.flatten().tolist()) for x in built.held_out]
        # The digits hold a few pictures twice.
        assert sum(row in rows for row in apart) <= 0.01 * len(apart), task


@pytest.mark.parametrize("kind", ["frozen", "forgotten"])
def test_parts_that_do_not_move(kind: str) -> None:
    design = replace(CANDIDATE[0].base, steps=4, **{kind: (0, 1)})
    built = build(design, 0)
    moving = [p.detach().clone() for p in built.model.parameters()]
    run(built, 0)
    same = [torch.equal(a, b) for a, b in zip(moving, built.model.parameters(), strict=True)]
    assert same[:2] == [True, True]
    assert not any(same[2:])


def test_detached_starves_what_lies_before() -> None:
    built = build(replace(CANDIDATE[0].base, detached=0), 0)
    built.loss(built.model(built.data[0][0]), built.data[0][1]).backward()
    reached = [p.grad is not None for p in built.model.parameters()]
    assert reached[:2] == [False, False]
    assert all(reached[2:])


def test_a_deeper_program_has_three_to_twelve_layers_more() -> None:
    for number in range(20):
        draw = random.Random(number)
        for family in ("mlp", "cnn"):
            base = FAMILIES[family].base
            more = len(MUTATIONS["depth"](base, draw).activations) - len(base.activations)
            assert 3 <= more <= 12


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("name", sorted(editing.REMEDIES))
def test_every_remedy_fits_every_family(name: str, family: str) -> None:
    program = replace(FAMILIES[family], design=replace(FAMILIES[family].base, steps=2))
    built = carried_out(name)(program, 1)
    before = weights(built).clone()
    assert torch.equal(weights(carried_out(name)(program, 1)), before)
    run(built, 1)
    assert not torch.equal(weights(built), before)


def test_selu_takes_the_place_of_every_hidden_activation() -> None:
    program = next(p for p in CANDIDATE if "sigmoid" in p.design.activations)
    built = editing.REMEDIES["SELU"](program.build(0))
    kinds = [type(m) for m in built.model.modules()]
    hidden = sum(name not in ("linear",) for name in program.design.activations)
    assert kinds.count(nn.SELU) >= hidden
    assert nn.Sigmoid not in kinds


def test_batch_norm_behind_every_hidden_layer_and_in_the_optimizer() -> None:
    built = editing.batch_norm(build(CANDIDATE[0].base, 0))
    norms = [m for m in built.model.modules() if isinstance(m, nn.BatchNorm1d)]
    assert len(norms) == len(CANDIDATE[0].base.activations)
    stepped = {id(p) for g in built.optimizer.param_groups for p in g["params"]}
    assert {id(p) for m in norms for p in m.parameters()} <= stepped


def test_what_was_withheld_from_the_optimizer_stays_withheld() -> None:
    built = build(replace(CANDIDATE[0].base, forgotten=(0, 1)), 0)
    withheld = built.model.get_submodule("0").weight
    editing.REMEDIES["batch norm"](built)
    assert all(withheld is not p for g in built.optimizer.param_groups for p in g["params"])


def row(twin: list[float], ill: list[float], zero: float = 0.1) -> dict[str, Any]:
    return {"twin": twin, "ill": ill, "margin": [0.05] * len(ill), "zero": zero}


def test_labels_from_five_seeds() -> None:
    good = [0.9] * 5
    assert labels.verdict(row(good, [0.1, 0.2, 0.9, 0.8, 0.84])) == "sick"
    assert labels.verdict(row(good, [0.1, 0.2, 0.9, 0.8, 0.86])) == "between"
    assert labels.verdict(row(good, [0.9, 0.89, 0.88, 0.95, 0.1])) == "well"
    assert labels.verdict(row([0.5, 0.5], [0.1, 0.1])) == "twin fails"
    assert labels.verdict(row(good[:4], [0.1] * 4)) is None
    # A twin that does not come near its own mean on four seeds is no yardstick.
    assert labels.verdict(row([0.9, 0.9, 0.9, 0.8, 0.8], [0.1] * 5)) == "twin fails"
    assert labels.verdict(row([0.9, 0.9, 0.9, 0.9, 0.8], [0.1] * 5)) == "sick"


def test_the_margin_of_a_small_held_out_part_is_its_binomial_error() -> None:
    # 60 samples, 48 right beside 40, eight differ: 1.645 standard errors of the mean difference.
    twin = torch.cat([torch.ones(48), torch.zeros(12)])
    ill = torch.cat([torch.ones(40), torch.zeros(20)])
    share = 8 / 60
    expected = 1.645 * (share * (1 - share) / 59) ** 0.5
    found = labels.margin(Run(twin, ()), Run(ill, ()))
    assert found == pytest.approx(expected, rel=1e-4)
    large = Run(twin.repeat(100), ()), Run(ill.repeat(100), ())
    assert labels.margin(*large) == 0.05


def test_a_dead_net_is_sick_and_its_twin_is_not() -> None:
    dead = replace(
        CANDIDATE[0].base, task="circles", inits=("zeros",) * 3, activations=("relu",) * 2
    )
    good = replace(
        dead, inits=("he uniform",) * 3, optimizer="adam", rate=5e-3, width=32, steps=150
    )
    dead = replace(dead, optimizer="adam", rate=5e-3, width=32, steps=150)
    assert labels.label(Program("dead", ("init",), dead, good))["label"] == "sick"
    assert labels.label(Program("alive", ("ordinary",), good, good))["label"] == "well"


def test_wilson_against_the_quadratic_it_solves() -> None:
    for count, of in ((0, 10), (3, 10), (98, 100), (10, 10)):
        for bound in table.wilson(count, of):
            # Each bound is a share whose own standard error reaches the count that was seen.
            error = 1.96 * (bound * (1 - bound) / of) ** 0.5
            assert abs(count / of - bound) == pytest.approx(error, abs=1e-9)


def test_a_cure_counts_by_gate_metric_and_architecture() -> None:
    known = row([0.9] * 5, [0.3] * 5)
    cure = {"metric": [0.9, 0.89, 0.88, 0.95, 0.1], "faults": [[]] * 5, "changed": True}
    cure |= {"architecture": False, "failed": None, "runs": 1.0, "seconds": 1.0}
    assert table.repaired(cure, known)
    assert table.minimal(cure, known)
    assert not table.minimal({**cure, "architecture": True}, known)
    assert not table.repaired({**cure, "faults": [["backward scale"]] * 2 + [[]] * 3}, known)
    assert not scoring.near_twin({**cure, "metric": [0.9, 0.9, 0.9, 0.87, None]}, known)
    assert scoring.worse({**cure, "metric": [0.27] * 5}, known)
    assert not scoring.worse({**cure, "metric": [0.29] * 5}, known)
    assert not scoring.worse({**cure, "metric": [0.1] * 5, "changed": False}, known)
    assert scoring.gain(cure, known) == pytest.approx(sum(cure["metric"]) / 5 - 0.3)


def test_what_a_judge_chooses_by_is_no_held_out_sample() -> None:
    program = CANDIDATE[0]
    whole, part = program.build(0), kept_apart(program.build(0))
    assert len(part.data) < len(whole.data)
    own = [x for batch, _ in whole.data[len(part.data) :] for x in batch]
    assert torch.equal(part.held_out, torch.stack(own))


def test_autotrainer_sees_the_published_problems() -> None:
    deep = replace(CANDIDATE[0].base, task="circles", activations=("sigmoid",) * 9, width=8)
    deep = replace(deep, inits=("uniform",) * 10, optimizer="adam", rate=1e-3, steps=64)
    sigmoid = Program("deep", ("depth",), deep, deep)
    assert autotrainer.train_watched(sigmoid.build(0), 0, 0.7).problem == "vanishing"
    # The guard: nothing is a problem while the accuracy is good enough.
    assert autotrainer.train_watched(sigmoid.build(0), 0, 0.3).problem is None
    dead = replace(deep, activations=("relu",) * 3, inits=("he uniform",) * 4, bias=-50.0)
    assert autotrainer.train_watched(build(dead, 0), 0, 0.7).problem in ("vanishing", "dying")
    wild = replace(deep, activations=("exponential",) * 6, inits=("unit normal",) * 7)
    assert autotrainer.train_watched(build(wild, 0), 0, 1.0).problem == "exploding"


def test_curves() -> None:
    assert autotrainer.curve_problem([0.5, 0.6, 0.5, 0.6, 0.5, 0.6]) == "oscillating"
    assert autotrainer.curve_problem([0.5, 0.501, 0.502, 0.503]) == "slow"
    assert autotrainer.curve_problem([0.1, 0.3, 0.5, 0.5, 0.5, 0.505]) == "slow"
    assert autotrainer.curve_problem([0.1, 0.3, 0.5, 0.7]) is None


def test_zero_skill_judges_leave_the_budget_alone() -> None:
    program = short(first("wiring"))
    assert zero_skill.untouched(program, 10).changed is False
    assert zero_skill.learning_rate(program, 9).runs <= 9
    assert zero_skill.random_search(program, 5).runs <= 5
    assert zero_skill.reseeded(program, 10).runs <= 10
    again = [zero_skill.random_remedy(program, 10).said for _ in range(2)]
    assert again[0] == again[1]


def test_a_judge_that_crashes_changes_nothing() -> None:
    def crash(program: Program, budget: int) -> Any:
        raise RuntimeError("boom")

    program = short(CANDIDATE[0])
    known = row([0.9, 0.9], [0.4, 0.4])
    found = scoring.answer(crash, program, known, 10, 2)
    assert found["failed"] == "RuntimeError: boom"
    assert found["metric"] == [0.4, 0.4]
    assert not left_alone("nothing").changed


def test_any_part_of_the_order_has_every_kind() -> None:
    kinds = {p.kind for p in CANDIDATE}
    assert {p.kind for p in candidates()[: len(kinds)]} == kinds
    assert sorted(p.name for p in stratified(CANDIDATE)) == sorted(p.name for p in CANDIDATE)
    order = list(mixed(0, ""))
    assert len(order) == CANDIDATES + COUNT
    assert sum(p in HEALTHY for p in order[:80]) == 20


def test_programs_are_asked_for_by_parts_of_their_names() -> None:
    asked = [p.name for p in mixed(0, "0168,h012")]
    assert asked == [n for n in asked if named(n, "0168") or named(n, "h012")]
    assert len(asked) == 2
    assert all(named(p.name, "") for p in CANDIDATE)


def test_each_judge_counts_on_what_it_has_answered_and_ours_beside_it_on_the_same() -> None:
    names = [p.name for p in CANDIDATE[:3]]
    known = {"rows": {name: {**row([0.9] * 5, [0.3] * 5), "label": "sick"} for name in names}}
    known["rows"][HEALTHY[0].name] = {**row([0.9] * 5, [0.9] * 5), "label": "well"}
    for line in known["rows"].values():
        line["seconds"] = [1.0]
    cure = {"metric": [0.9] * 5, "faults": [[]] * 5, "changed": True, "architecture": True}
    cure |= {"failed": None, "runs": 1.0, "seconds": 1.0, "said": "SELU"}
    none = {**cure, "metric": [0.3] * 5, "changed": False, "said": "nothing", "faults": []}
    rows: dict[str, Any] = {name: {"unvanish": cure, "AUTOTRAINER": none} for name in names[:2]}
    rows |= {names[2]: {"unvanish": none}, HEALTHY[0].name: {"unvanish": cure, "AUTOTRAINER": none}}
    text = table.report({"rows": rows, "commands": []}, known, ["unvanish", "AUTOTRAINER"])
    lines = {line.split(" | ")[0]: line for line in reversed(text.splitlines())}
    assert "| 2/3 = 67 %" in lines["| unvanish"]
    assert "| 0/2 = 0 % (0 to 66) | 2/2 = 100 % (34 to 100) |" in lines["| AUTOTRAINER"]
    assert "| +40.0 |" in lines["| unvanish"]
    assert "| 2/3 = 67 %" in lines["| all"]
    assert f"- {HEALTHY[0].name}: SELU" in text
    assert f"- {names[2]}: nothing" in text


def test_early_scores_are_ranked_within_programs() -> None:
    # Failed gate parts, losses at three rungs, and the metric: the last loss says it all, the first
    # is the wrong way round, the gate does not differ.
    metrics = [0.1, 0.4, 0.7, 0.9]
    first = [[1.0, m, 1 - m if m != 0.4 else 0.05, -m, m] for m in metrics]
    other = [[0.0, 50 + m, -m, -10 * m, m] for m in metrics]
    found = early.correlations({"one": first, "other": other, "alone": first[:1]})
    assert set(found) == {"loss at 20", "loss at 50", "loss at 150"}
    assert found["loss at 20"] == {"programs": 2, "quartiles": [1, 1, 1]}
    assert found["loss at 150"]["quartiles"] == [-1, -1, -1]
    # Of four, ranks 4, 1, 3, 2 beside 1 to 4: 1 - 6 * (9 + 1 + 0 + 4) / 60 = -0.4, and -1 beside it.
    assert found["loss at 50"]["quartiles"] == pytest.approx([-0.85, -0.7, -0.55])
