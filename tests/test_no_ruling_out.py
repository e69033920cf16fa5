"""What is not ruled out is not said to be; a check that cannot be made says why."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


class Pairs(nn.Module):
    """Two towers; the target of a sample is its own place in the batch."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.one, self.other = (
            nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 8)) for _ in range(2)
        )
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        ends = F.normalize(self.one(one), dim=1), F.normalize(self.other(other), dim=1)
        return self.scale.exp() * ends[0] @ ends[1].t()


def diagnosed(scale: float) -> unvanish.Diagnosis:
    torch.manual_seed(0)
    model = Pairs(scale)
    one = torch.randn(32, 8)
    data = ((one, one + 0.1 * torch.randn(32, 8)), torch.arange(32))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return unvanish.diagnose(model, data, nn.CrossEntropyLoss(), optimizer, steps=20)


def test_a_large_rise_in_one_layer_is_not_called_ruled_out() -> None:
    assert "depth-growth" not in [r.name for r in diagnosed(14.0).ruled_out]
    small = {r.name: r.evidence for r in diagnosed(1.0).ruled_out}
    assert small["depth-growth"]["decades"] < 3.61


def test_targets_that_are_places_in_the_batch_are_said_to_be_no_halves() -> None:
    said = [b for b in diagnosed(1.0).blind_spots if b.startswith("nothing-to-learn")]
    assert len(said) == 1
    assert "targets of samples that refer to the batch cannot be halved" in said[0]
