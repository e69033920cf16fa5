"""How soon a copy learns something: real steps until its loss tells its own targets from others'."""

import math

import torch

from unvanish.experiments.altered_data import in_parts
from unvanish.experiments.looks import shuffled_ratio
from unvanish.experiments.program import Program
from unvanish.training.optimizer_copy import set_options

FIRST = 25
"""Steps until it is asked for the first time; then at every doubling."""
BATCHES = 20
"""Different batches, one after another and again."""


def steps_to_know(
    program: Program,
    share: float,
    most: int,
    rate: float,
    even: bool,
    parts: int,
    lasting: bool,
) -> float | None:
    """Steps after which one minus the loss over that with shuffled targets is this share.

    The user's own step size is multiplied by ``rate``; ``even``: Adam's default step instead, which
    moves every weight that gets any gradient by the same small amount; ``parts``: each batch is as
    many smaller ones; ``lasting``: it must be so after twice the steps as well. Infinite where it
    is not reached in ``most`` steps, or the loss is no number any more; ``None`` where a loss below
    zero has no share that is gone.
    """
    twin, optimizer = program.twin()
    if even:
        optimizer = torch.optim.Adam([p for g in optimizer.param_groups for p in g["params"]])
    else:
        set_options(optimizer, rate, decay=True, momentum=True)
    taken, mark, begun = 0, min(FIRST, most), math.inf
    with program.at_rest():
        batches = program.batches(min(BATCHES, most))
        asked = batches[0]
        if parts > 1:
            batches = [part for batch in batches for part in in_parts(batch, parts)]
        while True:
            record = program.trained(twin, optimizer, batches, mark - taken, tracked=False)
            if not record.finite:
                return math.inf
            known = shuffled_ratio(program, asked, twin)
            if known is None:
                return None
            knows = 1 - known >= share
            if knows and (begun < math.inf or not lasting):
                return min(begun, float(mark))
            if not knows and mark >= most:
                return math.inf
            begun = float(mark) if knows else math.inf
            taken, mark = mark, 2 * mark if knows else min(2 * mark, most)
