"""unvanish explain NAME."""

import click


@click.command()
@click.argument("name", required=False)
def explain(name: str | None) -> None:
    """Print the card of a finding, by NAME or code; without NAME, list all of them."""
    from unvanish.causes import CAUSES
    from unvanish.causes import explain as find_card

    if name is not None:
        click.echo(find_card(name).text(), nl=False)
        return
    for cause in CAUSES:
        click.echo(f"{cause.card.code}  {cause.card.name:<22} {cause.card.title}")
