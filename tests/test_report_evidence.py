"""Every number of a finding or an alarm is named in words, in four languages."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import unvanish
from unvanish.languages import LANGUAGES, speaking
from unvanish.lessons.depth_decay import sick
from unvanish.report.evidence import WORDS, numbers
from unvanish.report.html.findings import evidence_list
from unvanish.report.recorded import evidence_of
from unvanish.report.sections import SHARES

SOURCES = Path(unvanish.__file__).parent
OTHER_TABLES = {
    "causes/half_precision_weights.py": {"float16", "bfloat16"},
    "causes/level.py": None,
    "causes/nonfinite_patterns.py": None,
    "alarms/columns.py": None,
}
"""Tables with other keys than the names of evidence; None: the whole file."""


def _keys(file: Path) -> Iterator[str]:
    """Every key that a dictionary written out in a file has."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            yield from (
                key.value
                for key in node.keys
                if isinstance(key, ast.Constant) and isinstance(key.value, str)
            )


def _given() -> dict[str, str]:
    """The names of evidence that causes and alarms give, with a file that gives it."""
    found: dict[str, str] = {}
    for folder in ("causes", "alarms"):
        for file in sorted((SOURCES / folder).rglob("*.py")):
            place = file.relative_to(SOURCES).as_posix()
            others = OTHER_TABLES.get(place, set())
            if others is not None:
                found |= {key: place for key in _keys(file) if key not in others}
    for role in SHARES:  # how the decades of a stretch are split
        found[f"{role}_decades"] = found[f"{role}_decades_per_layer"] = "causes/depth_decay.py"
    return found


def test_every_number_that_a_cause_or_an_alarm_gives_has_words() -> None:
    given = _given()
    assert {"onset", "decades_per_layer", "learning_rate_step"} <= set(given)
    lacking = {name: place for name, place in given.items() if name not in WORDS}
    assert not lacking, f"name them in unvanish/report/evidence.py: {lacking}"
    assert not set(WORDS) - set(given), "no cause or alarm gives these any more"


def test_what_a_diagnosis_really_finds_has_words() -> None:
    findings = unvanish.diagnose(**sick(0)).findings
    names = {name for finding in findings for name in finding.evidence}
    assert names
    assert names <= set(WORDS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_identifier_is_shown(language: str) -> None:
    evidence = {"onset": 12345.0, "factor_per_layer": 0.14, "learning_rate_step": 7.0}
    with speaking(language):
        told, listed = evidence_of(evidence), str(evidence_list(evidence))
        for name, figure in numbers(evidence):
            assert name in told
            assert name in listed
            assert figure in told
    for shown in (told, listed):
        assert not any(identifier in shown for identifier in evidence)
        assert (WORDS["onset"] in shown) == (language == "en")


def test_a_count_is_written_in_full_and_an_unknown_number_by_its_name() -> None:
    with speaking("en"):
        assert numbers({"onset": 12345.0}) == [("step at which it began", "12,345")]
        assert numbers({"share": 0.123456}) == [("share of the steps", "0.1235")]
        assert numbers({"of_the_future": 1e300}) == [("of the future", "1e+300")]
