"""Every remedy is known, fits what names it, changes nothing by planning, and cures its lesson."""

import copy
import itertools
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch
from treated import findings, patient_of, treated

from unvanish.causes import CAUSES
from unvanish.causes.cause import Cause
from unvanish.cli import run
from unvanish.errors import BadInput
from unvanish.lessons import LESSONS
from unvanish.lessons.lesson import Lesson
from unvanish.remedies import REMEDIES, explain_remedy
from unvanish.remedies.ordering import KEEPS, LEVELS, Candidate, candidates
from unvanish.remedies.remedy import RemedyCard
from unvanish.report.next_steps import NEXT as _NEXT
from unvanish.surgery.edits import ARCHITECTURE, Edit

# torch itself warns of two of the faults; the tests run with warnings as errors.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a target size", "ignore:None of the inputs have requires_grad"
)
NOTHING_TO_DO = ("blind-spot",)
ADVICE_ALONE = frozenset(
    """nonfinite-forward nonfinite-backward loss-scale-collapse detached
    half-precision-weights clip-before-unscale wrong-sign nothing-to-learn""".split()
)
"""Findings of lessons that only an author can mend: in the source, the data or the loop."""
OF_LESSONS = [lesson for lesson in LESSONS if lesson.finding not in NOTHING_TO_DO]


def named(cause: Cause) -> tuple[str, ...]:
    """The remedies that the findings of a cause name."""
    return getattr(sys.modules[cause.find.__module__], "REMEDIES", ())


def by_finding(lesson: Lesson) -> object:
    return lesson.finding


def test_every_name_that_a_cause_or_the_report_uses_is_a_remedy() -> None:
    known = {remedy.card.name for remedy in REMEDIES}
    assert {name for cause in CAUSES for name in named(cause)} == known == set(_NEXT)


def test_every_remedy_treats_exactly_the_findings_that_name_it() -> None:
    for remedy in REMEDIES:
        naming = {cause.card.name for cause in CAUSES if remedy.card.name in named(cause)}
        assert set(remedy.treats) == naming, remedy.card.name


def test_remedies_stand_in_the_order_of_their_levels() -> None:
    levels = [LEVELS.index(remedy.level) for remedy in REMEDIES]
    assert levels == sorted(levels)
    assert len({remedy.card.name for remedy in REMEDIES}) == len(REMEDIES)


def test_advice_is_advice_both_by_level_and_by_safety() -> None:
    assert all((r.level == "advice") == (r.safety == "advice") for r in REMEDIES)


@pytest.mark.parametrize("card", [r.card for r in REMEDIES], ids=lambda card: card.name)
def test_card_is_complete(card: RemedyCard) -> None:
    for part in (card.title, card.what, card.harms, card.reference):
        assert len(part) > 6
        assert "  " not in part
    for heading in ("What it does", "When it harms", "Reference"):
        assert heading in card.text()
    assert explain_remedy(card.name.upper()) is card


def test_explaining_another_name_lists_the_nearest() -> None:
    with pytest.raises(BadInput, match="gate-bias"):
        explain_remedy("gate-bais")


@pytest.mark.parametrize("lesson", OF_LESSONS, ids=by_finding)
def test_a_lesson_has_candidates_whatever_is_to_be_kept(lesson: Lesson) -> None:
    patient = patient_of(lesson.sick())
    before = {k: v.clone() for k, v in patient.model.state_dict().items()}
    random = torch.random.get_rng_state()
    found = {keep: candidates(patient, keep) for keep in KEEPS}
    for name, value in patient.model.state_dict().items():
        assert torch.equal(value, before[name]) or bool(value.isnan().any())
    assert torch.equal(torch.random.get_rng_state(), random)
    for keep, more in itertools.pairwise(KEEPS):
        assert {key(c) for c in found[keep]} <= {key(c) for c in found[more]}
    assert found["anything"]
    assert any(lesson.finding in c.findings for c in found["anything"])
    # An activation between layers is architecture, and nothing else helps.
    assert found["function"] or lesson.finding == "no-nonlinearity"


