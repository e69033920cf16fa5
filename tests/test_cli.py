"""The command line as a stranger uses it: exit statuses, one line on stderr, clean stdout."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from unvanish.cli import run

PROGRAM = """
import torch
from torch import nn

def deep():
    torch.manual_seed(0)
    layers = []
    for _ in range(20):
        layers += [nn.Linear(16, 16), nn.Sigmoid()]
    data = torch.randn(32, 16), torch.randint(3, (32,))
    return nn.Sequential(*layers, nn.Linear(16, 3)), data, nn.CrossEntropyLoss()

def fine():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
    data = torch.randn(32, 16), torch.randint(3, (32,))
    return {"model": model, "data": data, "loss": nn.CrossEntropyLoss()}

def wrong_shape():
    model, _, loss = deep()
    return model, (torch.randn(4, 7), torch.zeros(4).long()), loss

def steps():
    program = fine()
    program["optimizer"] = torch.optim.SGD(program["model"].parameters(), 0.05)
    return {**program, "steps": 3}

def by_itself():
    program = fine()
    loss = program.pop("loss")
    return {**program, "forward": lambda model, batch: loss(model(batch[0]), batch[1])}

def raises():
    raise KeyError("no such thing")

def two():
    return 1, 2

number = 3
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "user_program.py"
    path.write_text(PROGRAM)
    return str(path)


def test_finding_is_status_one_and_printed(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diagnose", f"{program}:deep"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("Broken: The gradient vanishes with depth")
    assert "activation -0.6" in out
    assert err == ""
    assert "\x1b" not in out  # no colours in a pipe


def test_healthy_is_status_zero(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", f"{program}:fine"]) == 0
    assert capsys.readouterr().out.startswith("Healthy")


def test_target_may_bring_steps_and_the_option_overrules_it(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diagnose", f"{program}:steps"]) == 0
    assert "3 steps" in capsys.readouterr().out
    assert run(["diagnose", f"{program}:steps", "--steps", "5"]) == 0
    assert "5 steps" in capsys.readouterr().out


def test_target_may_bring_its_own_forward(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose", f"{program}:by_itself"]) == 0
    assert capsys.readouterr().out.startswith("Healthy")


def test_json_on_standard_output_is_all_there_is(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diagnose", f"{program}:deep", "--json", "-"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["healthy"] is False
    assert data["findings"][0]["name"] == "depth-decay"


def test_files_are_written(program: str, tmp_path: Path) -> None:
    page, data = tmp_path / "report.html", tmp_path / "diagnosis.json"
    assert run(["diagnose", f"{program}:deep", "--html", str(page), "--json", str(data)]) == 1
    assert "depth-decay" in page.read_text()
    assert "http" not in page.read_text().replace("http-equiv", "")
    assert json.loads(data.read_text())["findings"]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("{program}", "must be file.py:name"),
        ("{program}:dep", "did you mean deep"),
        ("nowhere.py:deep", "no file nowhere.py"),
        ("no.such.module:deep", "cannot be imported"),
        ("{program}:raises", "no such thing"),
        ("{program}:two", "must return"),
        ("{program}:number", "not a function"),
        ("{program}:wrong_shape", "shapes cannot be multiplied"),
    ],
)
def test_bad_target_is_status_two_and_one_line(
    program: str, target: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["diagnose", target.format(program=program)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_wrong_usage_is_status_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["diagnose"]) == 2
    assert run(["diagnose", "x.py:y", "--no-such-option"]) == 2
    assert run(["no-such-command"]) == 2
    assert "Usage" in capsys.readouterr().err


def test_language_that_is_not_there_yet_is_said(
    program: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = str(tmp_path / "x.html")
    assert run(["diagnose", f"{program}:fine", "--html", page, "--language", "xx"]) == 2
    assert "xx" in capsys.readouterr().err


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "depth-decay"]) == 0
    said = capsys.readouterr().out
    assert "What to do" in said
    assert "Lesson: Twenty sigmoids" in said
    target = "unvanish.lessons.depth_decay:sick"
    assert said.endswith(f"  Try it: unvanish diagnose {target}\n")
    assert run(["diagnose", target]) == 1
    assert capsys.readouterr().out.startswith("Broken: The gradient vanishes with depth")
    assert run(["explain", "look-alike"]) == 0  # never a finding: there is nothing to try
    assert "Try it" not in capsys.readouterr().out
    assert run(["explain"]) == 0
    assert "UV901" in capsys.readouterr().out
    assert run(["explain", "nonsense"]) == 2


def test_our_own_failure_is_status_three(
    monkeypatch: pytest.MonkeyPatch, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import unvanish.diagnosing

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inside")

    monkeypatch.setattr(unvanish.diagnosing, "diagnose", broken)
    assert run(["diagnose", f"{program}:fine"]) == 3
    assert "report" in capsys.readouterr().err


def test_module_can_be_run(program: str) -> None:
    command = [sys.executable, "-m", "unvanish", "diagnose", f"{program}:fine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
