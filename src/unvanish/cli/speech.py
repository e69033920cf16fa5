"""The command line in the user's language: one option for every command, and help that follows it."""

import inspect
import os
import textwrap
from collections.abc import Callable
from typing import Any

import click

from unvanish.languages import LANGUAGES, VARIABLE, gettext, marked, speak

_OWN = (
    marked("Show this message and exit."),
    marked("Show the version and exit."),
    marked("[default: "),
    marked("[required]"),
)
"""Words of click's own help."""


def language_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--language``: everything this command says is said in it, until the command is over."""
    return click.option(
        "--language",
        metavar="|".join(LANGUAGES),
        is_eager=True,
        expose_value=False,
        callback=_speak,
        help="Language of what is said.  [default: the system's, else en]",
    )(command)


def _speak(context: click.Context, option: click.Parameter, language: str | None) -> None:
    # An option given before the command's name holds unless the command has its own.
    if context.parent is None:
        language = language or os.environ.get(VARIABLE)
    # Until `run` ends, not until the context does: click never closes the context of a command line
    # that it refuses, and what is said of the refusal is said in this language.
    speak(language or None)


class SpokenCommand(click.Command):
    """A command whose help is translated when it is shown."""

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        pieces = self.collect_usage_pieces(ctx)
        prefix = gettext("Usage: ")
        formatter.write_usage(ctx.command_path, " ".join(pieces), prefix=prefix)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(gettext(_clean(self.help)))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [row for option in self.get_params(ctx) if (row := _row(option, ctx))]
        with formatter.section(gettext("Options")):
            formatter.write_dl(rows)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence of the help, or its beginning."""
        first, stop, _ = gettext(_clean(self.help)).partition(". ")
        return textwrap.shorten(first + stop.strip(), limit, placeholder="...")


class SpokenGroup(SpokenCommand, click.Group):
    """A group of commands whose help is translated when it is shown."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_options(ctx, formatter)
        named = [(name, self.commands[name]) for name in self.list_commands(ctx)]
        longest = max((len(name) for name, _ in named), default=0)
        limit = formatter.width - 6 - longest
        rows = [(name, command.get_short_help_str(limit)) for name, command in named]
        with formatter.section(gettext("Commands")):
            formatter.write_dl(rows)


def _row(option: click.Parameter, context: click.Context) -> tuple[str, str] | None:
    """An option and its help, in the language of the moment."""
    row = option.get_help_record(context)
    if row is None or isinstance(option, click.Argument):
        return None
    names, said = row
    own = str(getattr(option, "help", None) or "")
    for words in (own, *_OWN):
        said = said.replace(words, gettext(words), 1) if words else said
    return names, said


def _clean(words: str | None) -> str:
    return inspect.cleandoc(words or "")
