"""Ridge regression in closed form, its strength chosen by generalised cross-validation."""

from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTHS = torch.logspace(-10, 2, 49, dtype=torch.float64)
"""Penalties in units of the largest squared singular value, four a decade: below the first the
squares of the others are rounding, above the last nothing is left of any weight."""


@dataclass(frozen=True, slots=True)
class Ridge:
    """A linear model of standardised inputs. ``strength`` is the penalty, ``error`` its criterion."""

    mean: Tensor
    deviation: Tensor
    weights: Tensor
    offset: Tensor
    strength: float
    error: float

    def __call__(self, inputs: Tensor) -> Tensor:
        """Predictions (samples, targets), in double precision, for inputs (samples, features)."""
        scaled = (inputs.double() - self.mean) / self.deviation
        return scaled @ self.weights + self.offset


def fit_ridge(inputs: Tensor, targets: Tensor) -> Ridge:
    """Least squares with a penalty on the weights of standardised inputs, none on the offset.

    With X = U S Vᵀ the residual at penalty p is Σ (p / (s² + p))² |uᵀY|² + |Y|² - |UᵀY|², and its
    mean square over (1 - (1 + Σ s² / (s² + p)) / n)² is least where leaving one sample out is
    predicted best, whatever the axes (Golub, Heath and Wahba 1979). The smaller of XᵀX and XXᵀ is
    decomposed: n d min(n, d) operations.

    Args:
        inputs: (samples, features), at least two samples; a feature that never changes is ignored.
        targets: (samples, targets).

    >>> x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    >>> model = fit_ridge(x, x @ torch.tensor([[1.0], [2.0], [3.0]]) + 4)
    >>> model(torch.zeros(1, 3)).round().tolist()
    [[4.0]]
    """
    values, wanted = inputs.double(), targets.double()
    mean, offset = values.mean(0), wanted.mean(0)
    deviation = values.std(0, correction=0)
    still = deviation <= 1e-9 * values.abs().amax(0)
    x = torch.where(still, 0.0, values - mean)
    deviation = torch.where(still, 1.0, deviation)
    x, y = x / deviation, wanted - offset
    tall = x.shape[0] > x.shape[1]
    squares, vectors = torch.linalg.eigh(x.T @ x if tall else x @ x.T)
    squares = squares.clamp(min=0)
    along = vectors.T @ (x.T @ y if tall else y)
    explained = along.square().sum(1)
    if tall:
        explained = torch.where(squares > 0, explained / squares.clamp(min=1e-300), 0.0)
    strength, error = _chosen(squares, explained, float(y.square().sum()), len(x))
    inner = vectors @ (along / (squares + strength)[:, None])
    weights = inner if tall else x.T @ inner
    weights = torch.where(still[:, None], 0.0, weights)
    return Ridge(mean, deviation, weights, offset, strength, error)


def _chosen(squares: Tensor, explained: Tensor, total: float, samples: int) -> tuple[float, float]:
    """The penalty of the least criterion, and the criterion there."""
    top = float(squares.max())
    if top == 0:
        return 1.0, total / samples  # no input changes: the mean is all there is
    penalties = (STRENGTHS * top)[:, None]
    left = penalties / (squares + penalties)
    residual = (left.square() * explained).sum(1) + max(total - float(explained.sum()), 0.0)
    freedom = 1 - (1 + (1 - left).sum(1)) / samples
    usable = freedom > 1e-6
    criterion = torch.where(usable, residual / samples / freedom.clamp(min=1e-6).square(), torch.inf)
    best = int(criterion.argmin())
    return float(penalties[best, 0]), float(criterion[best])
