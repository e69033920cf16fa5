"""Where a matrix stands in a kernel: at one place, at a whole block, or beside the middle by chance.

A delta-orthogonal kernel (Xiao et al. 2018, arXiv:1806.05393) has its matrix at the one tap that reads
the position itself: an isometry, but a net of such kernels starts as one of 1 x 1, to which neighbouring
places say nothing. Here some outputs read from beside: that is an isometry too, but for what
is pushed over the border, where the padding is zero. So the border says how often that may happen.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Tap = tuple[int, ...]

PUSHED_OUT = 2.0
"""Logarithm of the energy that all kernels of a net together may push over the borders."""
MOST = 0.5
"""Half of the outputs stand at the middle in a shallow net, too."""


def isometric_taps(module: Convolution | Transposed) -> list[Tap]:
    """The places of the kernel that read every input position exactly once.

    Stride one: the one tap that reads the position itself (the centre where padding is half of
    the kernel), delta-orthogonal (Xiao et al. 2018, arXiv:1806.05393). Stride s: the block of s
    taps that tile the input; where the kernel is smaller than its stride, all of it.
    """
    starts: list[range] = []
    for size, stride, pad in zip(module.kernel_size, module.stride, _padding(module), strict=True):
        width = min(size, stride)
        start = min(max(pad, 0), size - width)
        starts.append(range(start, start + width))
    return _product(starts)


def all_taps(module: Convolution | Transposed) -> list[Tap]:
    """Every place of the kernel."""
    return _product([range(size) for size in module.kernel_size])


def _padding(module: Convolution | Transposed) -> Sequence[int]:
    dilation = module.dilation
    if isinstance(module.padding, str):
        same = module.padding == "same"
        return [(size - 1) // 2 if same else 0 for size in module.kernel_size]
    return [int(pad) // step for pad, step in zip(module.padding, dilation, strict=True)]


def _product(ranges: Sequence[Sequence[int]]) -> list[Tap]:
    places: list[Tap] = [()]
    for steps in ranges:
        places = [(*place, step) for place in places for step in steps]
    return places


def taps_within(module: Convolution, places: Sequence[int]) -> list[Tap]:
    """The taps that read something of a map of so many ``places`` (one number for each dimension).

    Those are all but the ones that stand so far from the middle that they see the padding only.
    """
    middle = isometric_taps(module)[0]
    geometry = zip(module.kernel_size, middle, module.dilation, places, strict=True)
    return _product(
        [
            [tap for tap in range(size) if abs(tap - at) * step < length]
            for size, at, step, length in geometry
        ]
    )


def pushed_out(module: Convolution, places: Sequence[int]) -> float:
    """Share of a map's energy that an output with its tap anywhere at random loses at the borders.

    >>> kernel = nn.Conv1d(4, 4, 3, padding=1)
    >>> round(pushed_out(kernel, [8]), 4)  # two of three taps lose one place of eight
    0.0833
    """
    middle, taps = isometric_taps(module)[0], taps_within(module, places)
    kept = 0.0
    for tap in taps:
        geometry = zip(tap, middle, module.dilation, places, strict=True)
        kept += math.prod(1 - abs(t - at) * step / size for t, at, step, size in geometry)
    return 1 - kept / len(taps)


def chances(lost: Mapping[int, float]) -> dict[int, float]:
    """How likely an output of each kernel has its tap anywhere, from what it then loses.

    All kernels push out alike much, PUSHED_OUT together; MOST of the outputs at most.
    """
    share = 1 - math.exp(-PUSHED_OUT / max(len(lost), 1))
    return {index: min(MOST, share / loss) for index, loss in lost.items() if loss > 0}


def displaced(
    kernel: Tensor, number: Tensor, chance: float, middle: int, taps: int, source: torch.Generator
) -> Tensor:
    """A core (outputs, inputs, 1) as (outputs, inputs, taps): one tap each, by chance not the middle.

    Outputs that stand for the same ``number`` (a mirrored pair) stay at one tap together.
    """
    count = int(number.max()) + 1
    anywhere = torch.randint(taps, (count,), generator=source)
    moved = torch.rand(count, generator=source) < chance
    place = torch.where(moved, anywhere, middle)[number]
    spread = kernel.new_zeros(*kernel.shape[:2], taps)
    spread[torch.arange(len(kernel)), :, place] = kernel[:, :, 0]
    return spread
