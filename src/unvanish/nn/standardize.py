"""Data brought to zero mean and unit deviation by constants, inside the model."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from unvanish.errors import BadInput


class Standardize(nn.Module):
    """``(x - mean) / std``, or with ``undo`` the way back, ``x * std + mean``; nothing is learned.

    The constants are buffers: they are saved with the model and go where it goes, so that whoever
    loads it cannot forget them. Unlike batch norm they do not depend on the batch.

    Args:
        mean: one number for all entries, or one a feature.
        std: the same; above zero. A feature that never changes is given 1.
        axis: where the features stand, for constants of their own: 1 in images (N, C, H, W), -1 in
            tables (N, F) and sequences (N, T, F).
        undo: for targets: behind a model that predicts standardised values.

    Source: LeCun et al. 1998, Efficient BackProp, section 4.3.

    It harms where data of another kind comes later (the constants are those of the first data),
    and where the zeros of sparse inputs carry the meaning.

    >>> layer = Standardize(mean=(0.0, 100.0), std=(1.0, 50.0))
    >>> layer(torch.tensor([[1.0, 200.0]]))
    tensor([[1., 2.]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        *,
        axis: int = -1,
        undo: bool = False,
    ) -> None:
        super().__init__()
        self.axis, self.undo = axis, undo
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32))
        if self.mean.dim() > 1 or self.mean.shape != self.std.shape:
            raise BadInput(
                f"mean and std must be one number each, or one a feature; their shapes are "
                f"{tuple(self.mean.shape)} and {tuple(self.std.shape)}."
            )
        if not bool(self.mean.isfinite().all()):
            raise BadInput("mean must be finite: leave out the rows that are not.")
        if not bool((self.std > 0).all() and self.std.isfinite().all()):
            raise BadInput("std must be above zero: give a feature that never changes a 1.")

    def forward(self, x: Tensor) -> Tensor:
        """The entries scaled; shape and dtype of ``x`` (whole numbers become float32)."""
        if not x.is_floating_point():
            x = x.float()
        mean, std = self._along(self.mean, x), self._along(self.std, x)
        return x * std + mean if self.undo else (x - mean) / std

    def _along(self, constants: Tensor, x: Tensor) -> Tensor:
        constants = constants.to(x.dtype)
        if constants.dim() == 0:
            return constants
        fits = -x.dim() <= self.axis < x.dim() and x.shape[self.axis] == constants.numel()
        if not fits:
            raise BadInput(
                f"axis {self.axis} of the input must have {constants.numel()} features, one a "
                f"constant: its shape is {tuple(x.shape)}"
            )
        shape = [1] * x.dim()
        shape[self.axis] = constants.numel()
        return constants.view(shape)

    def extra_repr(self) -> str:
        count = "one" if self.mean.dim() == 0 else str(self.mean.numel())
        return f"{count} mean, axis={self.axis}, undo={self.undo}"
