"""A gated recurrent net that can stand where a simple one stood: the state is one tensor."""

from typing import Any

import torch
from torch import Tensor, nn


class LSTMLikeRNN(nn.LSTM):
    """``torch.nn.LSTM`` with the interface of ``torch.nn.RNN``: ``(outputs, h)``, one state tensor.

    Code around an RNN unpacks ``outputs, h = rnn(x, h)`` and uses h as a tensor; an LSTM gives a
    pair instead. Here the cells start at zero with every call and are dropped behind it; inside a
    call they carry the gradient, which is what an LSTM is for. ``h`` given by the caller is used.
    Arguments, kernels, packed sequences and names of parameters are those of ``torch.nn.LSTM``.

    It harms where a caller feeds one step at a time and hands h on: the cells would forget at every
    call. There, the loop itself must carry the pair.

    >>> net = LSTMLikeRNN(3, 8, batch_first=True)
    >>> outputs, h = net(torch.randn(2, 5, 3))
    >>> outputs.shape, h.shape
    (torch.Size([2, 5, 8]), torch.Size([1, 2, 8]))
    """

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """(outputs, last states), as ``torch.nn.RNN``."""
        states = None if hx is None else (hx, torch.zeros_like(hx))
        outputs, (last, _) = super().forward(input, states)
        return outputs, last
