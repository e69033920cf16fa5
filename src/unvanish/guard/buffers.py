"""What the forward pass of a bad batch has spoilt in a model, mended: running statistics."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class BufferCopies:
    """Copies of the floating buffers that are part of the state (running statistics).

    All of them at every good step: the version that torch counts for a tensor does not move when
    normalisation updates its statistics, so that nothing tells which were written to. Buffers that
    are not saved with the model are constants (tables of positions) and left out.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def remember(self, model: nn.Module | None) -> None:
        """Copy what there is now."""
        for name, buffer in _floating(model).items():
            kept = self._kept.get(name)
            if kept is None or kept.shape != buffer.shape or kept.device != buffer.device:
                self._kept[name] = buffer.detach().clone()
            else:
                kept.copy_(buffer.detach())

    @torch.no_grad()
    def mend(self, model: nn.Module | None) -> tuple[list[str], list[str]]:
        """Put buffers back that have become non-finite; the names of these, and of those without a copy."""
        mended: list[str] = []
        lost: list[str] = []
        for name, buffer in _floating(model).items():
            finite = torch.isfinite(buffer)
            kept = self._kept.get(name)
            if bool(finite.all()):
                continue
            if kept is None or kept.shape != buffer.shape:
                # A mask of minus infinities is as it should be; a NaN never is.
                lost += [name] if bool(torch.isnan(buffer).any()) else []
            elif not torch.equal(finite, torch.isfinite(kept)):
                buffer.copy_(kept)
                mended.append(name)
        return mended, lost


def _floating(model: nn.Module | None) -> Mapping[str, Tensor]:
    if model is None:
        return {}
    return {
        f"{path}.{name}".removeprefix("."): buffer
        for path, module in model.named_modules()
        for name, buffer in module._buffers.items()
        if buffer is not None
        and buffer.is_floating_point()
        and name not in module._non_persistent_buffers_set
    }
