"""One visit: the course of a treatment, the proof of what came of it, and the record."""

from dataclasses import replace
from typing import Any

from unvanish.diagnosis import Diagnosis
from unvanish.errors import UnvanishError
from unvanish.remedies.ordering import candidates
from unvanish.remedies.remedy import Keep, Patient
from unvanish.surgery import apply
from unvanish.surgery.optimizers import carried
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender, replayable
from unvanish.treatment.contest import Contest
from unvanish.treatment.course import Course, advice
from unvanish.treatment.further import allowed_further, further_said
from unvanish.treatment.need import Need
from unvanish.treatment.playoff import PlayOff
from unvanish.treatment.record import Treatment, helps
from unvanish.trial import Running, Verdict, compare
from unvanish.trial.task import prepare
from unvanish.trial.yardstick import Metric

MOST = 4
"""Times as many seeds at most where a trial is undecided: small parts held out need them."""
_FINE = "nothing to treat: the gradients are fine."
_UNASKED = (
    "whether the net learns what is plainly there was not asked: no constant answer and no linear "
    "model can be had here to compare it with (forward= alone allows none; loss= with "
    "(inputs, targets) pairs does)"
)
PROOFS = 2
"""So many finalists of a course are put on trial before it is said that nothing was found."""


class Visit:
    """One call of :func:`unvanish.treat`, from the diagnosis on."""

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
        self._tried: list[tuple[Contender, Verdict]] = []

    def treat(self) -> Treatment:
        """Course and proof; where no finding led to a cure, once more with what is usual."""
        before = self._patient.diagnosis
        course = self._course(self._unchanged())
        try:
            course.run()
            if before.healthy and not course.missing:
                if course.need.unasked(course.base):
                    self._notes.append(_UNASKED)
                return self._finish(course, None, before, _FINE)
            proved = self._proved(course)
            if proved is None and not course.missing and course.run_without_findings():
                proved = self._proved(course)
        except KeyboardInterrupt:
            return self._interrupted(course)
        self._notes += [f"{said}: what is usual then was tried" for said in course.missing]
        return self._unproved(course) if proved is None else self._cured(course, *proved)

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
            play_off=PlayOff(self._task, self._begin, self._steps, self._clock),
            need=Need(self._task, self._begin, self._steps, self._seeds, self._clock),
            base=base,
        )

    def _begin(self, contender: Contender, seed: int = 0, turn: int = 0) -> Running:
        split = self._task.split.turned(turn) or self._task.split
        task = replace(self._task, split=split)
        return Running(contender.arm, task, seed, control=self._unchanged().arm)

    def _proved(self, course: Course) -> tuple[Contender, Verdict] | None:
        """The finalists on trial, one after the other, until one is shown to help."""
        finalists = [course.base, *(c for c in course.ranked if c is not course.base)]
        for contender in [c for c in finalists if c.edits][:PROOFS]:
            if self._clock.left == 0.0:
                break
            verdict = self._compare(contender)
            self._tried.append((contender, verdict))
            # Without a finding only unseen samples can say that there was anything to cure.
            told = verdict.basis == "held-out" or not self._patient.diagnosis.healthy
            if told and helps(verdict, contender.is_another_net):
                return contender, verdict
        return None

    def _unproved(self, course: Course) -> Treatment:
        course.base = self._unchanged()
        said = "no cure was found among the changes that keep= allows; the model is unchanged."
        if self._clock.left == 0.0 or (self._clock.spent and not self._tried):
            said = "the budget ended before anything was shown to help; the model is unchanged."
        elif not self._tried and (wider := allowed_further(self._patient, self._keep)):
            names = " + ".join(dict.fromkeys(c.remedy for c in wider[1]))
            said = f"no cure was found that keep= allows; keep={wider[0]!r} would allow {names}."
        else:
            if self._tried:
                said = "nothing that was tried measurably helps; the model is unchanged."
            before = self._patient.diagnosis
            known = course.with_supposed(before) if before.healthy else before
            self._notes += self._further(course.base, known)
        trial = self._tried[0] if self._tried else None
        return self._finish(course, trial, self._patient.diagnosis, said)

    def _further(self, base: Contender, diagnosis: Diagnosis) -> list[str]:
        """What a larger freedom would allow for what is left, as notes."""
        try:
            return further_said(self._as_left(base, diagnosis), self._keep)
        except UnvanishError:
            return []

    def _as_left(self, base: Contender, diagnosis: Diagnosis) -> Patient:
        """The patient as a contender leaves it."""
        return replace(
            self._patient, model=base.model, optimizer=base.optimizer, diagnosis=diagnosis
        )

    def _compare(self, contender: Contender) -> Verdict:
        patient, clock = self._patient, self._clock
        return compare(
            self._unchanged().arm,
            contender.arm,
            self._data,
            patient.loss,
            steps=self._steps,
            seeds=self._seeds,
            most=MOST * self._seeds,
            forward=patient.forward,
            metric=self._metric,
            jobs=self._jobs,
            budget_s=clock.left,
            progress=lambda doing, _: clock.tell(f"trial: {doing}"),
        )

    def _cured(self, course: Course, contender: Contender, verdict: Verdict) -> Treatment:
        course.base, after = contender, course.diagnose(contender)
        left = course.left_in(contender, after)
        by, lacks = " + ".join(contender.remedies), course.lacks(contender)
        said = f"cured by {by}; nothing harmful is left."
        if left:
            said = f"cured by {by}; still there: {', '.join(left)}."
        elif lacks is not None:
            said = f"cured by {by}; still, {lacks}."
        if left or lacks is not None:
            known = after if lacks is None else course.with_supposed(after)
            self._notes += self._further(contender, known)
        return self._finish(course, (contender, verdict), after, said)

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
        self,
        course: Course,
        trial: tuple[Contender, Verdict] | None,
        after: Diagnosis,
        said: str,
    ) -> Treatment:
        base, patient = course.base, self._patient
        on_trial, verdict = trial or (None, None)
        try:
            found = () if after.healthy else candidates(self._as_left(base, after), self._keep)
        except UnvanishError:
            found = ()
        return Treatment(
            model=base.model,
            optimizer=base.optimizer,
            edits=replayable(patient, base.edits),
            verdict=verdict,
            on_trial=on_trial.tried() if on_trial is not None else None,
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
