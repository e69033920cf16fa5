"""unvanish serve [RUN_DIR]."""

from pathlib import Path

import click

from unvanish.cli.pages import language_of_group, page_options
from unvanish.cli.speech import SpokenCommand
from unvanish.languages import speaking


@click.command(cls=SpokenCommand)
@click.argument("run_dir", required=False)
@page_options
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
