"""In which order the corpus is gone through: every kind of fault in turn, so that any part is fair."""

from collections.abc import Iterator
from itertools import chain, zip_longest

from repair.healthy import COUNT
from repair.healthy import healthy as healthy_program
from repair.mutations import CANDIDATES, candidate
from repair.programs import Program


def stratified(programs: list[Program]) -> list[Program]:
    """One of each kind, then the next of each; within a kind in their own order."""
    kinds: dict[str, list[Program]] = {}
    for program in programs:
        kinds.setdefault(program.kind, []).append(program)
    mixed = chain.from_iterable(zip_longest(*kinds.values()))
    return [program for program in mixed if program is not None]


def candidates(first: int = 0) -> list[Program]:
    """Mutated programs from this index on; training decides which of them are sick."""
    return stratified([candidate(index) for index in range(first, CANDIDATES)])


def healthy(first: int = 0) -> list[Program]:
    """Healthy by intent, from this index on; training has to confirm it."""
    return stratified([healthy_program(index) for index in range(first, COUNT)])


def named(name: str, only: str) -> bool:
    """Whether a name contains one of these parts, which have commas between them."""
    return any(part in name for part in only.split(","))


def mixed(first: int, only: str) -> Iterator[Program]:
    """Three mutated programs, then one healthy by intent, and so on to the end of both."""
    ill, well = (
        [p for p in programs if named(p.name, only)]
        for programs in (candidates(first), healthy(first))
    )
    while ill or well:
        yield from ill[:3]
        yield from well[:1]
        ill, well = ill[3:], well[1:]
