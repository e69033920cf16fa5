"""Pages, pictures, worksheets and notebooks of the lessons, and teach: what they say is so."""

import contextlib
import copy
import io
import json
import math
import random
import runpy
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import unvanish
from unvanish.errors import BadInput
from unvanish.languages import LANGUAGES, speaking
from unvanish.languages import gettext as _
from unvanish.lessons import ALL, lesson
from unvanish.lessons.practice import practise
from unvanish.lessons.teach import Teaching

DOCS = Path(__file__).resolve().parents[1] / "docs"
RECORDS = json.loads((DOCS / "lessons" / "records.json").read_text("utf-8"))
NAMES = [one.page for one in ALL]
HOMES = ["" if language == "en" else f"{language}/" for language in LANGUAGES]


def test_files_are_what_the_script_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    written = runpy.run_path(str(DOCS / "lessons.py"))["files"]()
    folder = DOCS / "lessons"
    kept = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*.*")}
    assert kept.keys() - {"records.json"} == written.keys(), "run python docs/lessons.py"
    stale = [name for name in written if kept[name].read_text("utf-8") != written[name]]
    assert not stale, "run python docs/lessons.py"


@pytest.mark.parametrize("name", NAMES)
def test_record_has_the_fault_and_its_cure_on_five_seeds(name: str) -> None:
    one, record = lesson(name), RECORDS[name]
    assert record["sick"]["findings"][0] == one.finding
    assert all(text for side in ("sick", "well") for text in record[side]["reports"].values())
    assert record["well"]["reports"]["en"].startswith("Healthy")
    assert len(record["sick"]["losses"]) == len(record["well"]["losses"]) == one.steps
    assert len(record["seeds"]) == 5
    for outcome in record["seeds"]:
        assert outcome["sick"]["first"] == one.finding
        assert outcome["well"]["healthy"]


Outcome = dict[str, Any]


def falls_further(sick: Outcome, well: Outcome) -> bool:
    """The cured loss ends at half of the other's or below, and it has fallen."""
    return well["end"] < well["start"] and (sick["end"] is None or well["end"] < 0.5 * sick["end"])


def falls_at_all(sick: Outcome, well: Outcome) -> bool:
    """The losses have not one unit: each is compared with its own start."""
    stays = sick["end"] is None or sick["end"] > 0.95 * sick["start"]
    return stays and well["end"] < 0.5 * well["start"]


def moves_more(sick: Outcome, well: Outcome) -> bool:
    """What stood still moves, and the loss is not worse for it."""
    return sick["moved"] < well["moved"] and well["end"] < sick["end"]


def knows_more(sick: Outcome, well: Outcome) -> bool:
    """More right answers on samples that it has not seen."""
    return well["right"] > sick["right"] + 0.3


def differs_not(sick: Outcome, well: Outcome) -> bool:
    """The fault is one that so few steps do not show; tests/test_lessons.py shows it otherwise."""
    return well["unseen"] == pytest.approx(sick["unseen"], rel=0.5)


AHEAD = {
    "half-precision-underflow": falls_at_all,
    "unscaled-target": falls_further,
    "epsilon-dominated": falls_at_all,
    "nothing-trainable": moves_more,
    "frozen-by-checkpoint": moves_more,
    "detached": moves_more,
    "not-in-optimizer": moves_more,
    "stuck-saddle": moves_more,
    "ten-thousand": moves_more,
    "wrong-sign": knows_more,
    "init-too-large": knows_more,
    "chaotic-signal": knows_more,
    "nothing-to-learn": knows_more,
    "self-regulating": knows_more,
    "time-decay": differs_not,
    "detector": differs_not,
    "loss-scale-collapse": differs_not,
    "blind-spot": differs_not,
}
"""How the cured program is ahead; where nothing else is said, by its loss."""


@pytest.mark.parametrize("name", NAMES)
def test_cured_program_is_ahead_on_five_seeds(name: str) -> None:
    ahead = AHEAD.get(name, falls_further)
    outcomes = [ahead(seed["sick"], seed["well"]) for seed in RECORDS[name]["seeds"]]
    assert outcomes == [True] * 5, (ahead.__name__, RECORDS[name]["seeds"])


@pytest.mark.parametrize("name", ["detached", "wrong-sign"])
def test_record_is_what_is_measured_now(name: str) -> None:
    one, record = lesson(name), RECORDS[name]
    for make, side in ((one.sick, "sick"), (one.well, "well")):
        found = practise(make, record["steps"])
        assert found.losses[:10] == pytest.approx(record[side]["losses"][:10], rel=1e-2)
        assert found.right == pytest.approx(record[side]["right"], abs=0.1)
        assert (found.moved, found.tensors) == (record[side]["moved"], record[side]["tensors"])


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("name", NAMES)
def test_picture_is_well_formed_and_stays_inside(name: str, home: str) -> None:
    root = ElementTree.fromstring((DOCS / "lessons" / home / f"{name}.svg").read_text("utf-8"))
    curves = [e.get("points", "") for e in root.iter() if e.tag.endswith("polyline")]
    assert curves
    for points in curves:
        for point in points.split():
            x, y = map(float, point.split(","))
            assert 40 <= x <= 166
            assert 26 <= y <= 118


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("name", NAMES)
def test_worksheet_fits_on_a_page(name: str, home: str) -> None:
    sheet = (DOCS / "lessons" / home / "worksheets" / f"{name}.md").read_text("utf-8")
    lines = sum(max(1, math.ceil(len(line) / 90)) for line in sheet.splitlines())
    assert lines <= 66  # A4 at six lines an inch
    assert f'unvanish.teach("{name}")' in sheet


