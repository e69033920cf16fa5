"""The rules of the house that a machine can check: style, types, layers, and who may do what."""

import ast
import itertools
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "unvanish"
SOURCES = sorted(PACKAGE.rglob("*.py"))

MAY_PRINT = ("cli", "report")
MAY_HOOK = ("probe", "training", "twins", "watching")  # twins: the user's own, onto a copy
PRINTS = {"print", "echo", "secho"}
SHAPELESS = {"utils", "util", "helpers", "core", "base", "common", "types", "manager"}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check", "."], id="lint"),
        pytest.param(["ruff", "format", "--check", "."], id="format"),
        pytest.param(["pyright", "--pythonpath", sys.executable], id="types"),
        pytest.param(["lint-imports", "--no-cache"], id="layers"),
    ],
)
def test_tool_has_nothing_to_say(command: list[str]) -> None:
    tool = shutil.which(command[0], path=sysconfig.get_path("scripts"))
    if tool is None:
        pytest.skip(f"{command[0]} is not installed in this environment: pip install -e '.[dev]'")
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_only_the_right_places_print_and_hook(source: Path) -> None:
    home = source.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for name, line in calls_in(source):
        place = f"{source.relative_to(ROOT)}:{line}: {name}"
        if name in PRINTS:
            assert home in MAY_PRINT, f"{place}: only {', '.join(MAY_PRINT)} may print"
        if name.startswith("register_") and "hook" in name:
            assert home in MAY_HOOK, f"{place}: only {', '.join(MAY_HOOK)} may register hooks"


def test_every_file_is_named_for_what_is_in_it() -> None:
    names = {path: path.relative_to(PACKAGE).with_suffix("").parts for path in SOURCES}
    assert not [str(path) for path, parts in names.items() if SHAPELESS & set(parts)]


def test_import_does_nothing() -> None:
    code = "import sys, unvanish; print(sorted({'torch', 'numpy', 'rich', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_direct_dependency_is_pinned_for_development() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    asked = [*project["dependencies"], *itertools.chain.from_iterable(extras)]
    pinned = re.findall(
        r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M
    )
    missing = {plain(name) for name in asked} - {plain(name) for name in pinned} - {"unvanish"}
    assert not missing


def calls_in(source: Path) -> Iterator[tuple[str, int]]:
    """Names of the functions and methods that a file calls, with the line."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                yield function.attr, node.lineno
            elif isinstance(function, ast.Name):
                yield function.id, node.lineno


def plain(requirement: str) -> str:
    """``"Torch[x]>=2"`` -> ``"torch"``."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("_", "-")
