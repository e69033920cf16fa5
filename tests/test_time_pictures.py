"""The picture of a gradient over time: left out where it is no number."""

import pytest
import torch
from torch import Tensor, nn

import unvanish


class Reader(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.memory, self.head = kind(4, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x)[0][:, -1])


def report(kind: type[nn.RNNBase], root: bool) -> str:
    torch.manual_seed(0)
    batch = torch.randn(16, 30, 4), torch.zeros(16, 1)

    def loss(outputs: Tensor, _: Tensor) -> Tensor:
        return torch.sqrt(outputs - outputs).mean() if root else outputs.square().mean()

    return str(unvanish.diagnose(Reader(kind), batch, loss))


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_gradient_that_is_no_number_has_no_picture(kind: type[nn.RNNBase]) -> None:
    assert "Gradient over time" in report(kind, root=False)
    said = report(kind, root=True)
    assert said.startswith("Broken: The loss is finite but its gradient is not")
    assert "Gradient over time" not in said
