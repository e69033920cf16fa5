"""Running many trainings: one after the other, or through joblib; until all are done or time is up."""

import pickle
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from unvanish.errors import BadInput, MissingExtra
from unvanish.trial.arm import Arm
from unvanish.trial.running import Run, Running
from unvanish.trial.task import Task

Progress = Callable[[str, float], None]
"""Called with what was done last, and the share of the work that is done."""
Workers = Literal["processes", "threads"]
Key = tuple[str, int, float]

# The random state is the process's: two runs in threads of one process take turns.
_TURN = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One arm under one seed and step size."""

    side: str
    seed: int
    rate: float
    arm: Arm
    control: Arm
    task: Task
    steps: int
    until: float

    @property
    def key(self) -> Key:
        """What the run is filed under."""
        return self.side, self.seed, self.rate


@dataclass(slots=True)
class Outcome:
    """The runs that came to their end, and what there is to say about the rest."""

    runs: dict[Key, Run] = field(default_factory=dict[Key, Run])
    notes: list[str] = field(default_factory=list[str])
    interrupted: bool = False

    def joined(self, more: "Outcome") -> "Outcome":
        """These runs and those of a later call."""
        notes = [*self.notes, *(note for note in more.notes if note not in self.notes)]
        return Outcome({**self.runs, **more.runs}, notes, more.interrupted)


def perform(job: Job) -> tuple[Key, Run | None]:
    """One run; ``None``: the time was up before its end."""
    with _TURN:
        if time.time() > job.until:
            return job.key, None
        running = Running(job.arm, job.task, job.seed, job.rate, job.control)
        running.advance(job.steps, job.until)
        ended = running.diverged or len(running.losses) == job.steps
        return job.key, running.run() if ended else None


def check_jobs(jobs: Any) -> None:
    """Say in one sentence that this is no number of runs at a time.

    Raises:
        BadInput: it is none.
    """
    if jobs is not None and (not isinstance(jobs, int) or isinstance(jobs, bool) or jobs == 0):
        raise BadInput(f"jobs must be a whole number other than 0 (-1: one a core), got {jobs!r}.")


def perform_all(
    jobs: Sequence[Job], count: int | None, workers: Workers, progress: Progress | None
) -> Outcome:
    """Every job's run.

    Args:
        jobs: in the order to start them.
        count: how many at a time; ``None``: what ``joblib.parallel_config`` says, and where nobody
            said anything, one.
        workers: what joblib is asked to prefer; a backend set by ``joblib.parallel_config`` wins.
        progress: told about every run.

    Raises:
        MissingExtra: several at a time need joblib.
    """
    outcome = Outcome()
    try:
        try:
            _collect(_stream(jobs, count, workers), len(jobs), outcome, progress)
        except Exception as error:
            if count == 1 or not _about_pickling(error):
                raise
            outcome.notes.append(
                "the runs could not be sent to other processes and went one after the other: "
                f"{_first_line(error)}"
            )
            left = [job for job in jobs if job.key not in outcome.runs]
            _collect(map(perform, left), len(jobs), outcome, progress)
    except KeyboardInterrupt:
        outcome.interrupted = True
    return outcome


def _collect(
    stream: Iterator[tuple[Key, Run | None]],
    total: int,
    outcome: Outcome,
    progress: Progress | None,
) -> None:
    try:
        for key, run in stream:
            if run is None:
                continue
            outcome.runs[key] = run
            if progress is not None:
                progress(_told(key, run), len(outcome.runs) / total)
    finally:
        if isinstance(stream, Generator):
            stream.close()  # an interrupted one must not leave workers busy


def _told(key: Key, run: Run) -> str:
    side, seed, rate = key
    said = "diverged" if run.metric is None else f"{run.metric:.4g}"
    at = "" if rate == 1 else f", {rate:.3g} times the step size"
    return f"{side}, seed {seed}{at}: {said}"


def _stream(
    jobs: Sequence[Job], count: int | None, workers: Workers
) -> Iterator[tuple[Key, Run | None]]:
    if count == 1 or (count is None and "joblib" not in sys.modules):
        return map(perform, jobs)
    try:
        import joblib
    except ImportError as error:
        raise MissingExtra(
            "several runs at a time need joblib: pip install 'unvanish[treat]', or leave jobs= away."
        ) from error
    made: Any = joblib.Parallel(n_jobs=count, prefer=workers, return_as="generator_unordered")
    return cast(
        Iterator[tuple[Key, Run | None]], made(joblib.delayed(perform)(job) for job in jobs)
    )


def _about_pickling(error: Exception) -> bool:
    """Whether a job could not be packed here, or not be unpacked where it arrived."""
    told = isinstance(error, AttributeError | TypeError) and "pickle" in str(error).lower()
    return told or isinstance(error, pickle.PicklingError) or "un-serialize" in str(error)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
