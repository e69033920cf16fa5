"""unvanish show RUN_DIR."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unvanish.cli.files import check_files, writing
from unvanish.cli.progress import working
from unvanish.cli.speech import SpokenCommand, language_option
from unvanish.languages import filled
from unvanish.languages import gettext as _
from unvanish.saved import write_whole

if TYPE_CHECKING:
    from unvanish.recording import Recording
    from unvanish.recording.summary import Summary


@click.command(cls=SpokenCommand)
@click.argument("run_dir")
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    help="Write the summary as JSON ('-': standard output).",
)
@click.option("--html", "html_file", metavar="FILE", help="Write the summary as one HTML page.")
@language_option
def show(run_dir: str, json_file: str | None, html_file: str | None) -> int:
    """Say what a recording holds: the verdict, its alarms, the gradient over depth, the cost.

    RUN_DIR is the folder that was given to unvanish.watch(to=...) (the newest recording in it), or
    one recording's file. It may still be being written. Exit status: 0 no alarm stands, 1 one does.
    """
    from unvanish.cli.folding import folded
    from unvanish.recording import Recording
    from unvanish.recording.summarising import summarise

    check_files(json=json_file if json_file != "-" else None, html=html_file)
    with working(_("reading the recording")), Recording.open(run_dir) as recording:
        summary = folded(summarise(recording))
        page = _page(recording, summary) if html_file else ""
    if json_file != "-":
        _print(summary)
    if json_file:
        _write_json(summary, json_file)
    if html_file:
        _write(html_file, page, "--html")
        written = filled(_("report written to {file}"), file=html_file)
        click.echo(f"\n{written}", err=json_file == "-")
    return 0 if summary.healthy else 1


def _page(recording: "Recording", summary: "Summary") -> str:
    from unvanish.report.html import recording_page

    return recording_page(recording, summary)


def _print(summary: "Summary") -> None:
    from rich.console import Console

    from unvanish.report.recording import render_recording, shown

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(shown(summary))
    else:
        click.echo(render_recording(summary))


def _write_json(summary: "Summary", json_file: str) -> None:
    from unvanish.recording.layout import to_json

    if json_file == "-":
        click.echo(to_json(summary.plain()))
    else:
        _write(json_file, json.dumps(json.loads(to_json(summary.plain())), indent=1), "--json")


def _write(place: str, content: str, option: str) -> None:
    with writing(option, place):
        write_whole(Path(place), content.encode())
