"""UV303 post-norm-depth: normalisation after the residual sum, too deep for the skips."""

import math
from collections.abc import Iterable

from unvanish.cards import Card
from unvanish.causes.cause import BROKEN_DECADES, HARMFUL_DECADES, Case, Cause, Finding, found
from unvanish.causes.dataflow import DROPOUTS, SUMS, VIEWS, Dataflow
from unvanish.causes.standing_still import begins
from unvanish.probe.flow import NORMALIZING

CARD = Card(
    code="UV303",
    name="post-norm-depth",
    title="norms after the residual sums close the skip path",
    says="{sublayers:.0f} residual sums in a row from {where} on are normalised after the sum: the "
    "skip path alone passes on {passed:.2g} of the gradient ({skip_decades:.1f} decades lost) "
    "{detail}.",
    what="Normalised before the branch, a residual net keeps a path of plain sums from loss to "
    "input. Normalised after the sum, every sublayer divides that path by the size of the sum: "
    "where branch and skip are of one size, half of the energy goes at every sublayer.",
    hurts="What reaches the far layers comes through the branches and is random at the start: a "
    "deep stack stays on a plateau unless the step size is warmed up slowly.",
    apart="Not the number of layers decides but the measured product of all sums' sizes along the "
    "skip path: below the square root of float32's resolution it is harmful, below the resolution "
    "broken. Measured on rows of digits with Xavier weights and Adam without warm-up: 6 and 12 "
    "blocks (below 2 decades) learn at every step size, 24 and 32 (3.6 and more) at the smaller "
    "one only, 48 and 64 (7 and more) at none. Small branches grow as they train: from 24 sums on, "
    "where branches of the skip's size would close it, a copy takes ten steps of the given "
    "optimizer (measured: 24 blocks of small branches reach 5 decades at a rate at which they fail; "
    "a BERT of 24 blocks at 5e-5 stays at 0.1). Where a copy begins to learn with the given optimizer "
    "in a few hundred steps it is a note: the branches carry what the skips do not. Weighted "
    "skips (DeepNorm), branches that start at zero and norms before the branch lose nothing and are "
    "not named. The gradient norms themselves stay flat and show nothing.",
    do="Normalise before the branch (norm_first=True), weigh skip and branch as DeepNorm does, or "
    "start the branches at zero; else warm up for thousands of steps.",
    reference="Xiong et al. 2020, arXiv:2002.04745; Wang et al. 2022, arXiv:2203.00555 (DeepNorm)",
    clear="the norms after residual sums leave the skip path all but {decades:.1f} decades of the "
    "gradient over {sublayers:.0f} sums",
)

REMEDIES = ("pre-norm", "scale-residual", "warm-up")
STEPS = 10
"""Enough for branches to grow at the rate that will be used, whatever they started from."""


def find(case: Case) -> Iterable[Finding]:
    """The longest chain of norms that each take a sum of the one before and a branch."""
    names, decades = skip_path(Dataflow(case.trace))
    when = "as it starts"
    if decades < HARMFUL_DECADES and case.optimizer and could_close(len(names)):
        later = case.laboratory.after_steps(STEPS)
        if later is not None:
            names, decades = skip_path(Dataflow(later))
            when = f"after {STEPS} steps of your optimizer on a copy"
    if decades < HARMFUL_DECADES:
        return
    # A rate that is below the one it started from is being warmed up, or was.
    warmed = case.optimizer is not None and any(g.scheduled for g in case.optimizer.groups)
    severity = "broken" if decades >= BROKEN_DECADES else "harmful"
    yield found(
        CARD,
        "note" if warmed or begins(case) else severity,
        reversed(names),
        {
            "sublayers": float(len(names)),
            "skip_decades": decades,
            "passed": 10**-decades,
            "equal_size_decades": len(names) * math.log10(2) / 2,
        },
        REMEDIES,
        detail=when,
    )


def could_close(sublayers: int) -> bool:
    """Whether so many sums of two signals of one size, (1/2)^n of energy, would starve the skip."""
    return sublayers * math.log10(2) / 2 >= HARMFUL_DECADES


def skip_path(flow: Dataflow) -> tuple[list[str], float]:
    """Modules of the norms along the longest such chain, and the decades that they take in all."""
    chains: dict[int, tuple[list[str], float]] = {}
    for index in sorted(flow.to_loss):
        operation = flow[index]
        if operation.function not in NORMALIZING or operation.function == "batch_norm":
            continue
        total = flow.argument(index, 0, VIEWS | DROPOUTS)
        if total is None or flow[total].function not in SUMS or not _is_residual(flow, total):
            continue
        ends = [flow.before(m, VIEWS | DROPOUTS) for m in flow[total].inputs]
        known = [chains[end] for end in ends if end is not None and end in chains]
        names, decades = max(known, key=lambda chain: len(chain[0]), default=([], 0.0))
        before, after = flow[total].output_rms, operation.output_rms
        if not all(map(math.isfinite, (before or 0.0, after or 0.0))):
            continue  # of a sum without a size nothing can be said, nor of what comes after it
        taken = math.log10(before / after) if before and after else 0.0
        # What grew before (small embeddings brought to unit size) pays for nothing behind it.
        chains[index] = [*names, operation.module or "(model)"], max(decades, 0.0) + taken
    return max(chains.values(), key=lambda chain: chain[1], default=([], 0.0))


def _is_residual(flow: Dataflow, index: int) -> bool:
    """Whether one summand was made from the other."""
    made = [m for m in flow[index].inputs if m is not None]
    if len(made) != len(flow[index].inputs) or len(made) != 2:
        # The skip of the first block may be the batch itself.
        return len(made) == 1 and len(flow[index].inputs) == 2 and not flow[index].parameters
    first, second = sorted(m if (b := flow.before(m)) is None else b for m in made)
    return first != second and first in flow.ancestors([second], lowest=first)


def clear(case: Case) -> dict[str, float] | None:
    """What the chain takes, if there is one."""
    names, decades = skip_path(Dataflow(case.trace))
    return (
        {"decades": max(decades, 0.0), "sublayers": float(len(names))} if len(names) > 1 else None
    )


CAUSE = Cause(card=CARD, find=find, clear=clear, explains=("depth-decay", "collapsed-signal"))
