"""treat: find the smallest change that measurably helps, prove it, hand it back."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from unvanish.batches import Forward, Loss, check_arguments, take_batches
from unvanish.diagnosis import Diagnosis, diagnose
from unvanish.errors import BadInput, UnvanishError
from unvanish.probe.observe import unwrapped
from unvanish.remedies.ordering import KEEPS, candidates
from unvanish.remedies.remedy import Keep, Patient
from unvanish.surgery import apply
from unvanish.surgery.optimizers import carried
from unvanish.training.optimizer_copy import OptimizerFactory, check_optimizer
from unvanish.treatment.clock import Clock, Progress
from unvanish.treatment.contender import Contender
from unvanish.treatment.contest import Contest
from unvanish.treatment.course import Course, advice, harmful
from unvanish.treatment.need import Need
from unvanish.treatment.record import Treatment, helps
from unvanish.trial import Running, Verdict, compare
from unvanish.trial.task import prepare
from unvanish.trial.yardstick import Metric

_FINE = "nothing to treat: the gradients are fine."
PROOFS = 2
"""So many finalists are put on trial before a treatment says that it found nothing."""


def treat(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None = None,
    forward: Forward | None = None,
    steps: int = 200,
    seeds: int = 5,
    keep: Keep = "function",
    budget_s: float | None = None,
    seed: int = 0,
    *,
    metric: Metric | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    program: Any = None,
) -> Treatment:
    """Find the smallest change that makes a sick network learn, and prove it by paired trials.

    Diagnoses; fixes exact faults of the wiring; lets the remedies that fit train side by side on
    short runs, smallest intervention first; puts the best on trial against the untouched model,
    on several seeds and held-out samples. What does not measurably help is not handed back. The
    model, the optimizer and the random state stay as they are.

    Args:
        model: the network; only copies are changed.
        data: one batch as a tuple ``(inputs, targets)``, or an iterable of batches.
        loss: ``loss(outputs, targets) -> scalar tensor``.
        optimizer: the user's optimizer, or a factory ``params -> Optimizer``; Adam without one.
        forward: ``forward(model, batch) -> scalar tensor``, instead of ``loss``.
        steps: of each training run of the trial.
        seeds: pairs of the trial; each draws other initial values and another order.
        keep: how far a cure may go: ``"function"`` (no module changes: initialisation, step size,
            clipping, wiring), ``"layers"`` (activations may be swapped), ``"shape"`` (norms and skips may be
            put in or taken out), ``"anything"`` (recurrent cells, too).
        budget_s: seconds that all of it may take, about; ``None``: as long as it takes.
        seed: of the random state.
        metric: ``metric(outputs, targets) -> float``, higher is better; accuracy for class
            targets, else the loss, where nothing is said.
        jobs: processes for the trial.
        progress: called with what is being done and the seconds since the start.
        program: the function that makes the model, where a patch of its source is wanted.

    Returns:
        The treatment; ``print`` it.

    Raises:
        BadInput: an argument or the data cannot be used, or the model cannot be copied.
        ModelFailed: the model or the loss raised.
    """
    clock = Clock(budget_s, progress)
    _check(model, loss, forward, optimizer, steps, seeds, keep, seed)
    batches = data if isinstance(data, tuple) else take_batches(data, max(4, 2 * steps))
    patient = _admit(model, batches, loss, forward, optimizer, seed, min(steps, 20), clock)
    visit = _Visit(patient, batches, steps, seeds, keep, metric, jobs, clock)
    treatment = visit.treat()
    treatment.program = program
    return treatment


def _check(
    model: Any,
    loss: Any,
    forward: Any,
    optimizer: Any,
    steps: int,
    seeds: int,
    keep: Keep,
    seed: int,
) -> None:
    check_arguments(model, loss, forward, seed)
    check_optimizer(optimizer)
    for name, value, least in (("steps", steps, 1), ("seeds", seeds, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise BadInput(f"{name} is {value!r}: pass a whole number of {least} or more.")
    if keep not in KEEPS:
        raise BadInput(f"keep is {keep!r}: pass one of {', '.join(KEEPS)}.")


def _admit(
    model: nn.Module,
    data: Any,
    loss: Loss | None,
    forward: Forward | None,
    optimizer: torch.optim.Optimizer | OptimizerFactory | None,
    seed: int,
    looked: int,
    clock: Clock,
) -> Patient:
    clock.tell("diagnosing")
    inner = unwrapped(model)[0]
    diagnosis = diagnose(inner, data, loss, optimizer, forward, looked, seed)
    try:
        copy.deepcopy(inner)
    except Exception as error:
        raise BadInput(
            f"the model cannot be copied ({error}), and only copies are treated: make it work "
            "with copy.deepcopy (no open files, no tensors that are results of a computation)."
        ) from error
    return Patient(
        model=inner,
        batches=take_batches(data, 4),
        loss=loss,
        forward=forward,
        optimizer=optimizer,
        diagnosis=diagnosis,
        seed=seed,
    )


class _Visit:
    """One call of :func:`treat`."""

    def __init__(
        self,
        patient: Patient,
        data: Any,
        steps: int,
        seeds: int,
        keep: Keep,
        metric: Metric | None,
        jobs: int,
        clock: Clock,
    ) -> None:
        self._patient, self._data, self._steps, self._seeds = patient, data, steps, seeds
        self._keep: Keep = keep
        self._metric, self._jobs, self._clock = metric, jobs, clock
        self._task = prepare(
            patient.model,
            data,
            patient.loss,
            patient.forward,
            metric,
            steps=steps,
            validation=True,
        )
        self._notes: list[str] = []

    def treat(self) -> Treatment:
        """Diagnosis, course, proof."""
        before = self._patient.diagnosis
        base = self._unchanged()
        course = self._course(base)
        try:
            course.run()
            if before.healthy and not course.missing:
                return self._finish(course, None, before, _FINE)
            self._notes += [f"{said}: what is usual then was tried" for said in course.missing]
        except KeyboardInterrupt:
            return self._interrupted(course)
        return self._proved(course)

    def _unchanged(self) -> Contender:
        patient = self._patient
        model = apply(patient.model, ())
        optimizer = carried(patient.optimizer, patient.model, model, ())
        return Contender((), "wiring", (), model, optimizer)

    def _course(self, base: Contender) -> Course:
        return Course(
            patient=self._patient,
            keep=self._keep,
            looked=min(self._steps, 20),
            clock=self._clock,
            make_contest=lambda: Contest(self._patient, self._begin, self._steps, self._clock),
            task=self._task,
            need=Need(self._task, self._begin, self._steps, self._seeds, self._clock),
            base=base,
        )

    def _begin(self, contender: Contender, seed: int = 0) -> Running:
        return Running(contender.arm, self._task, seed, control=self._unchanged().arm)

    def _proved(self, course: Course) -> Treatment:
        """The finalists on trial, one after the other, until one is shown to help."""
        finalists = [course.base, *(c for c in course.ranked if c is not course.base)]
        finalists = [c for c in finalists if c.edits][:PROOFS]
        verdicts: list[Verdict] = []
        for contender in finalists:
            try:
                verdicts.append(self._compare(contender))
            except KeyboardInterrupt:
                return self._interrupted(course)
            # Without a finding only unseen samples can say that there was anything to cure.
            told = verdicts[-1].basis == "held-out" or not self._patient.diagnosis.healthy
            if told and helps(verdicts[-1]):
                course.base = contender
                return self._cured(course, contender, verdicts[-1])
        course.base = self._unchanged()
        verdict = verdicts[0] if verdicts else None
        if not finalists:
            said = "no cure was found among the changes that keep= allows; the model is unchanged."
        else:
            said = "nothing that was tried measurably helps; the model is unchanged."
        return self._finish(course, verdict, self._patient.diagnosis, said)

    def _compare(self, contender: Contender) -> Verdict:
        patient, clock = self._patient, self._clock
        return compare(
            self._unchanged().arm,
            contender.arm,
            self._data,
            patient.loss,
            steps=self._steps,
            seeds=self._seeds,
            forward=patient.forward,
            metric=self._metric,
            jobs=self._jobs,
            budget_s=clock.left,
            progress=lambda doing, _: clock.tell(f"trial: {doing}"),
        )

    def _cured(self, course: Course, contender: Contender, verdict: Verdict) -> Treatment:
        after = course.diagnose(contender)
        left = harmful(after)
        said = f"cured by {' + '.join(contender.remedies)}"
        said += f"; still there: {', '.join(left)}." if left else "; nothing harmful is left."
        return self._finish(course, verdict, after, said)

    def _interrupted(self, course: Course) -> Treatment:
        """The best so far, said to be unproved."""
        ended = [c for c in course.seen if c.out is None and c.losses]
        if not course.base.edits and ended:
            most = max(max(c.losses) for c in ended)
            course.base = min((c for c in ended if most in c.losses), key=lambda c: c.loss_at(most))
        said = "interrupted: this is the best so far, and no trial has shown that it helps."
        if not course.base.edits:
            said = "interrupted before anything was found; the model is unchanged."
        return self._finish(course, None, self._patient.diagnosis, said)

    def _finish(
        self, course: Course, verdict: Verdict | None, after: Diagnosis, said: str
    ) -> Treatment:
        base, patient = course.base, self._patient
        try:
            still = replace(patient, model=base.model, optimizer=base.optimizer, diagnosis=after)
            found = () if after.healthy else candidates(still, self._keep)
        except UnvanishError:
            found = ()
        return Treatment(
            model=base.model,
            optimizer=base.optimizer,
            edits=base.edits,
            verdict=verdict,
            trials=tuple(c.tried() for c in course.seen),
            before=patient.diagnosis,
            after=after,
            said=said,
            remedies=base.remedies,
            advice=advice(found),
            notes=tuple(self._notes),
            seconds=self._clock.seconds,
            original=patient.model,
        )
