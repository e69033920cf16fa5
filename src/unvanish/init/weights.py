"""One weight tensor from an orthogonal core, the shape it writes and the layout it reads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from unvanish.init.layout import Layout, pairs, plain
from unvanish.init.parts import Part
from unvanish.init.shaping import Shape
from unvanish.init.taps import (
    Convolution,
    Tap,
    Transposed,
    all_taps,
    displaced,
    isometric_taps,
    taps_within,
)

Draw = Callable[[int, int, torch.Generator], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to write one part: ``gain`` on the core, ``local`` taps or the whole kernel.

    Of local ones an output stands beside the middle by ``chance``, on a map of so many ``places``.
    """

    draw: Draw
    gain: float
    writes: Shape | None
    reads: Layout | None
    local: bool
    chance: float = 0.0
    places: tuple[int, ...] = ()


@torch.no_grad()
def write(part: Part, recipe: Recipe, generator: torch.Generator) -> None:
    """Give the part's weight and bias their new values.

    With A the core, s the sign and number of what an output copies, and w, o the weight and offset
    of what an input stands for: W[out, in] = s[out] A[number(out), number(in)] w[in], and the bias
    is W o, so that the layer applies A to the signal itself.
    """
    reads = recipe.reads or plain(part.inputs, 0)
    taps = _taps(part, recipe.local)
    step = 1 if part.kind == "transposed" else len(taps)
    groups = part.groups
    wide, high = part.inputs // groups, part.outputs // groups
    # Depthwise: a core for each channel would be a random sign, which says nothing.
    kernel = torch.zeros(part.outputs, wide, step, dtype=torch.float64)
    for group in range(groups):
        entries = slice(group * wide, (group + 1) * wide)
        outputs = slice(group * high, (group + 1) * high)
        number = np.unique(reads.number[entries], return_inverse=True)[1]
        kernel[outputs] = _block(number, high, step, recipe, wide == 1, generator)
    scale = recipe.writes.scale if recipe.writes is not None else 1.0
    weight = torch.from_numpy(np.asarray(reads.weight)).reshape(groups, wide)
    offset = torch.from_numpy(np.asarray(reads.offset)).reshape(groups, wide)
    by_output = weight.repeat_interleave(high, 0)
    kernel = kernel * by_output[:, :, None] * (scale * recipe.gain)
    shift = recipe.writes.shift if recipe.writes is not None else 0.0
    bias = shift + (kernel.sum(2) * offset.repeat_interleave(high, 0)).sum(1)
    if part.bias is not None:
        part.bias.copy_(bias)
    if recipe.chance and isinstance(part.owner, Convolution):
        within = taps_within(part.owner, recipe.places)
        number = torch.from_numpy(_copies(part.outputs, recipe)[0])
        home = within.index(taps[0])
        kernel = displaced(kernel, number, recipe.chance, home, len(within), generator)
        taps = within
    part.weight.copy_(_stored(part, kernel, taps))


def _block(
    number: np.ndarray,
    outputs: int,
    step: int,
    recipe: Recipe,
    depthwise: bool,
    generator: torch.Generator,
) -> Tensor:
    """The core of one group, spread over the outputs and inputs that copy it."""
    copies, sign = _copies(outputs, recipe)
    rows, columns = int(copies.max()) + 1, (int(number.max()) + 1) * step
    if depthwise and step == 1:
        core = torch.ones(rows, columns, dtype=torch.float64)
    else:
        core = recipe.draw(rows, columns, generator)
    spread = core.reshape(rows, -1, step)[torch.from_numpy(copies)]
    return spread[:, torch.from_numpy(number)] * torch.from_numpy(sign)[:, None, None]


def _copies(outputs: int, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Which number each output stands for, and its sign."""
    if recipe.writes is not None and recipe.writes.mirrored:
        return pairs(outputs)
    return np.arange(outputs), np.ones(outputs)


def _taps(part: Part, local: bool) -> list[Tap]:
    if isinstance(part.owner, Convolution | Transposed) and part.kind != "linear":
        transposed = part.kind == "transposed"
        return isometric_taps(part.owner) if local or transposed else all_taps(part.owner)
    return [()]


def is_spread(part: Part) -> bool:
    """Whether the kernel has more places than an isometry uses."""
    return len(_taps(part, False)) > len(_taps(part, True))


def _stored(part: Part, kernel: Tensor, taps: list[Tap]) -> Tensor:
    if part.kind in ("linear", "left"):
        matrix = kernel[:, :, 0]
        return matrix if part.stored == "rows" else matrix.T
    shape = part.weight.shape
    full = torch.zeros(kernel.shape[0], kernel.shape[1], *shape[2:], dtype=kernel.dtype)
    for place, tap in enumerate(taps):
        full[(slice(None), slice(None), *tap)] = kernel[:, :, min(place, kernel.shape[2] - 1)]
    if part.kind == "conv":
        return full
    high = part.outputs // part.groups  # stored by input, then by output of its group
    groups = full.reshape(part.groups, high, full.shape[1], *shape[2:])
    return groups.transpose(1, 2).reshape(shape)


def bare(module: nn.Module, weight: nn.Parameter) -> bool:
    """Whether calling the module does nothing but apply this weight."""
    known = (nn.Linear, Convolution, Transposed)
    alone = [p for p in module.parameters(recurse=False) if p.dim() >= 2]
    named_like_one = type(module).__name__ == "Conv1D"  # of transformers: a linear layer
    return (isinstance(module, known) or named_like_one) and alone == [weight]
