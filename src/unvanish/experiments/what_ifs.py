"""What if: which findings go when one thing is changed on a copy, and which stay."""

from collections.abc import Callable
from dataclasses import dataclass

from unvanish.experiments.laboratory import Laboratory
from unvanish.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """One change on a copy: the names of the findings that it cures (``gone``) and of the rest.

    Only findings that one look at the gradient can show take part; those that need real steps do
    not.
    """

    change: str
    gone: tuple[str, ...]
    stays: tuple[str, ...]
    comes: tuple[str, ...]


CHANGES: tuple[tuple[str, Callable[[Laboratory, Trace], Trace | None]], ...] = (
    ("inputs at zero mean and unit variance", lambda bench, _: bench.with_inputs_scaled()),
    (
        "neutral initialisation (He, orthogonal, zero biases)",
        lambda bench, trace: bench.with_neutral_init(trace.activations),
    ),
    (
        "the same weights in another order (another seed)",
        lambda bench, _: bench.with_weights_redrawn(1),
    ),
)


def try_changes(
    named: Callable[[Trace], tuple[str, ...]], trace: Trace, laboratory: Laboratory
) -> tuple[WhatIf, ...]:
    """Try each change where there is something to cure.

    Args:
        named: the findings of a trace, judged without experiments.
        trace: of the model as it is.
        laboratory: what makes the changes on copies.
    """
    before = named(trace)
    if any(bad.batch for bad in trace.nonfinite):
        # The copies meet the first batch, which shows nothing of what a later one has.
        before = tuple(name for name in before if not name.startswith("nonfinite-"))
    if not before:
        return ()
    tried: list[WhatIf] = []
    for change, make in CHANGES:
        changed = make(laboratory, trace)
        if changed is None:
            continue
        after = named(changed)
        tried.append(
            WhatIf(
                change=change,
                gone=tuple(name for name in before if name not in after),
                stays=tuple(name for name in before if name in after),
                comes=tuple(name for name in after if name not in before),
            )
        )
    return tuple(tried)
