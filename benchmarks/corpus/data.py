"""Small synthetic tasks that a healthy net learns within a few hundred steps."""

import math

import torch
from torch import Tensor


def source(seed: int) -> torch.Generator:
    """A generator of its own, so that data and initialisation do not depend on each other."""
    return torch.Generator().manual_seed(90_001 + 7919 * seed)


def clusters(
    seed: int, features: int, classes: int, samples: int = 96, apart: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Gaussian clusters of unit variance around random centres."""
    generator = source(seed)
    labels = torch.arange(samples) % classes
    centers = apart * torch.randn(classes, features, generator=generator)
    points = torch.randn(samples, features, generator=generator) + centers[labels]
    return points / math.sqrt(1 + apart**2), labels


def rings(seed: int, classes: int = 2, samples: int = 128) -> tuple[Tensor, Tensor]:
    """Points on concentric circles: no straight line separates them."""
    generator = source(seed)
    labels = torch.arange(samples) % classes
    angle = 2 * math.pi * torch.rand(samples, generator=generator)
    radius = 0.5 + labels + 0.1 * torch.randn(samples, generator=generator)
    points = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    return points / points.std(), labels


def pictures(
    seed: int, classes: int = 4, samples: int = 32, channels: int = 3, size: int = 12
) -> tuple[Tensor, Tensor]:
    """Class patterns under noise."""
    generator = source(seed)
    labels = torch.arange(samples) % classes
    patterns = torch.randn(classes, channels, size, size, generator=generator)
    noise = torch.randn(samples, channels, size, size, generator=generator)
    return (patterns[labels] + noise) / math.sqrt(2), labels


def first_matters(
    seed: int, length: int, features: int = 6, classes: int = 4, samples: int = 64
) -> tuple[Tensor, Tensor]:
    """Noise sequences whose class is written into the first step only."""
    generator = source(seed)
    labels = torch.arange(samples) % classes
    centers = 2 * torch.randn(classes, features, generator=generator)
    inputs = 0.7 * torch.randn(samples, length, features, generator=generator)
    inputs[:, 0] += centers[labels]
    return inputs, labels


def every_step(
    seed: int, length: int, features: int = 6, classes: int = 4, samples: int = 24
) -> tuple[Tensor, Tensor]:
    """Sequences with a label at each step, written into that step."""
    generator = source(seed)
    labels = torch.randint(classes, (samples, length), generator=generator)
    centers = 2 * torch.randn(classes, features, generator=generator)
    return torch.randn(samples, length, features, generator=generator) + centers[labels], labels


def sentences(
    seed: int, vocabulary: int = 60, length: int = 12, classes: int = 4, samples: int = 48
) -> tuple[Tensor, Tensor]:
    """Token rows in which the tokens of one class are frequent."""
    generator = source(seed)
    labels = torch.arange(samples) % classes
    tokens = torch.randint(1, vocabulary, (samples, length), generator=generator)
    own = torch.rand(samples, length, generator=generator) < 0.5
    like = tokens - tokens % classes + labels[:, None]
    return torch.where(own, like.clamp(1, vocabulary - 1), tokens), labels


def table(seed: int, features: int = 8, samples: int = 128) -> tuple[Tensor, Tensor]:
    """Regression: a smooth function of standard features, zero mean, unit variance, (N, 1)."""
    generator = source(seed)
    inputs = torch.randn(samples, features, generator=generator)
    direction = torch.randn(features, 2, generator=generator) / math.sqrt(features)
    hidden = inputs @ direction
    targets = torch.sin(2 * hidden[:, :1]) + hidden[:, 1:] ** 2 + hidden[:, :1]
    return inputs, (targets - targets.mean()) / targets.std()
