"""Small data sets made on the spot: seeded, of unit scale, learned by a healthy net in seconds."""

import math

import torch
from torch import Tensor


def clusters(
    seed: int, features: int = 64, classes: int = 10, samples: int = 128
) -> tuple[Tensor, Tensor]:
    """Points around one random centre for each class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randperm(samples, generator=generator) % classes
    centers = torch.randn(classes, features, generator=generator)
    noise = torch.randn(samples, features, generator=generator)
    return (centers[labels] + noise) / math.sqrt(2), labels


def rings(seed: int, samples: int = 128) -> tuple[Tensor, Tensor]:
    """Points on two circles, one inside the other: no straight line tells them apart."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randperm(samples, generator=generator) % 2
    angles = 2 * math.pi * torch.rand(samples, generator=generator)
    radii = 0.5 + labels + 0.1 * torch.randn(samples, generator=generator)
    return torch.stack([radii * angles.cos(), radii * angles.sin()], dim=1), labels


def curve(seed: int, features: int = 8, samples: int = 256) -> tuple[Tensor, Tensor]:
    """A smooth function of a few numbers; targets of shape (N, 1), zero mean, unit variance."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, features, generator=generator)
    values = torch.sin(2 * inputs[:, :1]) + inputs[:, 1:2] * inputs[:, 2:3]
    return inputs, (values - values.mean()) / values.std()


def recall(seed: int, length: int, samples: int = 64) -> tuple[Tensor, Tensor]:
    """Noise of shape (N, length, 1); the label is the sign of the very first value."""
    generator = torch.Generator().manual_seed(seed)
    sequences = torch.randn(samples, length, 1, generator=generator)
    return sequences, (sequences[:, 0, 0] > 0).float()


def sentences(
    seed: int, vocabulary: int = 60, length: int = 12, classes: int = 4, samples: int = 64
) -> tuple[Tensor, Tensor]:
    """Rows of word numbers; half of the words of a row belong to its class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randperm(samples, generator=generator) % classes
    words = torch.randint(vocabulary, (samples, length), generator=generator)
    own = words - words % classes + labels[:, None]
    chosen = torch.rand(samples, length, generator=generator) < 0.5
    return torch.where(chosen & (own < vocabulary), own, words), labels
