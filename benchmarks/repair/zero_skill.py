"""Judges that know nothing about gradients: what must be beaten before anything is claimed."""

import random
from functools import partial

import torch

from repair.cure import Cure, carried_out, kept_apart, left_alone
from repair.editing import ARCHITECTURE, REMEDIES, unchanged
from repair.labels import SEEDS
from repair.programs import Built, Program
from repair.training import run

OTHER_SEEDS = 1000
"""Initial values drawn anew come from here on: no seed that a verdict is taken with."""


def untouched(program: Program, budget: int) -> Cure:
    """Nothing: the program as it is."""
    return left_alone("nothing")


def twin(program: Program, budget: int) -> Cure:
    """The known-good twin from other initial values: no cure, but what chance leaves of the bar."""
    return Cure("twin", lambda p, seed: p.twin(seed + OTHER_SEEDS), architecture=True)


def validated(built: Built, seed: int) -> float:
    """The metric on what is kept apart of the training data."""
    return run(kept_apart(built), seed).metric


def reseeded(program: Program, budget: int) -> Cure:
    """Other initial values; of as many as the budget allows, those that validate best."""
    each = max(budget // SEEDS, 1)
    best: dict[int, int] = {}
    for seed in range(SEEDS):
        seeds = [OTHER_SEEDS + 50 * seed + k for k in range(each)]
        best[seed] = seeds[0]
        if each > 1:
            best[seed] = max(seeds, key=lambda s: validated(program.build(s), seed))

    def perform(drawn: Program, seed: int) -> Built:
        return drawn.build(best.get(seed, OTHER_SEEDS + 50 * seed))

    return Cure(f"best of {each} seeds", perform, runs=SEEDS * each if each > 1 else 0)


def by_validation(program: Program, names: list[str], seeds: int) -> tuple[str, float]:
    """The remedy with the best mean validation metric, ``""`` (none at all) included."""

    def value(name: str) -> float:
        found: list[float] = []
        for seed in range(seeds):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed + 900)
                built = REMEDIES.get(name, unchanged)(program.build(seed))
                found.append(validated(built, seed))
        return sum(found) / seeds

    tried = ["", *names]
    return max(tried, key=value), float(seeds * len(tried))


def chosen(program: Program, names: list[str], seeds: int) -> Cure:
    name, runs = by_validation(program, names, seeds)
    if not name:
        return left_alone("nothing is better", runs)
    return Cure(name, carried_out(name), True, name in ARCHITECTURE, runs)


def learning_rate(program: Program, budget: int) -> Cure:
    """The learning rate times or divided by ten, or kept, by validation."""
    return chosen(program, ["rate x 10", "rate / 10"], max(budget // 3, 1))


def always(name: str, program: Program, budget: int) -> Cure:
    """One remedy for everybody."""
    return Cure(name, carried_out(name), True, name in ARCHITECTURE)


def drawn(program: Program, count: int) -> list[str]:
    return random.Random(program.name).sample(sorted(REMEDIES), min(count, len(REMEDIES)))


def random_remedy(program: Program, budget: int) -> Cure:
    """One remedy by lot, untried."""
    return always(drawn(program, 1)[0], program, budget)


def random_search(program: Program, budget: int) -> Cure:
    """As many remedies by lot as the budget allows; the best by validation."""
    return chosen(program, drawn(program, max(budget - 1, 1)), 1)


always_selu = partial(always, "SELU")
always_batch_norm = partial(always, "batch norm")
