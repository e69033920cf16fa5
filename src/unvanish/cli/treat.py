"""unvanish treat TARGET."""

import contextlib
import math
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unvanish.cli.columns import columns
from unvanish.cli.files import check_files, writing
from unvanish.cli.progress import working
from unvanish.cli.speech import SpokenCommand, language_option
from unvanish.cli.target import at_home, find_function, made_by
from unvanish.languages import filled, recognised, spoken
from unvanish.languages import gettext as _
from unvanish.saved import write_whole

if TYPE_CHECKING:
    from unvanish.treatment import Treatment


def _seconds(context: click.Context, option: click.Parameter, value: float | None) -> float | None:
    """A budget, refused in the words of the command line."""
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.BadParameter(
            _("give the seconds that it may take, above zero; without --budget there is no limit.")
        )
    return value


@click.command(cls=SpokenCommand)
@click.argument("target")
@click.option(
    "--keep",
    type=click.Choice(["function", "layers", "shape", "anything"]),
    default="function",
    show_default=True,
    help="How far the cure may go: no module changes; activations; norms and skips; cells too.",
)
@click.option("--patch", "patch_file", metavar="FILE", help="Write the cure as a unified diff.")
@click.option("--cure", "cure_file", metavar="FILE", help="Write the cure as a Python script.")
@click.option("--html", "html_file", metavar="FILE", help="Write the report as one HTML page.")
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Training steps of each run.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    default=5,
    show_default=True,
    help="Pairs of runs in the trial.",
)
@click.option(
    "--budget",
    type=float,
    metavar="SECONDS",
    callback=_seconds,
    help="About how long it may take.",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Runs of the trial at a time, each in a process of its own.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Random seed of the search.",
)
@language_option
def treat(
    target: str,
    keep: str,
    patch_file: str | None,
    cure_file: str | None,
    html_file: str | None,
    budget: float | None,
    **settings: Any,
) -> int:
    """Find the smallest change that makes TARGET's model learn, and prove it by paired trials.

    TARGET is what `unvanish diagnose` takes. Exit status: 0 healthy or cured, 1 neither.
    """
    check_files(patch=patch_file, cure=cure_file, html=html_file)
    with at_home(target):
        treatment = _treated(target, keep=keep, budget_s=budget, **settings)
        _show(treatment)
        _write(treatment, patch_file, cure_file, html_file)
    return 0 if treatment.cured or treatment.well else 1


def _treated(target: str, **settings: Any) -> "Treatment":
    with working(_("loading torch and the target")):
        from unvanish.treatment import treat as run_treatment

        function = find_function(target)
        program = made_by(function, target)
    for name in ("step", "steps"):
        program.pop(name, None)
    with _told() as progress:
        return run_treatment(**program, progress=progress, program=function, **settings)


def _show(treatment: "Treatment") -> None:
    from unvanish.report.text import WIDTH
    from unvanish.treatment.text import render

    click.echo(render(treatment, spoken(), columns(WIDTH)))


def _write(
    treatment: "Treatment", patch_file: str | None, cure_file: str | None, html_file: str | None
) -> None:
    if (patch_file or cure_file) and not treatment.edits:
        click.echo("\n" + _("no patch: nothing was changed"), err=True)
        patch_file = cure_file = None
    if patch_file:
        treatment.patch.save(patch_file)
        written = filled(_("patch written to {file}: git apply {file}"), file=patch_file)
        click.echo(f"\n{written}")
        for sentence in treatment.patch.cannot:
            _by_hand(sentence)
    if cure_file:
        with writing("--cure", cure_file):
            write_whole(Path(cure_file), treatment.patch.script.encode())
        click.echo("\n" + filled(_("script written to {file}"), file=cure_file))
    if html_file:
        treatment.report(html_file, spoken())
        click.echo("\n" + filled(_("report written to {file}"), file=html_file))


def _by_hand(sentence: str) -> None:
    from unvanish.report.text import WIDTH
    from unvanish.treatment.text import wrapped

    said = filled(_("by hand: {sentence}"), sentence=recognised(sentence))
    click.echo(wrapped(f"  {said}", columns(WIDTH)))


@contextlib.contextmanager
def _told() -> Generator[Callable[[str, float], None] | None]:
    """A line on standard error that says what is being done, if that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    with console.status(_("starting ...")) as status:
        yield lambda doing, seconds: status.update(f"{seconds:4.0f} s  {recognised(doing)}")
