"""A loss with weights of its own: nobody steps them unless an optimizer holds them."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


class Margin(nn.Module):
    """Class centres on a sphere (ArcFace): the logits are cosines with a margin."""

    def __init__(self) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(4, 16))

    def forward(self, outputs: Tensor, labels: Tensor) -> Tensor:
        cosines = F.normalize(outputs) @ F.normalize(self.centres).T
        return F.cross_entropy(16 * (cosines - 0.1 * F.one_hot(labels, 4)), labels)


def asked(held: str, loss: nn.Module | None = None) -> unvanish.Diagnosis:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))
    loss = loss or Margin()
    inputs = torch.randn(64, 8)
    batch = inputs, (inputs @ torch.randn(8, 4)).argmax(1)
    parameters = [*model.parameters(), *(loss.parameters() if held == "both" else ())]
    optimizer = torch.optim.Adam(parameters, 1e-3)
    if held == "factory":
        return unvanish.diagnose(model, batch, loss, lambda given: torch.optim.Adam(given, 1e-3))
    return unvanish.diagnose(model, batch, loss, optimizer, steps=20)


@pytest.mark.parametrize("held", ["the model's", "factory"])
def test_weights_of_the_loss_that_nobody_steps_are_noted(held: str) -> None:
    diagnosis = asked(held)
    assert diagnosis.healthy  # another optimizer may hold them: nobody said
    (note,) = diagnosis.findings
    assert (note.name, note.where, note.severity) == ("not-in-optimizer", ("loss.centres",), "note")


def test_held_ones_are_not() -> None:
    assert asked("both").findings == ()


def test_a_loss_whose_weights_stand_still_is_not() -> None:
    frozen = Margin()
    frozen.centres.requires_grad_(False)
    assert asked("the model's", frozen).findings == ()
    assert asked("the model's", nn.CrossEntropyLoss()).findings == ()
