"""The course of a treatment: fix the wiring, hold contests on what is left, compose what helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from unvanish.causes.cause import Finding
from unvanish.diagnosing import diagnose
from unvanish.diagnosis import Diagnosis
from unvanish.errors import UnvanishError
from unvanish.remedies.ordering import KEEPS, LEVELS, Candidate, candidates, treatable
from unvanish.remedies.remedy import Keep, Level, Patient
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import (
    Contender,
    changes_the_start,
    gate_faults,
    look,
    operate,
)
from unvanish.treatment.contest import Contest
from unvanish.treatment.need import Need
from unvanish.treatment.playoff import MOST, PlayOff
from unvanish.treatment.supposed import amiss, left_to_author, supposed

ROUNDS = 3
"""How many causes one on top of the other are looked for."""


@dataclass
class Course:
    """One treatment under way.

    ``base`` is the best so far, at first the patient's unchanged copy; ``wired`` the copy with exact
    faults fixed, from which contests start; ``missing`` says what a net without findings has not
    learned, ``amiss`` that only its inputs or initial values are in question; ``ranked`` are the
    finalists of the last contest, the one to choose first.
    """

    patient: Patient
    keep: Keep
    looked: int
    clock: Clock
    make_contest: Callable[[], Contest]
    need: Need
    play_off: PlayOff
    base: Contender
    wired: Contender | None = None
    amiss: tuple[Finding, ...] = ()
    missing: list[str] = field(default_factory=list[str])
    seen: list[Contender] = field(default_factory=list[Contender])
    ranked: list[Contender] = field(default_factory=list[Contender])
    _asked: tuple[Contender, str | None] | None = None

    def run(self) -> None:
        """Rounds until nothing harmful is left, nothing helps any more, or the time is up."""
        diagnosis = self.fix_wiring(self.patient.diagnosis)
        self.wired = self.base
        for _ in range(ROUNDS):
            if self.clock.spent or (diagnosis.healthy and not self.suppose()):
                return
            if diagnosis.healthy:
                diagnosis = self.with_supposed(diagnosis)
            best = self.contest(diagnosis)
            if best is None:
                return
            self.base = best
            if self.clock.spent:
                return
            diagnosis = self.diagnose(best)

    def suppose(self) -> bool:
        """Whether the base does not learn what is plainly there, so that the usual is to be tried."""
        said = self.need.of(self.base)
        self.amiss = amiss(replace(self.patient, model=self.base.model)) if said is None else ()
        if self.amiss:
            # A small start is often meant so, and by itself no reason; time-decay comes with a start.
            reasons = {finding.name for finding in self.amiss} - {"time-decay"}
            if reasons != {"init-too-small"}:
                said = self.need.beyond(self.base)
            if said is None and "init-too-small" in reasons:
                said = self.need.asleep(self.base)
        self._asked = self.base, said
        if said is not None and said not in self.missing:
            self.missing.append(said)
        return said is not None

    def run_without_findings(self) -> bool:
        """One contest of what is usual, after plans for the findings have failed; whether it helps.

        Not where a finding has no plan that ``keep`` allows, though there is one, nor where a fault
        of the wiring is left to its author: that cause is known, and a way around it is no cure.
        """
        self.base, self.ranked = self.wired or self.base, []
        if not self._may_be_treated() or self.clock.spent:
            return False
        diagnosis = self.diagnose(self.base)
        if left_to_author(self.patient, diagnosis) or not self.suppose():
            return False
        best = self.contest(self.with_supposed(diagnosis))
        self.base = best or self.base
        return best is not None

    def _may_be_treated(self) -> bool:
        """Whether some plan is allowed, or there is none for anybody."""
        allowed, possible = (treatable(self.patient, keep) for keep in (self.keep, KEEPS[-1]))
        return bool(allowed) or not possible

    def with_supposed(self, diagnosis: Diagnosis) -> Diagnosis:
        """The same with what is supposed of a net that learns badly, and no finding says why."""
        more = self.amiss or supposed(replace(self.patient, model=self.base.model))
        return replace(diagnosis, findings=more)

    def lacks(self, contender: Contender) -> str | None:
        """What it has not learned, as far as it was asked."""
        asked = self._asked
        return asked[1] if asked is not None and asked[0] is contender else None

    def left_in(self, contender: Contender, diagnosis: Diagnosis) -> tuple[str, ...]:
        """What is harmful still, in its diagnosis or in one that takes no steps, as users ask first."""
        at_once = self.diagnose(contender, looked=0) if self.looked else diagnosis
        return tuple(dict.fromkeys((*harmful(diagnosis), *harmful(at_once))))

    def diagnose(self, contender: Contender, looked: int | None = None) -> Diagnosis:
        """The whole diagnosis of a treated copy, as the patient's own was made."""
        patient = self.patient
        return diagnose(
            contender.model,
            list(patient.batches),
            patient.loss,
            contender.optimizer if patient.optimizer is not None else None,
            patient.forward,
            self.looked if looked is None else looked,
            patient.seed,
        )

    def fix_wiring(self, diagnosis: Diagnosis) -> Diagnosis:
        """Exact faults have exact fixes: one after the other, each kept if its finding goes."""
        for _ in range(len(diagnosis.findings)):
            fixed = self._fix_one(diagnosis)
            if fixed is None:
                break
            diagnosis = fixed
        return diagnosis

    def _fix_one(self, diagnosis: Diagnosis) -> Diagnosis | None:
        for candidate in self._candidates(diagnosis):
            if candidate.level != "wiring" or candidate.safety == "advice":
                continue
            contender = self._operated(candidate)
            if contender is None or any(c.edits == contender.edits for c in self.seen):
                continue
            self.seen.append(contender)
            self.clock.tell(f"fixing: {candidate.remedy}")
            after = self.diagnose(contender)
            contender.left = harmful(after)
            if _count(after, candidate.findings) < _count(diagnosis, candidate.findings):
                self.base = contender
                return after
            contender.out = "the finding stays"
        return None

    def contest(self, diagnosis: Diagnosis) -> Contender | None:
        """The smallest of the candidates about as good as the best; ``None``: none helps."""
        # Exact fixes of what was found are made by now; of what is only supposed they compete.
        found = [c for c in self._candidates(diagnosis) if c.level not in self._settled(diagnosis)]
        made = [c for c in map(self._operated, found) if c is not None]
        field = self._with_a_chance(made)
        if not field:
            return None
        contest = self.make_contest()
        control = replace(self.base, running=None, losses={}, score=None, out=None)
        finalists = contest.hold(control, field)
        self.seen += [c for c in contest.seen if c not in self.seen]
        treated = {name for candidate in found for name in candidate.findings}
        ordered = self.play_off.order(finalists, control)
        self.ranked = self._cures_first(ordered, treated) or contest.stopped(control)
        return self.ranked[0] if self.ranked else None

    def _settled(self, diagnosis: Diagnosis) -> tuple[Level, ...]:
        only_supposed = all(not finding.code for finding in diagnosis.findings)
        return ("advice",) if only_supposed else ("wiring", "advice")

    def _cures_first(self, ordered: Sequence[Contender], treated: set[str]) -> list[Contender]:
        """Of the first in order, what cures before what leaves the findings treated.

        Of those as good as the best, what starts with a gate that holds before what does not.
        """
        leaves: list[tuple[bool, bool, bool]] = []
        first = ordered[:MOST]
        for contender in first:
            diagnosis = self.diagnose(contender)
            contender.left = self.left_in(contender, diagnosis)
            stays = bool(treated & set(contender.left))
            leaves.append((stays, contender.behind, bool(gate_faults(diagnosis.trace))))
        places = sorted(range(len(first)), key=leaves.__getitem__)
        return [first[place] for place in places]

    def _candidates(self, diagnosis: Diagnosis) -> tuple[Candidate, ...]:
        """What fits the base as it stands now."""
        patient = replace(
            self.patient,
            model=self.base.model,
            optimizer=self.base.optimizer,
            diagnosis=diagnosis,
        )
        return candidates(patient, self.keep)

    def _operated(self, candidate: Candidate) -> Contender | None:
        """The patient under what was decided before and this plan."""
        edits = (*self.base.edits, *candidate.plan)
        levels: tuple[Level, Level] = (self.base.level, candidate.level)
        level = max(levels, key=LEVELS.index)
        names = (*self.base.remedies, candidate.remedy)
        try:
            return operate(self.patient, names, level, edits)
        except UnvanishError as error:
            failed = replace(self.base, remedies=names, level=level, edits=edits, running=None)
            failed.out = str(error)
            failed.losses, failed.score = {}, None
            self.seen.append(failed)
            return None

    def _with_a_chance(self, made: Sequence[Contender]) -> list[Contender]:
        """Without those whose gate fails in more parts than that of the others, on one look."""
        looked_at = [c for c in made if changes_the_start(c)]
        for contender in looked_at:
            self.clock.tell(f"{' + '.join(contender.remedies)}: one look")
            try:
                contender.faults = len(gate_faults(look(self.patient, contender.model)))
            except UnvanishError as error:
                contender.out = str(error)
        fewest = min((c.faults for c in looked_at if c.out is None), default=0)
        for contender in looked_at:
            if contender.out is None and contender.faults > fewest + 1:
                contender.out = "the gate fails in more parts than with others"
        self.seen += [c for c in made if c.out is not None]
        return [c for c in made if c.out is None]


def harmful(diagnosis: Diagnosis) -> tuple[str, ...]:
    """The names of the findings that make a diagnosis unhealthy, each once."""
    return tuple(dict.fromkeys(f.name for f in diagnosis.findings if f.severity != "note"))


def advice(found: Sequence[Candidate]) -> tuple[str, ...]:
    """The sentences of the candidates that only their author can carry out."""
    said: list[Any] = [
        edit.options.get("text") for c in found for edit in c.plan if edit.action == "advice"
    ]
    return tuple(dict.fromkeys(str(text) for text in said if text))


def _count(diagnosis: Diagnosis, names: Sequence[str]) -> int:
    """Places of these findings."""
    concerned: list[Finding] = [f for f in diagnosis.findings if f.name in names]
    return sum(max(len(f.where), 1) for f in concerned if f.severity != "note")
