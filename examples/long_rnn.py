"""A tanh RNN that must remember the first step of a hundred: the gradient does not reach it.

unvanish diagnose examples/long_rnn.py:program
"""

import torch
from torch import nn


class Recall(nn.Module):
    """Says, after the last step, which sign the first value of the sequence had."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(input_size=1, hidden_size=32, batch_first=True)
        self.head = nn.Linear(32, 1)

    def forward(self, x):
        states, _ = self.rnn(x)
        return self.head(states[:, -1]).squeeze(1)


def program():
    torch.manual_seed(0)
    sequences = torch.randn(64, 100, 1)
    signs = (sequences[:, 0, 0] > 0).float()
    return Recall(), (sequences, signs), nn.BCEWithLogitsLoss()
