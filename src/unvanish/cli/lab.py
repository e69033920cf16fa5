"""unvanish lab."""

import click

from unvanish.cli.pages import language_of_group, page_options
from unvanish.cli.progress import working
from unvanish.cli.speech import SpokenCommand
from unvanish.languages import gettext as _
from unvanish.languages import speaking


@click.command(cls=SpokenCommand)
@page_options
def lab(port: int, no_browser: bool, language: str | None) -> int:
    """Break, look into, train and cure a real network, with sliders, in the browser.

    The address is printed when it answers. Only this machine can open it, and only by the whole
    address. Ctrl-C ends it, and every training with it.
    """
    from unvanish.web.wording import asked_for

    asked = asked_for(language) or language_of_group()
    with speaking(asked):
        with working(_("loading torch")):
            from unvanish.web.lab_app import Lab
            from unvanish.web.running import serve

        here = Lab(asked)
        try:
            here.warm()
            serve(here.page, ready=click.echo, port=port, open_browser=not no_browser)
        finally:
            here.close()
    return 0
