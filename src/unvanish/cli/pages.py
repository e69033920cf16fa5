"""What the commands that serve pages share: their options, and in which language they speak."""

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from unvanish.languages import LANGUAGES, spoken


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--port``, ``--no-browser`` and ``--language``."""
    for option in (
        click.option(
            "--language",
            metavar="|".join(LANGUAGES),
            help="Language of the pages.  [default: what the browser prefers]",
        ),
        click.option("--no-browser", is_flag=True, help="Print the address only, open no browser."),
        click.option(
            "--port",
            type=click.IntRange(min=0, max=65535),
            default=0,
            help="Port to answer on.  [default: a free one]",
        ),
    ):
        command = option(command)
    return command


def language_of_group() -> str | None:
    """``unvanish --language ru serve``: what was asked for before the command's name."""
    parent = click.get_current_context().parent
    given = parent is not None and parent.get_parameter_source("language")
    return spoken() if given == ParameterSource.COMMANDLINE else None
