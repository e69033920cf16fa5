"""unvanish run SCRIPT.py [ARGS...]."""

import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unvanish.cli.own_arguments import exit_status, own_arguments
from unvanish.cli.speech import SpokenCommand, language_option
from unvanish.languages import filled, ngettext, recognised
from unvanish.languages import gettext as _

if TYPE_CHECKING:
    from unvanish.watching.everything import Everything
    from unvanish.watching.monitor import Monitor


@click.command(
    cls=SpokenCommand,
    name="run",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("--to", "folder", metavar="DIR", help="Where to record.  [default: runs/SCRIPT]")
@click.option("--guard", "guards", multiple=True, metavar="NAME", help="A policy that may act.")
@click.option(
    "--budget",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.02,
    show_default=True,
    help="Share of the training's time that watching may take.",
)
@click.option("-m", "as_module", is_flag=True, help="SCRIPT is a module, as in python -m.")
@language_option
@click.argument("script")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run_script(
    folder: str | None,
    guards: tuple[str, ...],
    budget: float,
    as_module: bool,
    script: str,
    arguments: tuple[str, ...],
) -> int:
    """Run a training SCRIPT unchanged and watch every optimizer that steps in it.

    Options of unvanish stand before SCRIPT, everything after it is the script's own. The exit
    status is the script's, exceptions and Ctrl-C pass through; at the end the verdict and the place
    of the recording are printed on standard error.
    """
    if not as_module and not Path(script).is_file():
        raise click.UsageError(filled(_("there is no file {file}."), file=script))
    from unvanish.guard import from_argument
    from unvanish.integrations.keras_steps import steps_as_torch
    from unvanish.watching.everything import Everything

    from_argument(guards)  # a wrong name is said before the script starts
    to = Path(folder) if folder else Path("runs") / (script if as_module else Path(script).stem)
    watching = Everything(to, guard=guards, budget=budget, started=_say_started)
    try:
        with watching, steps_as_torch():
            return _execute(script, arguments, as_module)
    except Exception as error:
        # The traceback a user knows: from their own script on, as python shows it.
        _print_traceback(error)
        return 1
    finally:
        _conclude(watching)


def _execute(script: str, arguments: tuple[str, ...], as_module: bool) -> int:
    """Run it as ``python SCRIPT`` does; its exit status."""
    path_before = list(sys.path)
    sys.path[0:0] = [str(Path.cwd() if as_module else Path(script).resolve().parent)]
    try:
        with own_arguments(script, *arguments):
            if as_module:
                runpy.run_module(script, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(script, run_name="__main__")
    except SystemExit as leaving:
        status, said = exit_status(leaving)
        if said is not None:
            click.echo(said, err=True)
        return status
    finally:
        sys.path[:] = path_before
    return 0


def _print_traceback(error: Exception) -> None:
    """As python ends a script: by the hook that is set, which may say the rank or more."""
    frames = error.__traceback__
    here = {__file__, runpy.__file__, "<frozen runpy>"}
    while frames is not None and frames.tb_frame.f_code.co_filename in here:
        frames = frames.tb_next
    frames = frames or error.__traceback__
    sys.excepthook(type(error), error.with_traceback(frames), frames)


def _say_started(monitor: "Monitor") -> None:
    if monitor.path is not None and sys.stderr.isatty() and not monitor.place.rank:
        said = filled(_("watching, recording in {path}"), path=monitor.path)
        _tell(said)


def _conclude(watching: "Everything") -> None:
    """The verdict of each training, in a line or two, and where to look further.

    Of several processes the first one speaks; another only of what it alone has met.
    """
    if not watching.monitors and os.environ.get("RANK", "0") == "0":
        _tell(_("no optimizer stepped, nothing was watched."))
    for monitor in watching.monitors:
        if monitor.place.rank:
            if _met_alone(monitor):
                _tell(monitor.place.spoken + _verdict(monitor))
            continue
        _tell(_verdict(monitor))
        if monitor.path is not None:
            path = _near(monitor.path)
            _tell(filled(_("recorded in {path}"), path=path))
            _tell(filled(_("look with: {command}"), command=f"unvanish show {path.parent}"))
    if watching.left_out:
        more = ngettext(
            "{count} more trainings were not watched.",
            "{count} more trainings were not watched.",
            watching.left_out,
        )
        _tell(filled(more, count=watching.left_out))


def _met_alone(monitor: "Monitor") -> bool:
    """Whether an alarm was raised in this process that the first one has not written down."""
    from unvanish.errors import UnvanishError
    from unvanish.recording import Recording
    from unvanish.recording.files import recordings_in

    own = {alarm.name for alarm in monitor.alarms}
    if not own or monitor.path is None:
        return bool(own)
    try:
        # A file and not the folder: of that, everybody's recordings would be joined.
        with Recording.open(recordings_in(monitor.path.parent.parent)[-1]) as first:
            return bool(own - {event.name for event in first.events if event.kind == "alarm"})
    except (UnvanishError, OSError, IndexError):
        return True


def _tell(said: str) -> None:
    click.echo(f"unvanish: {said}", err=True)


def _near(path: Path) -> Path:
    """The path as it is seen from here, where that is shorter."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _verdict(monitor: "Monitor") -> str:
    from unvanish.report.text import sentence

    diagnosis = monitor.diagnosis
    found = [finding for finding in diagnosis.findings if finding.severity != "note"]
    over = [alarm for alarm in monitor.alarms if alarm.over is not None]
    steps = ngettext("{count:,} steps", "{count:,} steps", monitor.steps)
    steps = filled(steps, count=monitor.steps)
    if not found and not over:
        # What arrived at the first step says nothing of the last one: it is told which was seen.
        looked = _("the gradient arrives (deep look at step {step:,})")
        seen = filled(looked, step=monitor.looked_at or 0)
        if not diagnosis.trace.ops:
            seen = recognised(diagnosis.blind_spots[0]).removesuffix(".")
        return filled(_("{steps}, no alarm: {seen}."), steps=steps, seen=seen)
    if not found:
        names = ", ".join(dict.fromkeys(alarm.name for alarm in over))
        return filled(_("{steps}; {names} was met and is over."), steps=steps, names=names)
    name = f"{found[0].code} {found[0].name}"
    alarm = next((alarm for alarm in monitor.active if alarm.name == found[0].name), None)
    if alarm is not None:
        known = "onset" in alarm.evidence
        since = _("{name} since step {step}") if known else _("{name} seen at step {step}")
        name = filled(since, name=name, step=alarm.since)
    said = filled("{steps}; {name}: {said}", steps=steps, name=name, said=sentence(found[0]))
    others = sum(finding.because is None for finding in found[1:])  # not what follows from one
    if not others:
        return said
    more = ngettext("(and {count} more)", "(and {count} more)", others)
    return f"{said} {filled(more, count=others)}"
