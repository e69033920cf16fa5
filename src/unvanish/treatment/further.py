"""What a larger freedom would allow: the plans that only ``keep`` ruled out."""

from collections.abc import Sequence

from unvanish.remedies.ordering import KEEPS, Candidate, treatable
from unvanish.remedies.remedy import Keep, Patient


def allowed_further(patient: Patient, keep: Keep) -> tuple[Keep, list[Candidate]] | None:
    """The next freedom that would allow a plan for what was found, and these plans."""
    return _beyond(patient, keep, treatable(patient, keep))


def further_said(patient: Patient, keep: Keep) -> list[str]:
    """The same as notes; a remedy that was allowed in a smaller form is told apart."""
    allowed = treatable(patient, keep)
    found = _beyond(patient, keep, allowed)
    if found is None:
        return []
    wider, further = found
    now = {candidate.remedy for candidate in allowed}
    new = dict.fromkeys(c.remedy for c in further if c.remedy not in now)
    larger = dict.fromkeys(c.remedy for c in further if c.remedy in now and c.edits_architecture)
    notes: list[str] = []
    if new:
        names = ", ".join(new)
        notes.append(f"keep={wider!r} would also allow {names}")
    if larger:
        names = ", ".join(larger)
        notes.append(f"keep={wider!r} would also allow {names} by a layer of its own")
    return notes


def _beyond(
    patient: Patient, keep: Keep, allowed: Sequence[Candidate]
) -> tuple[Keep, list[Candidate]] | None:
    """The first wider freedom with a plan that is none of those allowed."""
    now = [candidate.plan for candidate in allowed]
    for wider in KEEPS[KEEPS.index(keep) + 1 :]:
        further = [c for c in treatable(patient, wider) if c.plan not in now]
        if further:
            return wider, further
    return None
