"""unvanish serve [RUN_DIR]."""

from pathlib import Path

import click
from click.core import ParameterSource

from unvanish.cli.speech import SpokenCommand
from unvanish.languages import LANGUAGES, speaking, spoken


@click.command(cls=SpokenCommand)
@click.argument("run_dir", required=False)
@click.option(
    "--port",
    type=click.IntRange(min=0, max=65535),
    default=0,
    help="Port to answer on.  [default: a free one]",
)
@click.option("--no-browser", is_flag=True, help="Print the address only, open no browser.")
@click.option(
    "--language",
    metavar="|".join(LANGUAGES),
    help="Language of the pages.  [default: what the browser prefers]",
)
def serve(run_dir: str | None, port: int, no_browser: bool, language: str | None) -> int:
    """Show recordings in the browser, live: heat map, curves, alarms, deep looks.

    RUN_DIR is a folder that holds recordings at any depth, or one recording's file; without it, runs
    if there is such a folder, else this one. The address is printed when it answers. Only this
    machine can open it, and only by the whole address. Ctrl-C ends it; recordings are only read.
    """
    from unvanish.web.dashboard import dashboard
    from unvanish.web.running import serve as run_server
    from unvanish.web.wording import asked_for

    asked = asked_for(language) or language_of_group()
    place = Path(run_dir) if run_dir else next(p for p in (Path("runs"), Path()) if p.is_dir())
    with speaking(asked):
        page = dashboard(place, asked)
        run_server(page, ready=click.echo, port=port, open_browser=not no_browser)
    return 0


def language_of_group() -> str | None:
    """``unvanish --language ru serve``: what was asked for before the command's name."""
    parent = click.get_current_context().parent
    given = parent is not None and parent.get_parameter_source("language")
    return spoken() if given == ParameterSource.COMMANDLINE else None
