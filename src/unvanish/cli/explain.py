"""unvanish explain NAME."""

import click

from unvanish.cli.speech import SpokenCommand, language_option
from unvanish.languages import gettext as _


@click.command(cls=SpokenCommand)
@click.argument("name", required=False)
@language_option
def explain(name: str | None) -> None:
    """Print the card of a finding, by NAME or code, and its lesson, or of a remedy; or list all."""
    from unvanish.causes import CAUSES
    from unvanish.causes import explain as find_card
    from unvanish.lessons import LESSONS
    from unvanish.remedies import REMEDIES

    if name is None:
        for cause in CAUSES:
            click.echo(f"{cause.card.code}  {cause.card.name:<22} {_(cause.card.title)}")
        for remedy in REMEDIES:
            click.echo(f"       {remedy.card.name:<22} {_(remedy.card.title)}")
        return
    for remedy in REMEDIES:
        if remedy.card.name == name.strip().lower():
            click.echo(remedy.text(), nl=False)
            return
    card = find_card(name)
    click.echo(card.text(), nl=False)
    for lesson in LESSONS:
        if lesson.finding == card.name:
            click.echo("\n" + lesson.text(), nl=False)
