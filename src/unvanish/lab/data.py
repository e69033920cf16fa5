"""The data sets of the lab: seeded, small, of unit scale, made on the spot or shipped with a package.

Every one is ``(inputs, targets)``. For a net without a cell inputs are (samples, features); for one
with a cell the same numbers come one after the other, (samples, steps, features): a point of two
numbers at the first step and then silence, so that the net must remember it.
"""

import functools
import math

import torch
from torch import Tensor, nn

from unvanish.batches import Loss
from unvanish.lab.settings import Settings

SAMPLES = 512
"""Samples of a data set, of which a quarter is held out."""
BATCH = 64


def classes(settings: Settings) -> int:
    """How many there are to tell apart; 0 where a number is to be said."""
    return {"digits": 10, "circles": 2, "spirals": 3, "adding": 0}[settings.data]


def loss_of(settings: Settings) -> Loss:
    """Cross entropy, or the mean square error of the adding task."""
    return nn.CrossEntropyLoss() if classes(settings) else nn.MSELoss()


def samples(settings: Settings) -> tuple[Tensor, Tensor]:
    """All samples in an order drawn from the seed."""
    inputs, targets = _drawn(settings.data, settings.steps, settings.seed)
    if not settings.recurrent:
        return inputs.flatten(1), targets
    if inputs.dim() == 3:
        return inputs, targets
    return in_time(inputs, settings.steps), targets


def in_time(inputs: Tensor, steps: int) -> Tensor:
    """Rows of numbers as sequences of so many steps; silence where there are more steps than numbers.

    >>> in_time(torch.ones(5, 2), 4)[0, :, 0].tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    count, numbers = inputs.shape
    each = numbers if numbers <= 2 else math.ceil(numbers / steps)
    whole = torch.zeros(count, steps * each)
    whole[:, :numbers] = inputs
    return whole.reshape(count, steps, each)


@functools.lru_cache(maxsize=16)
def _drawn(name: str, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    if name == "digits":
        return _digits(generator)
    if name == "adding":
        return _adding(steps, generator)
    return _spirals(generator) if name == "spirals" else _circles(generator)


def _digits(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some of the digits, brought to zero mean and unit variance over all."""
    inputs, labels = _all_digits()
    chosen = torch.randperm(len(labels), generator=generator)[:SAMPLES]
    return inputs[chosen], labels[chosen]


@functools.cache
def _all_digits() -> tuple[Tensor, Tensor]:
    """Handwritten digits of 8 by 8 points (Alpaydin and Kaynak 1998), from scikit-learn."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)  # pyright: ignore
    inputs = torch.tensor(images, dtype=torch.float32)
    inputs = (inputs - inputs.mean()) / inputs.std()
    return inputs, torch.tensor(labels, dtype=torch.long)


def _circles(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two rings, one inside the other."""
    labels = torch.randperm(SAMPLES, generator=generator) % 2
    angles = 2 * math.pi * torch.rand(SAMPLES, generator=generator)
    radii = 0.6 + 1.1 * labels + 0.12 * torch.randn(SAMPLES, generator=generator)
    return torch.stack([radii * angles.cos(), radii * angles.sin()], 1), labels


def _spirals(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Three arms that wind around each other once."""
    labels = torch.randperm(SAMPLES, generator=generator) % 3
    along = 0.1 + 0.9 * torch.rand(SAMPLES, generator=generator)
    angles = 2 * math.pi * (along + labels / 3)
    noise = 0.05 * torch.randn(SAMPLES, 2, generator=generator)
    points = torch.stack([along * angles.cos(), along * angles.sin()], 1)
    return 2 * (points + noise), labels


def _adding(steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Numbers with marks beside them; the sum of the two marked ones is asked for at the end.

    Hochreiter and Schmidhuber 1997, experiment 4. One mark lies in the first half, one in the second.
    Inputs (samples, steps, 2); targets (samples, 1) of mean zero and unit variance.
    """
    values = torch.rand(SAMPLES, steps, generator=generator)
    half = max(steps // 2, 1)
    first = torch.randint(half, (SAMPLES,), generator=generator)
    second = half + torch.randint(steps - half, (SAMPLES,), generator=generator)
    rows = torch.arange(SAMPLES)
    marks = torch.zeros(SAMPLES, steps)
    marks[rows, first] = 1.0
    marks[rows, second] = 1.0
    sums = values[rows, first] + values[rows, second]
    inputs = torch.stack([math.sqrt(12) * (values - 0.5), marks], 2)
    return inputs, ((sums - 1) * math.sqrt(6)).unsqueeze(1)
