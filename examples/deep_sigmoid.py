"""Thirty sigmoid layers on the handwritten digits: the loss stands still at chance.

unvanish diagnose examples/deep_sigmoid.py:program
"""

import torch
from sklearn.datasets import load_digits
from torch import nn


def program():
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)

    layers = [nn.Linear(64, 64), nn.Sigmoid()]
    for _ in range(29):
        layers += [nn.Linear(64, 64), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(64, 10))

    return model, (images[:256], labels[:256]), nn.CrossEntropyLoss()
