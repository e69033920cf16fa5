"""The score of one answer: 1 right, 0.5 late or misplaced, 0 missed, -1 wrong or a false alarm."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from corpus.case import Case


@dataclass(frozen=True, slots=True)
class Named:
    """One finding of any tool: the causes that its words may mean, where (``None``: not asked)."""

    causes: frozenset[str]
    where: tuple[str, ...] | None = None
    alarm: bool = True
    word: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """Points, the word for them, and whether name and place were right."""

    points: float
    outcome: str
    named_first: bool = False
    placed: bool = False


def inside(name: str, place: str) -> bool:
    """Whether a finding at ``name`` lies at ``place``: the same, within it, or its own module."""
    if name in ("", "(model)") or place == "":
        return name in ("", "(model)") and place == ""
    parent = place.rpartition(".")[0]
    last = place.rpartition(".")[2]
    of_parameter = last.startswith(("weight", "bias")) and name == parent
    return name == place or name.startswith(place + ".") or of_parameter


def well_placed(where: tuple[str, ...] | None, places: Iterable[str]) -> bool:
    """Whether a finding names one of the acceptable places; no place asked for: always."""
    wanted = tuple(places)
    if where is None or not wanted:
        return True
    return any(inside(name, place) for name in where for place in wanted)


def score(case: Case, places: tuple[str, ...], found: Sequence[Named]) -> Score:
    """Score ranked findings as the development cases are scored."""
    alarms = [f for f in found if f.alarm]
    if case.healthy:
        return Score(-1.0, "alarm") if alarms else Score(0.0, "quiet")
    right = {case.cause, *case.also}
    hits = [k for k, f in enumerate(found[:3]) if f.causes & right]
    placed = [k for k in hits if well_placed(found[k].where, places)]
    first = bool(hits) and hits[0] == 0
    if placed and placed[0] == 0:
        return Score(1.0, "right", True, True)
    if first:
        return Score(0.5, "right, elsewhere", True, bool(placed))
    if hits:
        return Score(0.5, "among three", False, bool(placed))
    return Score(-1.0, "wrong") if alarms else Score(0.0, "missed")
