"""unvanish diagnose TARGET."""

import json
from typing import TYPE_CHECKING

import click

from unvanish.cli.files import check_files
from unvanish.cli.progress import working
from unvanish.cli.speech import SpokenCommand, language_option
from unvanish.cli.target import at_home, load_target
from unvanish.languages import filled, spoken
from unvanish.languages import gettext as _

if TYPE_CHECKING:
    from unvanish.diagnosis import Diagnosis


@click.command(cls=SpokenCommand)
@click.argument("target")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write the diagnosis as JSON ('-': standard output).",
)
@click.option("--html", "html_file", metavar="FILE", help="Write the report as one HTML page.")
@language_option
@click.option(
    "--steps",
    type=click.IntRange(min=0),
    help="Real steps a copy may take.  [default: what TARGET says, else 0]",
)
@click.option(
    "--seed",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Random seed while observing.",
)
def diagnose(
    target: str,
    json_file: str | None,
    html_file: str | None,
    steps: int | None,
    seed: int,
) -> int:
    """Say whether the gradient arrives in TARGET's model, and if not, where it is lost and why.

    TARGET is file.py:name or package.module:name, where name is a function without arguments that
    returns (model, data, loss), (model, data, loss, optimizer), or a mapping with those keys.
    """
    check_files(json=json_file if json_file != "-" else None, html=html_file)
    with working(_("loading torch and the target")):
        from unvanish.diagnosing import diagnose as run_diagnosis

        program = load_target(target)
        if steps is not None:
            program["steps"] = steps
    with working(_("observing one forward and one backward pass")), at_home(target):
        result = run_diagnosis(**program, seed=seed)
    if json_file != "-":
        show(result)
    if json_file:
        _write_json(result, json_file)
    if html_file:
        result.report(html_file, spoken())
        written = filled(_("report written to {file}"), file=html_file)
        click.echo(f"\n{written}", err=json_file == "-")
    return 0 if result.healthy else 1


def show(result: "Diagnosis") -> None:
    """Print the report: in colour on a terminal, as plain text in a pipe."""
    from rich.console import Console

    from unvanish.report import text

    console = Console(highlight=False, width=None)
    if console.is_terminal:
        console.print(text.report(result))
    else:
        click.echo(text.render(result))


def _write_json(result: "Diagnosis", json_file: str) -> None:
    if json_file == "-":
        click.echo(json.dumps(result.to_json(), allow_nan=False))
        return
    result.save(json_file)
