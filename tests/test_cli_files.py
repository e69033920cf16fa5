"""Files that commands are to write: refused before anything runs, and one sentence afterwards."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import reported

import unvanish.treatment
from unvanish.cli import run
from unvanish.errors import BadInput

PROGRAM = """
from pathlib import Path

Path("loaded").touch()

def program():
    raise KeyError("it was called")
"""


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("marks.py").write_text(PROGRAM)
    Path("folder.html").mkdir()
    Path("file").write_text("kept")
    return "marks.py:program"


@pytest.mark.parametrize("place", ["nowhere/x.html", "folder.html", "file/x.html"])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("diagnose", "json"),
        ("diagnose", "html"),
        ("treat", "patch"),
        ("treat", "cure"),
        ("treat", "html"),
    ],
)
def test_a_place_that_takes_no_file_is_refused_before_anything_runs(
    command: str, option: str, place: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match=r".+") as truth:
        Path(place).write_text("")
    assert run([command, target, f"--{option}", place]) == 2
    said = capsys.readouterr().err
    assert said == f"unvanish: --{option}: cannot write {place}: {truth.value.strerror}.\n"
    assert not Path("loaded").exists()


@pytest.mark.parametrize("command", ["diagnose", "treat", "show"])
def test_a_page_of_another_name_is_refused_before_anything_runs(
    command: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([command, target, "--html", "x.txt"]) == 2
    assert "--html: x.txt must end in .html" in capsys.readouterr().err
    assert not Path("loaded").exists()


def test_looking_changes_no_file(target: str) -> None:
    assert run(["treat", target, "--patch", "file", "--cure", "other.py"]) == 2  # it raises
    assert Path("loaded").exists()
    assert Path("file").read_text() == "kept"
    assert not Path("other.py").exists()


@pytest.mark.parametrize("option", ["patch", "cure", "html"])
def test_a_file_that_cannot_be_written_in_the_end_is_one_sentence(
    option: str, target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("marks.py").write_text("def program():\n    return 1, 2, 3\n")
    Path("gone").mkdir()

    def treat(*_: Any, **__: Any) -> unvanish.Treatment:
        shutil.rmtree("gone")
        return reported.treated()

    monkeypatch.setattr(unvanish.treatment, "treat", treat)
    assert run(["treat", target, f"--{option}", "gone/x.html"]) == 2
    out, err = capsys.readouterr()
    assert "cured by" in out  # what was found is said all the same
    assert re.fullmatch(
        r"unvanish: .*cannot write gone/x\.html: No such file or directory[^.]*\.\n", err
    )


def test_a_diagnosis_that_cannot_be_saved_says_so(tmp_path: Path) -> None:
    for place in (tmp_path / "nowhere" / "x.json", tmp_path):
        with pytest.raises(BadInput, match=re.escape(f"cannot write {place}: ")):
            reported.diagnosed("healthy").save(place)


@pytest.mark.parametrize("budget", ["0", "-5", "nan", "inf"])
def test_a_budget_is_refused_in_the_words_of_the_command_line(
    budget: str, target: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["treat", target, "--budget", budget]) == 2
    said = capsys.readouterr().err
    assert "--budget" in said
    assert "above zero" in said
    assert "budget_s" not in said
    assert "None" not in said
    assert not Path("loaded").exists()


@pytest.mark.parametrize("option", ["--steps", "--seeds", "--budget", "--jobs", "--seed"])
def test_every_option_of_a_treatment_has_words(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["treat", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.partition("Options:")[2].split())
    words = re.search(rf"{option} [A-Z]+(?: RANGE)?(.*?)(?= --|$)", said)
    assert words is not None
    assert re.match(r" [A-Z][a-z]+", words.group(1))
