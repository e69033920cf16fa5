"""The net of deep_sigmoid.py with ReLU, He initialisation and thirty residual sums.

The gradient reaches every layer now, but every sum adds to the scale: the loss starts at 8e5 and
plain SGD ends in NaN. `scaled` is the same net with its branches started smaller by the root of
their number; it learns the digits.

unvanish diagnose examples/deep_residual.py:program
unvanish diagnose examples/deep_residual.py:scaled
"""

import torch
from sklearn.datasets import load_digits
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="relu")
        nn.init.zeros_(self.linear.bias)

    def forward(self, x):
        return x + torch.relu(self.linear(x))


def program():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)

    model = nn.Sequential(nn.Linear(64, 64), *[Block(64) for _ in range(30)], nn.Linear(64, 10))

    return model, (images[:256], labels[:256]), nn.CrossEntropyLoss()


def scaled():
    model, batch, loss = program()
    with torch.no_grad():
        for block in model[1:-1]:
            block.linear.weight *= 30**-0.5
    return model, batch, loss
