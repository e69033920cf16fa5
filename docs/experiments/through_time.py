"""Claims 13 and 14: the gradient of the last step's loss at the first input, by cell and gate."""

import torch
from nets import Measured
from torch import Tensor, nn


def measure() -> Measured:
    """|dL/dx_first| over |dL/dx_last|; the norm of the recurrent weights' gradient beside it."""
    measured: Measured = {}
    for name, make, bias in (
        ("RNN", nn.RNN, None),
        ("GRU", nn.GRU, None),
        ("LSTM", nn.LSTM, None),
        ("LSTM, forget bias 1", nn.LSTM, 1.0),
        ("LSTM, forget bias 3", nn.LSTM, 3.0),
        ("LSTM, forget bias 5", nn.LSTM, 5.0),
    ):
        for length in (20, 100):
            ratio, weights = _ratio(make, bias, length)
            measured[f"{name}, {length} steps"] = ratio
            if bias is None and length == 100:
                measured[f"{name}, 100 steps: gradient of the recurrent weights"] = weights
    return measured


def _ratio(make: type[nn.RNNBase], bias: float | None, length: int) -> tuple[float, float]:
    torch.manual_seed(0)
    cell, head = make(8, 32, batch_first=True).double(), nn.Linear(32, 1).double()
    if bias is not None:
        with torch.no_grad():
            cell.bias_ih_l0[32:64] = bias  # gates stand in the order input, forget, cell, output
            cell.bias_hh_l0[32:64] = 0
    inputs: Tensor = torch.randn(32, length, 8, dtype=torch.float64, requires_grad=True)
    head(cell(inputs)[0][:, -1]).square().mean().backward()
    sizes = inputs.grad.norm(dim=(0, 2))
    return (sizes[0] / sizes[-1]).item(), cell.weight_hh_l0.grad.norm().item()
