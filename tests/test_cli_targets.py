"""A TARGET's file finds the arguments that it would find by itself, and may not end our program."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import unvanish.treatment
from unvanish.cli import run
from unvanish.errors import BadInput

MAKES = """
def program():
    print(sys.argv, PARSER.parse_args())
    model = nn.Sequential(nn.Linear(8, LOADED.width), nn.ReLU(), nn.Linear(LOADED.width, 3))
    return model, (torch.randn(32, 8), torch.randint(3, (32,))), nn.CrossEntropyLoss()
"""
PARSES = f"""
import argparse
import sys

import torch
from torch import nn

torch.manual_seed(0)
PARSER = argparse.ArgumentParser()
PARSER.add_argument("--width", type=int, default=16)
LOADED = PARSER.parse_args()
print(sys.argv, PARSER.prog)
{MAKES}
if __name__ == "__main__":
    program()
"""


@pytest.fixture
def parses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "reads_arguments.py").write_text(PARSES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["unvanish", "diagnose", "x.py:y", "--seed", "3"])
    return "reads_arguments.py"


def test_a_file_reads_the_arguments_that_it_has_by_itself(
    parses: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_itself = subprocess.run(
        [sys.executable, parses], capture_output=True, text=True, check=True
    ).stdout
    ours = list(sys.argv)
    assert run(["diagnose", f"{parses}:program"]) == 0
    assert sys.argv == ours
    out = capsys.readouterr().out
    assert out.startswith(by_itself)
    assert "Healthy" in out


def test_a_treatment_calls_it_again_with_the_same_arguments(
    parses: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    met: list[list[str]] = []

    def treat(*_: Any, program: Any, **__: Any) -> None:
        met.append(sys.argv)  # what other processes are started with
        program()
        raise BadInput("enough.")

    monkeypatch.setattr(unvanish.treatment, "treat", treat)
    assert run(["treat", f"{parses}:program"]) == 2
    assert met == [[parses]]
    out, err = capsys.readouterr()
    assert err == "unvanish: enough.\n"
    assert len(set(out.splitlines()[1:])) == 1


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "import argparse\nparser = argparse.ArgumentParser()\n"
            "parser.add_argument('--rate', required=True)\nparser.parse_args()",
            ["ends.py ended the program while it was loaded (status 2)"],
        ),
        ("raise SystemExit", ["while it was loaded (status 0)"]),
        ("def program(): raise SystemExit(4)", ["ends.py:program() ended the program (status 4)"]),
        (
            "import sys\ndef program(): sys.exit('there are\\nno data.')",
            ["ends.py:program() ended the program (status 1, there are no data)"],
        ),
    ],
    ids=["arguments", "loading", "calling", "sentence"],
)
@pytest.mark.parametrize("command", ["diagnose", "treat"])
def test_a_file_that_ends_the_program_is_said_to_have_done_so(
    source: str,
    words: list[str],
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ends.py").write_text(source)
    before = list(sys.argv)
    assert run([command, "ends.py:program"]) == 2
    assert sys.argv == before
    said = capsys.readouterr().err.splitlines()[-1]
    for word in (*words, "parse_args()", 'if __name__ == "__main__":', "main()"):
        assert word in said


@pytest.mark.parametrize(
    ("value", "said"), [("3", "is an int"), ("3.0", "is a float"), ("object()", "is an object")]
)
def test_what_a_target_is_has_its_article(
    value: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "valued.py"
    place.write_text(f"program = {value}\ndef makes():\n    return {value}\n")
    for name, words in (("program", said), ("makes", said.replace("is", "it returned"))):
        assert run(["diagnose", f"{place}:{name}"]) == 2
        assert f" {words}" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["diagnose", "treat"])
def test_a_target_with_arguments_of_its_own_says_what_to_write(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "takes_arguments.py"
    path.write_text("def program(depth):\n    return depth\ndef free(depth=1):\n    return depth\n")
    assert run([command, f"{path}:program"]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "'depth'" in said
    assert "TARGET must take none, so add a function that returns program(...)" in said
    assert run([command, f"{path}:free"]) == 2  # it could be called: what it returned is wrong
    assert "it returned an int" in capsys.readouterr().err


@pytest.mark.parametrize(
    "value", [["--keep", "all"], ["--steps", "0"], ["--budget", "-1"], ["--seeds", "many"]]
)
def test_a_value_that_is_none_is_one_line(
    value: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["treat", "train.py:program", *value]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("unvanish: ")
    assert value[0] in said
