"""Models whose forward pass runs inside of torch.vmap: looked at as any other."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call  # pyright: ignore[reportPrivateImportUsage]

import unvanish


class Ensemble(nn.Module):
    """Members of one shape in one call: their weights stacked, the call mapped over them."""

    def __init__(self, depth: int, activation: type[nn.Module], cut: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(16, 16), activation()]
        self.members = nn.ModuleList(nn.Sequential(*copy.deepcopy(layers)) for _ in range(3))
        for member in self.members:
            member.apply(lambda m: m.reset_parameters() if isinstance(m, nn.Linear) else None)
        self.head = nn.Linear(16, 2)
        self.kept = [copy.deepcopy(self.members[0]).to("meta")]
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        named = [dict(member.named_parameters()) for member in self.members]
        stacked = {name: torch.stack([one[name] for one in named]) for name in named[0]}

        def call(parameters: dict[str, Tensor], given: Tensor) -> Tensor:
            made = functional_call(self.kept[0], parameters, (given,))
            return (2 * made).mul_(0.5)

        mapped: Any = torch.vmap(call, (0, None))  # pyright: ignore[reportPrivateImportUsage]
        together = mapped(stacked, x).mean(0)
        return self.head(together.detach() if self.cut else together)


@pytest.mark.parametrize(
    ("ensemble", "expected"),
    [
        ((2, nn.Tanh), []),
        ((24, nn.Sigmoid), ["depth-decay"]),
        ((2, nn.Tanh, True), ["detached"]),
    ],
)
def test_ensemble_mapped_over_its_members(ensemble: Any, expected: list[str]) -> None:
    torch.manual_seed(0)
    model = Ensemble(*ensemble)
    x = torch.randn(64, 16)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    diagnosis = unvanish.diagnose(model, (x, (x[:, 0] > 0).long()), nn.CrossEntropyLoss())
    assert [f.name for f in diagnosis.findings if f.severity != "note"] == expected
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
