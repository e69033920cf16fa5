"""All that the loss is computed of is frozen, and what trains is not used: that is said, with names."""

import pytest
import torch
from torch import Tensor, nn

import unvanish
from unvanish.errors import BadInput

BATCH = (torch.randn(16, 6), torch.randint(3, (16,)))


class Net(nn.Module):
    """A head that was put on under a name that forward does not call."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
        self.fc = nn.Linear(8, 3)
        self.requires_grad_(False)
        self.classifier = nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.fc(self.body(inputs))


class Called(Net):
    """It is called, and the loss takes something else."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(inputs)
        self.seen = self.classifier(features).detach()
        return self.fc(features)


class Handed(Net):
    """Its values leave torch and come back."""

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.body(inputs)
        scores = torch.from_numpy(self.classifier(features).detach().numpy())
        return self.fc(features) + scores


class Detached(Net):
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs) + self.classifier(self.body(inputs)).detach()


class Straight(torch.autograd.Function):
    """A function of one's own that forgets to hand the gradient on."""

    @staticmethod
    def forward(ctx: object, scores: Tensor) -> Tensor:
        return scores.clone()

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> None:
        return None


class Own(Net):
    def forward(self, inputs: Tensor) -> Tensor:
        with torch.no_grad():
            scores = Straight.apply(self.classifier(self.body(inputs)))
        return scores + super().forward(inputs)


def refused(model: nn.Module) -> str:
    assert not nn.CrossEntropyLoss()(model(BATCH[0]), BATCH[1]).requires_grad
    with pytest.raises(BadInput) as error:
        unvanish.diagnose(model, BATCH, nn.CrossEntropyLoss())
    return str(error.value)


@pytest.mark.parametrize("model", [Net(), Called()])
def test_what_trains_and_is_not_used_is_named(model: nn.Module) -> None:
    said = refused(model)
    assert "frozen" in said
    assert "(classifier)" in said
    assert "detach" not in said


@pytest.mark.parametrize("model", [Handed(), Detached(), Own()])
def test_what_was_cut_off_is_said_to_be_cut(model: nn.Module) -> None:
    assert "Remove .detach()" in refused(model)
