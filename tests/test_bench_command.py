"""unvanish bench: the published benchmarks by name."""

import pytest
from click.testing import CliRunner

from unvanish.cli import run
from unvanish.cli.bench import bench


def test_they_are_listed_with_what_they_ask() -> None:
    listed = CliRunner().invoke(bench, []).output.splitlines()
    names = [line.split()[0] for line in listed]
    assert {"depth", "watch", "treatment", "diagnosis"} <= set(names)
    assert all(len(line.split()) > 3 for line in listed)


def test_one_gets_its_own_arguments(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "depth", "--help"]) == 0
    assert "--table" in capfd.readouterr().out
    assert run(["bench", "depth", "--table", "nothing"]) == 2


def test_an_unknown_one_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "nothing"]) == 2
    assert "there is no benchmark nothing" in capfd.readouterr().err
