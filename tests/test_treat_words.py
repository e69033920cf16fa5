"""What is read of a treatment: lines that fit, an order that is one, what an undecided trial lacks."""

import itertools
import math
import re
import types
from collections.abc import Sequence
from dataclasses import replace

import pytest
import reported
import torch
from reported import Page
from torch import nn

import unvanish.treatment
from unvanish import Treatment, Verdict
from unvanish.cli import run
from unvanish.errors import BadInput
from unvanish.report.html import treatment_page
from unvanish.surgery.edits import Edit
from unvanish.treatment.record import Tried
from unvanish.treatment.text import render

DATA = (torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 3)


def treatment(**more: object) -> Treatment:
    return replace(reported.treated(), **more)  # type: ignore[arg-type]


def tried(score: float | None, /, **losses: float) -> Tried:
    return Tried(
        remedies=("warm-up", "step-size"),
        level="values",
        edits=(Edit(action="optimizer", options={"lr_factor": 1 / 3}),),
        losses={int(steps[2:]): loss for steps, loss in losses.items()},
        score=score,
        out=None if score is not None else "no time was left",
    )


SCORED = (tried(0.5, at20=2.0, at200=1.0), tried(0.9, at20=3.0, at200=2.0))
UNSCORED = (
    tried(None, at50=0.001),
    tried(None, at20=9.0, at50=8.0, at150=7.0),
    tried(None),
    tried(None, at20=1.0, at50=math.inf),
    tried(None, at50=math.nan),
    tried(None, at150=6.0),
)


def rows(trials: Sequence[Tried]) -> tuple[str, list[str]]:
    """The heading and the lines under it."""
    lines = render(treatment(trials=tuple(trials)), width=200).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("Tried ("))
    told = itertools.takewhile(lambda line: line.startswith("  "), lines[start + 1 :])
    return lines[start], list(told)


def test_plans_with_a_score_stand_in_its_order() -> None:
    heading, told = rows(SCORED)
    assert heading == "Tried (2, the best first)"
    assert [float(line.rpartition("score ")[2]) for line in told] == [0.9, 0.5]


@pytest.mark.parametrize("scored", [(), SCORED])
def test_plans_without_a_score_are_in_the_order_that_is_claimed(scored: Sequence[Tried]) -> None:
    heading, told = rows([*UNSCORED, *scored])
    assert "the longest trained first, of these the best first" in heading
    assert ["score" in line for line in told] == [True] * len(scored) + [False] * len(UNSCORED)
    met = [re.findall(r"(\S+) at (\d+)", line) for line in told[len(scored) :]]
    steps = [int(losses[-1][1]) if losses else 0 for losses in met]
    assert steps == sorted(steps, reverse=True)
    last = [float(losses[-1][0]) for losses in met if losses and losses[-1][1] == "50"]
    assert last[0] == 0.001
    assert [not math.isfinite(loss) for loss in last] == [False, True, True]
    assert [float(losses[-1][0]) for losses in met[:2]] == [6.0, 7.0]


@pytest.mark.parametrize("scored", [(), SCORED])
def test_a_page_has_them_in_the_same_order_and_says_which(scored: Sequence[Tried]) -> None:
    again = replace(UNSCORED[0], out="the same as another")
    some = [*UNSCORED, *scored]
    named = [replace(one, remedies=(f"plan-{n}-",)) for n, one in enumerate(some)]
    found = treatment(trials=(*named, replace(again, remedies=("again",))))
    page = Page(treatment_page(found, "en")).text
    text = render(found, width=200)
    orders = [re.findall(r"plan-\d-", said[said.index("Tried") :]) for said in (page, text)]
    assert orders[0] == orders[1]
    assert len(orders[0]) == len(some)
    assert f"{len(some)} candidates, the longest trained first" in page
    assert "again" not in page + text


def test_a_trial_that_cured_nothing_says_of_which_plan_it_was() -> None:
    verdict = replace(reported.treated().verdict, word="undecided")  # type: ignore[type-var]
    found = treatment(edits=(), verdict=verdict, on_trial=SCORED[1])
    said = f"On trial: {SCORED[1].name}"
    assert "warm-up + step-size" in said
    assert "0.3333" in said
    lines = render(found, width=200).splitlines()
    assert lines[lines.index(said) + 2].startswith("Undecided")
    assert said in Page(treatment_page(found, "en")).text
    cured = treatment(on_trial=SCORED[1])
    assert "On trial" not in render(cured) + treatment_page(cured, "en")


