"""Tells what happens in a training: to its recording, to the boards that follow it, and to the log."""

import logging
from collections.abc import Callable, Sequence

from unvanish.diagnosis import Diagnosis
from unvanish.guard.policy import Act
from unvanish.recording import Event, StepReading, TensorEntry
from unvanish.recording.writer import Writer
from unvanish.watching.alarm_said import sentence_said
from unvanish.watching.looks import packed
from unvanish.watching.sinks import Sink, Sinks

LOG = logging.getLogger("unvanish")


class Telling:
    """One line in the log for each alarm and act; everything in the recording and on the boards.

    ``rank`` is how this process is called among several; ``clock`` gives the seconds since the
    watch began.
    """

    def __init__(
        self,
        writer: Writer | None,
        sinks: Sequence[Sink],
        *,
        rank: str,
        clock: Callable[[], float],
    ) -> None:
        self.writer, self._sinks = writer, Sinks(sinks)
        self._rank, self.clock = rank, clock
        self._alarms: tuple[Event, ...] = ()

    def reading(self, reading: StepReading, entries: Sequence[TensorEntry]) -> None:
        """The numbers of one step."""
        if self.writer is not None:
            self.writer.write(reading)
        self._sinks.write(reading, entries)

    def new_tensors(self, added: Sequence[TensorEntry]) -> None:
        """Tensors that came while the training ran."""
        if self.writer is not None:
            self.writer.add_tensors(added)

    def look(self, step: int, diagnosis: Diagnosis) -> None:
        """A step was observed in full."""
        if self.writer is not None:
            self.writer.look(step, packed(diagnosis))
        names = [finding.name for finding in diagnosis.findings if finding.severity != "note"]
        said = ", ".join(names) or "healthy"
        self.event(Event(kind="look", name="look", step=step, seconds=self.clock(), detail=said))

    def note(self, step: int, name: str, detail: str) -> None:
        """Something that is neither alarm nor act."""
        self.event(Event(kind="note", name=name, step=step, seconds=self.clock(), detail=detail))

    def act(self, step: int, act: Act) -> None:
        """A guard did something."""
        self.event(
            Event(
                kind="action",
                name=act.policy,
                step=step,
                seconds=self.clock(),
                detail=act.detail,
                evidence=act.evidence or {},
                where=act.where,
            )
        )

    def event(self, event: Event) -> None:
        """Anything that happened at one step."""
        if self.writer is not None:
            self.writer.event(event)
        self._sinks.event(event)
        if event.kind == "alarm":
            self._alarms = (*self._alarms, event)
            self._log_alarm(event)
        elif event.kind == "action":
            LOG.info("step %d: guard %s: %s", event.step, event.name, event.detail)

    def _log_alarm(self, event: Event) -> None:
        level = logging.INFO if event.severity == "note" else logging.WARNING
        place = f" in {event.where[0]}" if event.where else ""
        more = f" and {len(event.where) - 1} more" if len(event.where) > 1 else ""
        said = sentence_said(event)
        why = f": {said}" if said else ""
        LOG.log(level, "%sstep %d: %s%s%s%s", self._rank, event.step, event.name, place, more, why)

    def take_alarms(self) -> tuple[Event, ...]:
        """The alarms told since this was last asked."""
        alarms, self._alarms = self._alarms, ()
        return alarms

    def close(self) -> None:
        """Let the boards go, write what is left."""
        self._sinks.close()
        if self.writer is not None:
            self.writer.close()
