"""The command line: one file per command; the only place where an error becomes an exit status.

0 healthy or done · 1 findings · 2 wrong usage or bad input · 3 unvanish failed.
"""

import sys
from collections.abc import Sequence

import click

import unvanish
from unvanish.cli.bench import bench
from unvanish.cli.diagnose import diagnose
from unvanish.cli.explain import explain
from unvanish.cli.lab import lab
from unvanish.cli.run_script import run_script
from unvanish.cli.serve import serve
from unvanish.cli.show import show
from unvanish.cli.speech import SpokenGroup, language_option
from unvanish.cli.treat import treat
from unvanish.errors import UnvanishError
from unvanish.languages import speaking


@click.group(cls=SpokenGroup, context_settings={"help_option_names": ["-h", "--help"]})
@language_option
@click.version_option(unvanish.__version__, prog_name="unvanish")
def commands() -> None:
    """Find out why a network does not learn: where its gradient is lost, and why."""


commands.add_command(bench)
commands.add_command(diagnose)
commands.add_command(explain)
commands.add_command(lab)
commands.add_command(run_script)
commands.add_command(serve)
commands.add_command(show)
commands.add_command(treat)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        with speaking():
            return _run(arguments)
    except UnvanishError as error:  # there is no such language
        click.echo(f"unvanish: {error}", err=True)
        return 2


def _run(arguments: Sequence[str] | None) -> int:
    try:
        status = commands.main(args=arguments, prog_name="unvanish", standalone_mode=False)
    except click.ClickException as error:
        _refuse(error)
        return 2
    except click.Abort:
        click.echo("unvanish: interrupted", err=True)
        return 130
    except UnvanishError as error:
        click.echo(f"unvanish: {error}", err=True)
        return 2
    except Exception as error:
        import traceback

        traceback.print_exc()
        said = (str(error).splitlines() or [""])[0]
        click.echo(
            f"unvanish: failed with {type(error).__name__}: {said}; this is a fault of unvanish, "
            "please report it with the lines above",
            err=True,
        )
        return 3
    return status if isinstance(status, int) else 0


def _refuse(error: click.ClickException) -> None:
    """A value that is none is bad input, and one line says so; only wrong usage shows the usage."""
    value = isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter)
    if value:
        click.echo(f"unvanish: {error.format_message()}", err=True)
    else:
        error.show()
