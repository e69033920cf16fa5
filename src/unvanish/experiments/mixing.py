"""Whether a sample's answer depends on which others stand in its batch, and from which module on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.batches import map_tensors, tensors_in
from unvanish.experiments.program import Program
from unvanish.probe.returned import heard
from unvanish.randomness import seeded
from unvanish.twins import twin_of

ROUNDING = 1e-5
"""Of the values' size: what another number of rows changes in float32 where rows stay apart."""
PLAIN = 1e-2
"""A change as large as this, right behind what differs by rounding at most, has come in at once.

Rounding that a chaotic net amplifies grows by a small factor with each layer instead.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """The first module (``""``: the model itself) behind which samples no longer stand apart.

    ``share``: how much the model's own outputs change when the first half of the batch is left out,
    root mean square over root mean square.
    """

    module: str
    share: float


@dataclass(frozen=True, slots=True)
class _Call:
    """What one module returned: of each tensor its length, and the rows of the last samples."""

    module: str
    values: list[tuple[int, Tensor]]


def mixed_at(program: Program) -> Mixed | None:
    """Where the answers of the second half begin to change when the first half is left out.

    Asked in eval mode, in which a batch norm looks at no other samples and dropout is off. ``None``
    where they do not change, where a half cannot be run by itself (a graph, whose adjacency is of
    all nodes) and where answers are drawn by chance.
    """
    (batch,), samples = program.batches(1), program.samples
    if samples is None or samples < 4:
        return None
    if any(_is_of_batch(module) for module in program.model.modules()):
        return None
    left = samples - samples // 2
    later = map_tensors(batch, lambda tensor: tensor[-left:])
    try:
        whole, half = (_calls(program, each, left) for each in (batch, later))
        found = _first_mixed(whole, half, samples)
        if found is None or not _agree(whole, _calls(program, batch, left, seed=1)):
            return None
    except Exception:  # the user's own code met data it was not made for: there is no answer
        return None
    return found


def _is_of_batch(module: nn.Module) -> bool:
    """Whether this is a norm that looks at the batch in eval mode too, as its author says."""
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None


def _calls(program: Program, batch: Any, left: int, seed: int = 0) -> list[_Call]:
    """What every module of a copy returned, in the order of their ends."""
    twin = twin_of(program.model).eval()
    calls: list[_Call] = []

    def listen(module: str, returned: Any) -> None:
        floats = [t for t in tensors_in(returned) if t.dim() and t.is_floating_point()]
        # Cloned: later code may write into what was returned.
        calls.append(_Call(module, [(len(t), t.detach()[-left:].clone()) for t in floats]))

    with heard(twin, listen), program.at_rest(), seeded(seed):
        program.loss_of(twin, batch)
    return calls


def _first_mixed(whole: Sequence[_Call], half: Sequence[_Call], samples: int) -> Mixed | None:
    if [call.module for call in whole] != [call.module for call in half]:
        return None
    changes = [
        (one.module, change)
        for one, other in zip(whole, half, strict=True)
        if (change := _change(one, other, samples)) is not None
    ]
    noticed = [(module, change) for module, change in changes if not change <= ROUNDING]
    if not noticed or changes[-1][0] != "" or not changes[-1][1] > PLAIN:
        return None
    module, change = noticed[0]
    return Mixed(module=module, share=changes[-1][1]) if change > PLAIN else None


def _change(whole: _Call, half: _Call, samples: int) -> float | None:
    """Relative to the values' size; ``None`` where they are not a row for each sample."""
    lengths = samples, samples - samples // 2
    changes = [
        _relative(one, other)
        for (length, one), (later, other) in zip(whole.values, half.values, strict=False)
        if (length, later) == lengths and one.shape == other.shape
    ]
    return max(changes, default=None)


def _relative(one: Tensor, other: Tensor) -> float:
    size = _rms(one)
    return _rms(one.double() - other.double()) / size if size else 0.0


def _agree(calls: Sequence[_Call], again: Sequence[_Call]) -> bool:
    """Whether the same batch was answered in the same way."""
    first, second = (
        [value for call in each for _, value in call.values] for each in (calls, again)
    )
    return len(first) == len(second) and all(map(torch.equal, first, second))


def _rms(values: Tensor) -> float:
    return float(values.double().square().mean().sqrt())