@pytest.mark.parametrize("language", ["en", "ru", "tr", "uz"])
@pytest.mark.parametrize("width", [60, 80, 96])
def test_a_treatment_fits_its_width(width: int, language: str) -> None:
    long = treatment(
        trials=(*SCORED, *UNSCORED),
        notes=("after 200 steps this net answers worse than a linear model does: " + "what " * 40,),
        advice=("Give raw scores to cross_entropy. " * 4,),
    )
    text, whole = render(long, language, width), render(long, language, 10_000)
    assert max(map(len, whole.splitlines())) > 200
    assert max(map(len, text.splitlines())) <= width
    assert text.split() == whole.split()


def test_the_command_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    found = treatment(trials=UNSCORED, edits=())
    monkeypatch.setattr(unvanish.treatment, "treat", lambda *_, **__: found)
    assert run(["treat", "unvanish.lessons.depth_decay:sick"]) == 1
    in_pipe = capsys.readouterr().out
    assert in_pipe.rstrip("\n") == str(found)
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "70"}.items():  # a terminal to rich
        monkeypatch.setenv(name, value)
    assert run(["treat", "unvanish.lessons.depth_decay:sick"]) == 1
    on_terminal = capsys.readouterr().out
    assert max(map(len, on_terminal.splitlines())) <= 70 < max(map(len, in_pipe.splitlines()))
    assert on_terminal.split() == in_pipe.split()


@pytest.mark.parametrize(("trials", "status"), [((), 0), (SCORED, 1)])
def test_a_net_that_learns_badly_and_is_not_cured_is_not_called_well(
    trials: tuple[Tried, ...], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its gradients may be fine all the same: every run of it may diverge."""
    found = treatment(before=reported.diagnosed("healthy"), trials=trials, edits=(), verdict=None)
    monkeypatch.setattr(unvanish.treatment, "treat", lambda *_, **__: found)
    assert run(["treat", "unvanish.lessons.depth_decay:sick"]) == status
    said = re.search(r'class="verdict (\w+)"', treatment_page(found, "en"))
    assert said is not None
    assert (said[1] == "good") is (status == 0)


@pytest.mark.parametrize("found", ["decaying", "healthy"])
@pytest.mark.parametrize("left_out", [{}, {"edits": ()}, {"edits": (), "verdict": None}])
def test_parts_are_one_blank_line_apart(found: str, left_out: dict[str, object]) -> None:
    text = render(treatment(before=reported.diagnosed(found), **left_out))
    assert "\n\n\n" not in text
    assert text == text.strip()
    bare = treatment(
        before=reported.diagnosed("healthy"), edits=(), verdict=None, trials=(), notes=(), advice=()
    )
    assert render(bare) == bare.said


def cut_short(monkeypatch: pytest.MonkeyPatch, runs: int) -> Verdict:
    """A trial of three pairs whose time is up after so many runs."""
    calls = itertools.count()
    clock = types.SimpleNamespace(time=lambda: 0.0 if next(calls) < runs else math.inf)
    monkeypatch.setattr("unvanish.trial.schedule.time", clock)
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    return unvanish.compare(net, net, DATA, nn.CrossEntropyLoss(), steps=2, seeds=3, budget_s=100.0)


def test_an_undecided_trial_that_the_time_ended_asks_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verdict = cut_short(monkeypatch, 2)
    assert (verdict.word, len(verdict.pairs), verdict.planned) == ("undecided", 1, 3)
    assert "--budget" in render(treatment(verdict=verdict, edits=()))
    assert "--budget" not in render(treatment(verdict=replace(verdict, notes=()), edits=()))
    assert "--budget" not in render(treatment(verdict=cut_short(monkeypatch, 6)))
    assert "--budget" not in str(reported.treated())


@pytest.mark.parametrize("budget", ["20", True, 0, -1.0, math.nan, math.inf, [20]])
def test_a_budget_that_is_no_time_is_bad_input(budget: object) -> None:
    with pytest.raises(BadInput, match=r"budget_s is .*above zero, or None"):
        unvanish.treat(
            nn.Linear(4, 3),
            DATA,
            nn.CrossEntropyLoss(),
            budget_s=budget,  # type: ignore[arg-type]
        )
