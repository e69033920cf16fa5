"""A gradient that fades over time is a fault where what it does not reach is needed."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unvanish

STEPS = 60


class LastState(nn.Module):
    """The most usual classifier of sequences: the last state of a recurrent layer as torch makes it."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 24)
        self.memory: Any = kind(24, 48, batch_first=True)
        self.head = nn.Linear(48, 2)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.memory(self.words(words))[0][:, -1])


def everywhere(words: Tensor, labels: Tensor) -> Tensor:
    """The word that tells stands anywhere, among the last steps too."""
    told = (torch.rand(words.shape) < 0.2) & (labels == 1)[:, None]
    return torch.where(told, 7, words)


def at_the_start(words: Tensor, labels: Tensor) -> Tensor:
    """The word that tells is the second one."""
    words[:, 1] = 7 * labels
    return words


def nowhere(words: Tensor, labels: Tensor) -> Tensor:
    """Labels drawn by lot."""
    return words


@pytest.mark.parametrize("stepped", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize(
    ("told", "severity"), [(everywhere, "note"), (at_the_start, "harmful"), (nowhere, "harmful")]
)
def test_fading_matters_by_what_is_heard(
    told: Any, severity: str, kind: type[nn.Module], stepped: bool
) -> None:
    torch.manual_seed(0)
    labels = torch.randint(2, (64,))
    words = told(torch.randint(60, (64, STEPS)), labels)
    model = LastState(kind)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3) if stepped else None
    diagnosis = unvanish.diagnose(model, (words, labels), nn.CrossEntropyLoss(), optimizer)
    assert [(f.name, f.severity) for f in diagnosis.findings] == [("time-decay", severity)]
    assert diagnosis.healthy is (severity == "note")