# --- notebooks ------------------------------------------------------------------------------------


def cells(name: str, kind: str, home: str = "") -> list[str]:
    book = json.loads((DOCS / "lessons" / home / f"{name}.ipynb").read_text("utf-8"))
    return ["".join(c["source"]) for c in book["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("home", HOMES)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_has_the_form_that_jupyter_asks_for(name: str, home: str) -> None:
    book = json.loads((DOCS / "lessons" / home / f"{name}.ipynb").read_text("utf-8"))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    identities = [cell["id"] for cell in book["cells"]]
    assert len(set(identities)) == len(identities)
    for cell in book["cells"]:
        needed = {"id", "cell_type", "metadata", "source"}
        code = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert cell.keys() == needed | code
    for code in cells(name, "code", home):
        compile(code, name, "exec")


@pytest.mark.parametrize(
    ("name", "home", "said"),
    [("depth-decay", "", "Broken"), ("stuck-saddle", "", "Broken"), ("wiring", "ru/", "Сломано")],
)
def test_notebook_runs_from_top_to_bottom(
    name: str, home: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNVANISH_LANGUAGE", "en")
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for code in cells(name, "code", home):
            exec(compile(code, name, "exec"), names)
    assert said in printed.getvalue()
    assert names["sick_diagnosis"].findings[0].name == lesson(name).finding
    assert names["well_diagnosis"].healthy


# --- teach ----------------------------------------------------------------------------------------


def test_teach_tells_asks_runs_and_answers() -> None:
    opened = unvanish.teach("detached")
    assert isinstance(opened, Teaching)
    said = str(opened)
    assert "The detach that stayed" in said
    assert "Predict, then run" in said
    assert opened.question is not None
    assert opened.question.because not in said  # the answer comes afterwards
    assert opened.question.because.split()[0] in str(opened.answer)
    answer = str(opened.answer).replace("\n", " ")
    assert lesson("detached").cure in answer
    assert lesson("detached").story.split(". ")[-1] in answer
    assert lesson("detached").story.split(". ")[-1] not in said.replace("\n", " ")
    assert opened.sick.findings[0].name == "detached"
    assert opened.sick is opened.sick
    assert opened.well.healthy
    assert "def sick" in str(opened.source)
    for shown in (opened, opened.source, opened.answer, opened.train(3), unvanish.teach()):
        assert repr(shown) == str(shown)
        assert shown._repr_html_().startswith("<pre")
        assert "<tensor" not in shown._repr_html_()


def test_teach_trains_both_by_the_same_loop() -> None:
    rows = dict(
        (what, (sick, well)) for what, sick, well in Teaching(lesson("detached")).train(60).rows()
    )
    assert rows["weight tensors that moved"] == ("2 of 6", "6 of 6")
    sick, well = (float(v) for v in rows["loss after 59 steps"])
    assert well < 0.5 * sick


def test_teach_lists_every_lesson_and_refuses_what_it_does_not_have() -> None:
    assert all(name in str(unvanish.teach()) for name in NAMES)
    with pytest.raises(BadInput, match="did you mean depth-decay"):
        unvanish.teach("depth-dcay")
    with pytest.raises(BadInput, match="steps must be"):
        unvanish.teach("detached").train(0)


def test_teach_leaves_the_random_state_as_it_was() -> None:
    before = (torch.get_rng_state(), random.getstate(), copy.deepcopy(np.random.get_state()[1]))
    opened = unvanish.teach("depth-decay")
    opened.train(2)
    assert opened.sick is not None
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert (np.random.get_state()[1] == before[2]).all()


# --- questions ------------------------------------------------------------------------------------


def test_every_lesson_has_a_question_with_one_answer() -> None:
    for one in ALL:
        question = one.question
        assert 2 <= len(question.choices) <= 4
        assert len(set(question.choices)) == len(question.choices)
        assert 0 <= question.right < len(question.choices)
        assert question.because.endswith(".")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_and_question_is_told_in_every_language(language: str) -> None:
    home = "" if language == "en" else f"{language}/"
    with speaking("en"):
        english = {one.page: str(Teaching(one)) for one in ALL}
    with speaking(language):
        for one in ALL:
            page = (DOCS / "lessons" / home / f"{one.page}.md").read_text("utf-8")
            assert page.startswith(f"# {_(one.title)}\n")
            assert RECORDS[one.page]["sick"]["reports"][language] in page
            assert (str(Teaching(one)) == english[one.page]) == (language == "en")
            assert len(set(one.question.lettered)) == len(one.question.choices)


def half(x: float) -> float:
    return torch.tensor(x, dtype=torch.float16).item()


def gradients(name: str) -> dict[str, Any]:
    program = lesson(name).sick(0)
    program["loss"](program["model"](program["data"][0]), program["data"][1]).backward()
    return {n: p.grad for n, p in program["model"].named_parameters()}


def cosine_at_the_end(name: str) -> float:
    program = lesson(name).sick(0)
    with torch.no_grad():
        states = nn.functional.normalize(program["model"][:-1](program["data"][0]), dim=1)
    return (states[0] @ states[1]).item()


def straightness(name: str) -> float:
    levels = np.log10(np.array(RECORDS[name]["sick"]["depth"][2:-2]))
    return abs(np.corrcoef(np.arange(len(levels)), levels)[0, 1])


def wired() -> list[float | None]:
    found = gradients("wiring")
    towers = (found[f"{name}.0.weight"] for name in ("cut", "silent", "far"))
    return [None if gradient is None else gradient.norm().item() for gradient in towers]


def zeros(side: str) -> list[float]:
    """The share of zeros among the gradients of the false alarms' program, seed by seed."""
    shares = []
    for seed in range(2):
        program = getattr(lesson("false-alarms"), side)(seed)
        program["loss"](program["model"](program["data"][0]), program["data"][1]).backward()
        every = torch.cat([p.grad.flatten() for p in program["model"].parameters()])
        shares.append((every == 0).float().mean().item())
    return shares


def growth(name: str) -> float:
    """By how much the gradient grows in a layer."""
    depth = RECORDS[name]["sick"]["depth"]
    return (depth[5] / depth[-5]) ** (1 / (len(depth) - 10))


CHECKS = {
    "half-precision-underflow": lambda: half(2.9e-8) == 0 != half(6e-8),
    "half-precision-weights": lambda: half(1 - 0.0001) == 1,
    "single-unit-softmax": lambda: torch.softmax(torch.tensor([-9.0]), 0).item() == 1,
    "double-softmax": lambda: round(math.e / (math.e + 9), 2) == 0.23,
    "saturated-activation": lambda: (
        abs(torch.sigmoid(torch.tensor(-6.9)).item() * (1 - 0.001) - 1e-3) < 1e-4
    ),
    "nonfinite-forward": lambda: (
        not any(g.isfinite().all() for g in gradients("nonfinite-forward").values())
    ),
    "detached": lambda: all(
        (g is None) == n.startswith("encoder.") for n, g in gradients("detached").items()
    ),
    "collapsed-signal": lambda: cosine_at_the_end("collapsed-signal") > 0.985,
    "depth-decay": lambda: straightness("depth-decay") > 0.99,
    "init-too-small": lambda: 0.06**9 < 2.0**-24,
    "time-growth": lambda: 5e14 < 2**50 < 2e15,
    "wrong-sign": lambda: (
        RECORDS["wrong-sign"]["sick"]["losses"][-1] < RECORDS["wrong-sign"]["sick"]["losses"][0] < 0
    ),
    "nothing-to-learn": lambda: RECORDS["nothing-to-learn"]["sick"]["losses"][-1] < 0.1,
    "no-nonlinearity": lambda: abs(RECORDS["no-nonlinearity"]["sick"]["right"] - 0.5) < 0.15,
    "post-norm-depth": lambda: (
        max(RECORDS["post-norm-depth"]["sick"]["depth"])
        < 10 * min(RECORDS["post-norm-depth"]["sick"]["depth"])
    ),
    "nonfinite-backward": lambda: math.isinf(
        torch.autograd.grad((x := torch.zeros(1, requires_grad=True)).sqrt(), x)[0].item()
    ),
    "always-clipped": lambda: RECORDS["always-clipped"]["sick"]["losses"][-1] > 1.0,
    "dead-units": lambda: (
        RECORDS["dead-units"]["sick"]["moved"] < RECORDS["dead-units"]["well"]["moved"]
    ),
    "wiring": lambda: wired() == [None, 0.0, pytest.approx(5e-7, rel=0.2)],
    "false-alarms": lambda: min(zeros("well")) > 0.9,
    "residual": lambda: pytest.approx(math.sqrt(1 / 6), abs=0.003) == 0.41,
    "batch-norm": lambda: growth("batch-norm") == pytest.approx(1.2, abs=0.05),
    "detector": lambda: RECORDS["detector"]["well"]["findings"] == [],
    "mirrored": lambda: cosine_at_the_end("mirrored") > 0.99,
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_answer_to_a_question_is_so(name: str) -> None:
    assert CHECKS[name]()
