"""Every finding has a complete card whose sentence fits the evidence it gives."""

import re
import string

import pytest
from patients import SICK
from patients_gate import SICK_GATE
from patients_steps import SICK_STEPS
from patients_structure import SICK_STRUCTURE

import unvanish
from unvanish.causes import CAUSES
from unvanish.cli import run
from unvanish.errors import BadInput
from unvanish.lessons import LESSONS
from unvanish.remedies import REMEDIES
from unvanish.report.text import sentence

OF_LESSONS = {f"lesson {one.name}": (one.sick, one.finding, "") for one in LESSONS}
ALL_SICK = {**SICK, **SICK_GATE, **SICK_STEPS, **SICK_STRUCTURE, **OF_LESSONS}
# torch itself warns of two of the faults; the tests run with warnings as errors.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using a target size", "ignore:None of the inputs have requires_grad"
)
CARDS = [cause.card for cause in CAUSES]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_card_is_complete(card: unvanish.cards.Card) -> None:
    assert re.fullmatch(r"UV\d{3}", card.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", card.name)
    for part in (card.title, card.says, card.what, card.hurts, card.apart, card.do, card.reference):
        assert len(part) > 10
    for heading in (
        "What it is",
        "Why it hurts",
        "How it is told apart",
        "What to do",
        "Reference",
    ):
        assert heading in card.text()


def test_codes_and_names_are_unique() -> None:
    assert len({card.code for card in CARDS}) == len({card.name for card in CARDS}) == len(CARDS)


def test_consequences_named_exist() -> None:
    names = {card.name for card in CARDS}
    assert {name for cause in CAUSES for name in cause.explains} <= names


def test_every_cause_but_the_note_has_a_sick_patient() -> None:
    patients = {name for _, name, _ in ALL_SICK.values()}
    assert patients == {card.name for card in CARDS} - {"look-alike"}


@pytest.mark.parametrize("name", ALL_SICK)
def test_sentence_knows_all_its_numbers(name: str) -> None:
    finding = unvanish.diagnose(**ALL_SICK[name][0](0)).findings[0]
    said = sentence(finding)
    assert "?" not in said, said
    places = {
        field
        for _, field, _, _ in string.Formatter().parse(unvanish.explain(finding.name).says)
        if field
    }
    assert places - {"where", "places", "detail"} <= set(finding.evidence)


def test_explain_by_code_and_name() -> None:
    assert unvanish.explain("UV301") is unvanish.explain("Depth-Decay")


def test_explain_something_else_lists_the_nearest() -> None:
    with pytest.raises(BadInput, match="depth-decay"):
        unvanish.explain("depth-dcay")


@pytest.mark.parametrize("width", [60, 120])
def test_every_card_fits_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [card.name for card in CARDS] + [remedy.card.name for remedy in REMEDIES]
    widest = 0
    for name in names:
        with monkeypatch.context() as here:
            assert run(["explain", name]) == 0
            in_pipe = capsys.readouterr().out
            here.setenv("FORCE_COLOR", "1")  # a terminal to rich
            here.setenv("COLUMNS", str(width))
            assert run(["explain", name]) == 0
            on_terminal = capsys.readouterr().out
        lines = [line for line in on_terminal.splitlines() if "unvanish diagnose" not in line]
        widest = max(widest, *map(len, lines))
        assert max(map(len, lines)) <= width, name
        # A word may be cut where a hyphen stands.
        assert "".join(on_terminal.split()) == "".join(in_pipe.split())
        assert max(map(len, in_pipe.splitlines())) <= 88, name
    assert widest > width - 10


def test_the_list_of_cards_fits_a_terminal_and_has_a_line_for_each_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain"]) == 0
    in_pipe = capsys.readouterr().out
    assert len(in_pipe.splitlines()) == len(CARDS) + len(REMEDIES)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "64")
    assert run(["explain"]) == 0
    on_terminal = capsys.readouterr().out
    assert max(map(len, on_terminal.splitlines())) <= 64
    assert on_terminal.split() == in_pipe.split()
