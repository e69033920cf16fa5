"""Ridge regression in closed form, and what it says of each sample without having seen it."""

import torch
from torch import Tensor

STRENGTHS = torch.logspace(-10, 2, 49, dtype=torch.float64)
"""Penalties in units of the largest squared singular value, four a decade: below the first the
squares of the others are rounding, above the last nothing is left of any weight."""


def left_out(inputs: Tensor, targets: Tensor) -> Tensor:
    """The prediction for each sample of a ridge regression fitted to all others.

    Inputs are standardised, the offset bears no penalty. With X = U S Vᵀ and the leverage
    h = 1/n + Σ u² s² / (s² + p) of a sample, leaving it out divides its residual by 1 - h (exact,
    Allen 1974). The penalty p is the one of least generalised cross-validation, the mean square
    residual over (1 - mean h)² (Golub, Heath and Wahba 1979). The smaller of XᵀX and XXᵀ is
    decomposed: n d min(n, d) operations.

    Args:
        inputs: (samples, features), at least three samples; a feature that never changes is ignored.
        targets: (samples, targets).

    Returns:
        (samples, targets) in double precision.

    >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> y = x @ torch.tensor([[1.0], [2.0], [3.0]]) + 4
    >>> bool((left_out(x, y) - y).abs().max() < 1e-5)
    True
    """
    wanted = targets.double()
    x, offset = standardised(inputs.double()), wanted.mean(0)
    y = wanted - offset
    axes, squares = _axes(x)
    along = axes.T @ y
    explained, outside = along.square().sum(1), (y - axes @ along).square().sum()
    penalty = _penalty(squares, explained, float(outside), len(x))
    kept = squares / (squares + penalty)
    residual = y - axes @ (kept[:, None] * along)
    leverage = 1 / len(x) + axes.square() @ kept
    return wanted - residual / (1 - leverage).clamp(min=1e-9)[:, None]


def standardised(values: Tensor) -> Tensor:
    """Columns of zero mean and unit deviation; zeros where nothing changes but for rounding."""
    deviation = values.std(0, correction=0)
    still = deviation <= 1e-6 * values.abs().amax(0)
    centred = torch.where(still, 0.0, values - values.mean(0))
    return centred / torch.where(still, 1.0, deviation)


def _axes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (samples, axes) and the squared singular values that are no rounding."""
    tall = x.shape[0] > x.shape[1]
    squares, vectors = torch.linalg.eigh(x.T @ x if tall else x @ x.T)
    real = squares > float(STRENGTHS[0]) * float(squares.max())
    squares, vectors = squares[real], vectors[:, real]
    return (x @ vectors / squares.sqrt() if tall else vectors), squares


def _penalty(squares: Tensor, explained: Tensor, outside: float, samples: int) -> float:
    """The penalty of the least criterion."""
    if not len(squares):
        return 1.0  # no input changes: the mean is all there is
    penalties = STRENGTHS[:, None] * float(squares.max())
    left = penalties / (squares + penalties)
    residual = (left.square() * explained).sum(1) + outside
    freedom = 1 - (1 + (1 - left).sum(1)) / samples
    criterion = residual / freedom.clamp(min=1e-9).square()
    return float(penalties[int(torch.where(freedom > 1e-6, criterion, torch.inf).argmin())])
