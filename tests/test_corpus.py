"""The benchmark's corpus builds, its labels are known, and its scoring rule says what it says."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from corpus import CASES, CAUSES, EXACT, PROGRAMS, Case, graded
from corpus.scoring import Named, inside, score
from corpus_check import check, labelled, step_loss

# torch warns of two of the faults: a reentrant checkpoint over frozen inputs, shapes that broadcast.
pytestmark = [
    pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad"),
    pytest.mark.filterwarnings("ignore:Using a target size"),
]
SICK = [case for case in PROGRAMS if not case.healthy]
WELL = [case for case in PROGRAMS if case.healthy]
DISTINCT = [case for case in PROGRAMS if not case.name.endswith("disguised")]


@pytest.mark.parametrize("case", DISTINCT, ids=lambda case: case.name)
def test_program_builds_and_has_a_loss(case: Case) -> None:
    drawn = case.build(0, True)
    data = drawn.program["data"]
    batch = data if isinstance(data, tuple) else data[0]
    assert step_loss(drawn.program, batch).ndim == 0
    model = drawn.program["model"]
    known = {n for n, _ in model.named_modules()} | {n for n, _ in model.named_parameters()}
    assert set(drawn.where) <= known


def test_seed_alone_decides() -> None:
    for case in CASES[::7]:
        first, again = (case.build(3, True).program["model"].state_dict() for _ in range(2))
        assert all(torch.equal(first[k], again[k]) for k in first)


def test_counts_and_labels() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert len(SICK) >= 60
    assert len(WELL) >= 40
    assert sum(bool(case.suspicious) for case in WELL) >= 25
    # A third is drawn: architecture and fault, or the strength of a fault from none to far too much.
    graded = sum(case.graded for case in CASES)
    drawn = sum(case.generated for case in DISTINCT) + graded
    assert 3 * drawn >= len(DISTINCT) + graded
    assert {case.cause for case in SICK} <= CAUSES
    assert {name for case in SICK for name in case.also} <= CAUSES
    assert {case.cause for case in SICK} == CAUSES, "a cause without a program"
    assert EXACT <= CAUSES


def test_training_tells_a_true_label_from_a_false_one() -> None:
    by_name = {case.name: case for case in CASES}
    assert check(by_name["dead layer"], 0)["holds"]
    assert check(by_name["features detached"], 0)["holds"]
    wide = by_name["wide relu"]
    lie = Case("lie", "mlp", wide.build, "dead-units")
    assert not check(lie, 0)["holds"]


@pytest.mark.parametrize(
    ("learned", "share", "cause"),
    [
        (True, 0.3, "time-decay"),
        (True, 0.97, None),
        (True, 0.8, ""),
        (False, 0.3, ""),
        (True, None, ""),
    ],
)
def test_training_labels_the_graded(learned: bool, share: float | None, cause: str | None) -> None:
    case = next(case for case in graded.CASES if case.cause == "time-decay")
    rows = {case.name: {"0": {"holds": True, "learned": learned, "share": share}}}
    found = labelled(rows, case, 0)
    assert (found.cause if found else "") == cause
    assert labelled({}, case, 0) is None


def test_a_disguise_moves_the_place_with_the_model() -> None:
    for case in (c for c in PROGRAMS if c.name.endswith("disguised")):
        drawn = case.build(1, True)
        model = drawn.program["model"]
        known = {n for n, _ in model.named_modules()} | {n for n, _ in model.named_parameters()}
        assert set(drawn.where) <= known


ILL = Case("ill", "mlp", CASES[0].build, "depth-decay", ("init-too-small",))
FINE = Case("fine", "mlp", CASES[0].build)


def said(name: str, *where: str, alarm: bool = True) -> Named:
    return Named(frozenset({name}), where, alarm, name)


@pytest.mark.parametrize(
    ("case", "places", "found", "points"),
    [
        (ILL, (), [said("depth-decay")], 1.0),
        (ILL, (), [said("init-too-small")], 1.0),
        (ILL, ("body",), [said("depth-decay", "body.3")], 1.0),
        (ILL, ("body",), [said("depth-decay", "head")], 0.5),
        (ILL, (), [said("detached"), said("depth-decay")], 0.5),
        (ILL, (), [said("detached")] * 3 + [said("depth-decay")], -1.0),
        (ILL, (), [said("detached")], -1.0),
        (ILL, (), [said("detached", alarm=False)], 0.0),
        (ILL, (), [], 0.0),
        (FINE, (), [], 0.0),
        (FINE, (), [said("depth-decay", alarm=False)], 0.0),
        (FINE, (), [said("depth-decay")], -1.0),
    ],
)
def test_score(case: Case, places: tuple[str, ...], found: list[Named], points: float) -> None:
    assert score(case, places, found).points == points


def test_place() -> None:
    assert inside("body.3.weight", "body.3")
    assert inside("body.3", "body.3.weight")
    assert not inside("body", "body.3.net")
    assert not inside("body.31", "body.3")
    assert inside("", "")
    assert not inside("body", "")
