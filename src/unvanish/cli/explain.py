"""unvanish explain NAME."""

import click


@click.command()
@click.argument("name", required=False)
def explain(name: str | None) -> None:
    """Print the card of a finding, by NAME or code, and its lesson; without NAME, list all."""
    from unvanish.causes import CAUSES
    from unvanish.causes import explain as find_card
    from unvanish.lessons import LESSONS

    if name is None:
        for cause in CAUSES:
            click.echo(f"{cause.card.code}  {cause.card.name:<22} {cause.card.title}")
        return
    card = find_card(name)
    click.echo(card.text(), nl=False)
    for lesson in LESSONS:
        if lesson.finding == card.name:
            click.echo("\n" + lesson.text(), nl=False)