def key(candidate: Candidate) -> str:
    return json.dumps([edit.to_json() for edit in candidate.plan], sort_keys=True)


@pytest.mark.parametrize("lesson", OF_LESSONS, ids=by_finding)
def test_plans_are_records_in_order_and_within_what_is_kept(lesson: Lesson) -> None:
    patient = patient_of(lesson.sick())
    every = candidates(patient, "anything")
    assert len({key(c) for c in every}) == len(every)
    roots = {f.name for f in patient.diagnosis.findings if f.because is None}
    first = [LEVELS.index(c.level) for c in every if c.findings[0] in roots]
    severity = {f.name: f.severity for f in patient.diagnosis.findings}
    if "note" not in severity.values():
        assert first == sorted(first)
    for candidate in every:
        restored = [Edit.from_json(json.loads(json.dumps(e.to_json()))) for e in candidate.plan]
        assert restored == [e for e in candidate.plan]
        if candidate.level == "advice":
            assert all(len(str(e.options["text"])) > 20 for e in candidate.plan)
    for candidate in candidates(patient, "function"):
        changes = any(edit.action in ARCHITECTURE for edit in candidate.plan)
        assert candidate.level == "wiring" or not changes
    if lesson.finding in ADVICE_ALONE:
        mine = [c for c in every if lesson.finding in c.findings]
        assert {c.level for c in mine} == {"advice"}


@pytest.mark.parametrize(
    "lesson", [one for one in OF_LESSONS if one.finding not in ADVICE_ALONE], ids=by_finding
)
def test_the_first_plan_that_is_no_clipping_or_plain_orthogonality_cures_the_lesson(
    lesson: Lesson,
) -> None:
    patient = patient_of(lesson.sick())
    # Clipping bounds steps and mends no ledger; orthogonal weights behind ReLU collapse as He's do.
    plans = [
        c
        for c in candidates(patient, "anything")
        if lesson.finding in c.findings
        and c.level != "advice"
        and c.remedy not in ("clip", "orthogonal")
    ]
    left = findings(treated(lesson.sick(), plans[0].plan))
    assert lesson.finding not in left
    assert left == {}


def test_a_healthy_program_has_no_candidates() -> None:
    for lesson in LESSONS[::4]:
        assert candidates(patient_of(lesson.well()), "anything") == ()


def test_keep_is_one_of_four() -> None:
    patient = patient_of(LESSONS[0].well())
    with pytest.raises(BadInput, match="function, layers, shape, anything"):
        candidates(patient, "all")  # type: ignore[arg-type]


def test_a_plan_asked_for_twice_is_one_candidate_for_both_findings() -> None:
    lesson = next(one for one in LESSONS if one.finding == "init-too-large")
    patient = patient_of(lesson.sick())
    assert [f.name for f in patient.diagnosis.findings] == ["init-too-large", "chaotic-signal"]
    assert candidates(patient)[0].findings == ("init-too-large", "chaotic-signal")


def test_planning_leaves_an_optimizer_alone() -> None:
    lesson = next(one for one in LESSONS if one.finding == "step-too-large")
    patient = patient_of(lesson.sick())
    assert isinstance(patient.optimizer, torch.optim.Optimizer)
    before = copy.deepcopy(patient.optimizer.state_dict())
    candidates(patient, "anything")
    assert patient.optimizer.state_dict() == before


def test_the_page_of_remedies_is_written_from_the_cards() -> None:
    docs = Path(__file__).resolve().parents[1] / "docs"
    written = runpy.run_path(str(docs / "remedies.py"))["page"]()
    there = (docs / "remedies.md").read_text(encoding="utf-8")
    assert written == there, "run python docs/remedies.py"


def test_explain_prints_the_card_of_a_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "gate-bias"]) == 0
    said = capsys.readouterr().out
    assert "forget gates that start open" in said
    assert said.endswith("Treats:  time-decay\n")
    assert run(["explain"]) == 0
    listed = capsys.readouterr().out
    assert all(remedy.card.name in listed for remedy in REMEDIES)
    assert not {r.card.name for r in REMEDIES} & {cause.card.name for cause in CAUSES}
