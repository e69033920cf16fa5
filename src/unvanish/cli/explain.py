"""unvanish explain NAME."""

import textwrap

import click

from unvanish.cli.columns import columns
from unvanish.cli.speech import SpokenCommand, language_option
from unvanish.languages import gettext as _

_ONE_LINE = 1000
"""In a pipe each name of the list keeps to one line: a program reads it."""


@click.command(cls=SpokenCommand)
@click.argument("name", required=False)
@language_option
def explain(name: str | None) -> None:
    """Print the card of a finding, by NAME or code, and its lesson, or of a remedy; or list all."""
    from unvanish.cards import WIDTH
    from unvanish.causes import explain as find_card
    from unvanish.lessons import LESSONS
    from unvanish.remedies import REMEDIES

    if name is None:
        _list_all()
        return
    width = columns(WIDTH)
    for remedy in REMEDIES:
        if remedy.card.name == name.strip().lower():
            click.echo(remedy.text(width), nl=False)
            return
    card = find_card(name)
    click.echo(card.text(width), nl=False)
    for lesson in LESSONS:
        if lesson.finding == card.name:
            click.echo("\n" + lesson.text(width), nl=False)


def _list_all() -> None:
    from unvanish.causes import CAUSES
    from unvanish.remedies import REMEDIES

    width = columns(_ONE_LINE)
    rows = [(cause.card.code, cause.card.name, cause.card.title) for cause in CAUSES]
    rows += [("", remedy.card.name, remedy.card.title) for remedy in REMEDIES]
    for code, name, title in rows:
        head = f"{code:<5}  {name:<22} "
        click.echo(textwrap.fill(head + _(title), width, subsequent_indent=" " * len(head)))
