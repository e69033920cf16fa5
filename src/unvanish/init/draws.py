"""Matrices to start from: orthogonal ones of any shape."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

_EXACT = 256
"""Up to this size the orthogonal factor is computed in float64, where deep nets are narrow."""


def orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Unit rows, orthogonal among each other in blocks of at most ``columns``.

    A square one is a rotation: every singular value is one. A flat one keeps the mean square of an
    isotropic signal, a tall one is a stack of rotations: equal singular values, same mean square.

    >>> A = orthogonal(6, 3, torch.Generator().manual_seed(0))
    >>> bool(torch.allclose(A.T @ A, 2 * torch.eye(3, dtype=A.dtype)))
    True
    """
    blocks = [
        _rotation(min(columns, rows - start), columns, generator)
        for start in range(0, rows, columns)
    ]
    return torch.cat(blocks)


def _rotation(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    dtype = torch.float64 if columns <= _EXACT else torch.float32
    normal = torch.randn(columns, rows, generator=generator, dtype=dtype)
    q, r = torch.linalg.qr(normal)
    return (q * r.diagonal().sign()).T.double()  # the sign makes it uniform (Mezzadri 2007)


def principal(samples: Tensor) -> Callable[[int, int, torch.Generator], Tensor]:
    """A draw whose rows span the directions in which the samples (N, columns) vary most.

    For a layer with fewer rows than columns, which must lose something: a random projection loses
    of every direction alike, this one the least of the signal. Rows are orthonormal and stand at
    random angles to the principal directions, so that all carry alike much. Directions that the
    samples do not have are random.

    >>> samples = torch.randn(50, 1) * torch.tensor([[3.0, 4.0, 0.0]])
    >>> row = principal(samples)(1, 3, torch.Generator().manual_seed(0))
    >>> [round(abs(v), 4) for v in row[0].tolist()]
    [0.6, 0.8, 0.0]
    """

    def draw(rows: int, columns: int, generator: torch.Generator) -> Tensor:
        centred = samples.detach().double() - samples.detach().double().mean(0)
        values, directions = torch.linalg.svd(centred, full_matrices=False)[1:]
        rank = int((values > values[0] * 1e-6).sum()) if len(values) else 0
        known = directions[: min(rows, rank)]
        random = torch.randn(rows - len(known), columns, generator=generator, dtype=torch.float64)
        basis = torch.linalg.qr(torch.cat([known, random]).T)[0].T
        return orthogonal(rows, rows, generator) @ basis

    return draw


def gaussian(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Independent normal entries of variance 1 / columns."""
    return torch.randn(rows, columns, generator=generator, dtype=torch.float64) / math.sqrt(columns)
