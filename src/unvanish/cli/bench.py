"""unvanish bench [NAME] [ARGS...]."""

import ast
import subprocess
import sys
from pathlib import Path

import click

import unvanish


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("name", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(name: str | None, arguments: tuple[str, ...]) -> int:
    """Run one of the published benchmarks, or list them.

    They lie beside the source, not in the installed package; each has its own --help. The exit
    status is that of the benchmark.
    """
    scripts = _scripts()
    if name is None:
        for known, script in scripts.items():
            click.echo(f"{known:<20} {_first_line(script)}")
        return 0
    if name not in scripts:
        raise click.UsageError(f"there is no benchmark {name}; there are: {', '.join(scripts)}.")
    done = subprocess.run([sys.executable, str(scripts[name]), *arguments], check=False)
    return done.returncode


def _scripts() -> dict[str, Path]:
    """The benchmarks by name: the scripts that can be run, without the parts that they are made of."""
    folder = Path(unvanish.__file__).resolve().parents[2] / "benchmarks"
    found = {
        path.stem: path
        for path in sorted(folder.glob("*.py"))
        if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
    }
    if not found:
        raise click.UsageError(
            "the benchmarks are not part of the installed package: run this from a clone of the "
            "source, installed with pip install -e ."
        )
    return found


def _first_line(script: Path) -> str:
    said = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    return said.split("\n", 1)[0]
