"""The play-off: the luckiest score of one seed is not the one to choose."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unvanish.remedies.remedy import Level
from unvanish.surgery.edits import Edit
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender, best_of_levels
from unvanish.treatment.contest import RATES, leaders, outward
from unvanish.treatment.playoff import TURNS, PlayOff
from unvanish.trial import Task, prepare

MODEL = nn.Linear(4, 2)
DATA = (torch.randn(640, 4), torch.arange(640) % 2)
TASK = prepare(MODEL, DATA, F.cross_entropy, validation=True)


class Fixed:
    """A training whose score is known."""

    def __init__(self, score: float) -> None:
        self._score = score

    def advance(self, steps: int) -> "Fixed":
        return self

    def score(self) -> float:
        return self._score


def contender(name: str, score: float, edits: int = 1, level: Level = "values") -> Contender:
    plan = tuple(Edit(action="scale", options={"factor": 0.5 + k}) for k in range(edits))
    optimizer = torch.optim.SGD(MODEL.parameters(), 0.1)
    made = Contender((name,), level, plan, MODEL, optimizer)
    return replace(made, score=score)


def ordered(
    field: list[Contender],
    later: dict[str, float],
    clock: Clock | None = None,
    *,
    task: Task = TASK,
    control: float = 0.5,
) -> tuple[list[str], list[tuple[str, int]]]:
    asked: list[tuple[str, int]] = []

    def begin(contender: Contender, seed: int, turn: int) -> Any:
        assert seed == turn
        asked.append((contender.remedies[0], turn))
        return Fixed(later[contender.remedies[0]])

    play_off = PlayOff(task, begin, 10, clock or Clock(None, None))
    found = play_off.order(field, contender("control", control, 0))
    return [c.remedies[0] for c in found], asked


def test_a_score_that_does_not_come_again_is_not_chosen() -> None:
    field = [contender("lucky", 0.97), contender("steady", 0.95)]
    names, asked = ordered(field, {"lucky": 0.80, "steady": 0.95})
    assert names == ["steady", "lucky"]
    assert ("lucky", 1) in asked
    assert ("lucky", TURNS - 1) not in asked  # out of the race by then


def test_within_chance_of_the_best_the_smallest_is_chosen() -> None:
    field = [contender("large", 0.95, edits=3), contender("small", 0.94)]
    assert ordered(field, {"large": 0.95, "small": 0.945})[0] == ["small", "large"]


def test_a_larger_change_has_to_be_shown_to_be_better() -> None:
    # Of 480 answers 98.0 % has a standard error of 0.64 %: 1.1 % behind is more than one, not two.
    field = [contender("large", 0.98, edits=3), contender("small", 0.969)]
    assert ordered(field, {"large": 0.98, "small": 0.969})[0] == ["small", "large"]


def test_more_turns_tell_apart_what_one_could_not() -> None:
    field = [contender("large", 0.95, edits=3), contender("small", 0.94)]
    assert ordered(field, {"large": 0.97, "small": 0.93})[0] == ["large", "small"]


def test_what_is_far_behind_at_once_is_not_asked_again() -> None:
    field = [contender("good", 0.95), contender("bad", 0.70), contender("fair", 0.93)]
    names, asked = ordered(field, {"good": 0.95, "fair": 0.93})
    assert names[-1] == "bad"
    assert {name for name, _ in asked} == {"good", "fair"}


def test_one_that_diverges_under_another_seed_comes_last() -> None:
    field = [contender("wild", 0.99), contender("calm", 0.97)]
    assert ordered(field, {"wild": float("-inf"), "calm": 0.97})[0] == ["calm"]


def test_alone_nobody_is_asked_again_and_nobody_below_the_control_is_named() -> None:
    assert ordered([contender("only", 0.9)], {}) == (["only"], [])
    assert ordered([contender("none", 0.4)], {}) == ([], [])


@pytest.mark.parametrize("spent", [1e-9])
def test_without_time_left_the_contest_decides(spent: float) -> None:
    field = [contender("lucky", 0.97), contender("steady", 0.95)]
    names, asked = ordered(field, {}, Clock(spent, None))
    assert (set(names), asked) == ({"lucky", "steady"}, [])


def test_who_is_behind_by_more_than_chance_is_known() -> None:
    field = [contender("good", 0.95), contender("bad", 0.70)]
    ordered(field, {"good": 0.95, "bad": 0.70})
    assert [c.behind for c in field] == [False, True]


FEW = prepare(MODEL, (DATA[0][:96], DATA[1][:96]), F.cross_entropy, validation=True)
"""Set aside are 18 of 72 samples in turn: four turns ask each of them once."""


def test_a_lucky_run_of_the_control_sends_nobody_away() -> None:
    # The control had 17 of 18 right, and has 14 after that; the two others had 16 and go on so.
    field = [contender("large", 16 / 18, edits=3), contender("small", 16 / 18)]
    later = {"large": 16 / 18, "small": 16 / 18, "control": 14 / 18}
    names, asked = ordered(field, later, task=FEW, control=17 / 18)
    assert names == ["small", "large"]
    assert ("control", TURNS - 1) in asked


def test_who_stays_below_the_control_is_not_named() -> None:
    field = [contender("large", 17 / 18, edits=3), contender("small", 16 / 18)]
    later = {"large": 17 / 18, "small": 15 / 18, "control": 16 / 18}
    assert ordered(field, later, task=FEW, control=16 / 18)[0] == ["large"]


def test_a_control_that_is_far_behind_is_not_asked_again() -> None:
    field = [contender("large", 0.97, edits=3), contender("small", 0.96)]
    asked = ordered(field, {"large": 0.97, "small": 0.96}, control=0.5)[1]
    assert {name for name, _ in asked} == {"large", "small"}


@pytest.mark.parametrize(("more", "first"), [(5, "small"), (6, "large")])
def test_five_answers_more_tell_nothing_six_do(more: int, first: str) -> None:
    # Of 72 answers all right has a standard error of 1.4 %: five answers are five times as much.
    field = [contender("large", 1.0, edits=3), contender("small", 1 - more / 72)]
    later = {"large": 1.0, "small": 1 - more / 72}
    assert ordered(field, later, task=FEW)[0][0] == first


def test_of_each_level_the_best_is_asked_again_however_many_larger_ones_are_ahead() -> None:
    names = [f"another activation {k}" for k in range(8)]
    field = [contender(name, 0.96, 3, "activation") for name in names]
    field += [contender("values", 0.94, 1), contender("values at their own step size", 0.95, 2)]
    later = {c.remedies[0]: c.score or 0.0 for c in field}
    ordered_names, asked = ordered(field, later)
    assert {"values", "values at their own step size"} <= {name for name, _ in asked}
    assert len({name for name, _ in asked}) < len(field)
    assert ordered_names[0] == "values at their own step size"


def test_the_best_of_a_level_is_the_first_of_those_whose_gate_fails_least() -> None:
    ill = replace(contender("only a part", 0.9), faults=1)
    whole, other = contender("whole", 0.9), contender("another net", 0.9, 1, "activation")
    assert best_of_levels([ill, other, whole]) == [whole, other]


def test_a_smaller_change_is_tried_at_its_own_step_sizes_too_a_larger_one_only_as_a_leader() -> (
    None
):
    small, large = contender("small", 0.9), contender("large", 0.9, 1, "activation")
    skip = contender("largest", 0.9, 1, "skip")
    assert leaders([large, skip, small], 1) == [large, small]
    assert leaders([small, large, skip], 1) == [small]


def at(factor: float) -> Contender:
    step = (Edit(action="optimizer", options={"lr_factor": factor}),) if factor != 1 else ()
    return replace(contender("a step size", 0.9), edits=step)


@pytest.mark.parametrize(
    ("best", "others", "further"),
    [
        (900, (100, 300, 900), (RATES[1],)),
        (1 / 9, (1, 1 / 3, 1 / 9), (RATES[0],)),
        (300, (100, 300, 900), ()),
        (1, (1,), ()),
    ],
)
def test_step_sizes_go_on_where_the_best_is_the_last_one(
    best: float, others: tuple[float, ...], further: tuple[float, ...]
) -> None:
    other_edits = contender("another net", 0.9, 1, "activation")
    assert outward(at(best), [*map(at, others), other_edits]) == further
