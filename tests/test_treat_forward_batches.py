"""``forward=`` takes any batch: one tensor, a mapping, a triple; nothing is asked that needs a pair."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish


def samples() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    return inputs, (inputs[:, 0] > 0).long()


def classified(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(model(inputs), targets)


def of_mapping(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return classified(model, batch["x"], batch["y"])


def of_triple(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    return classified(model, batch[0], batch[1])


def of_single(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
    return classified(model, batch[0][:, :8], batch[0][:, 8].long())


def packed(way: str, x: Tensor, y: Tensor) -> Any:
    if way == "mapping":
        return {"x": x, "y": y}
    return (x, y, y) if way == "triple" else (torch.cat([x, y[:, None].float()], 1),)


WAYS: dict[str, Any] = {"mapping": of_mapping, "triple": of_triple, "single": of_single}


@pytest.mark.parametrize("way", WAYS)
def test_a_healthy_program_is_left_alone(way: str) -> None:
    inputs, targets = samples()
    batches = [packed(way, x, y) for x, y in zip(inputs.split(32), targets.split(32), strict=True)]
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    treated = unvanish.treat(model, batches, forward=WAYS[way], optimizer=optimizer)
    assert not treated.edits
    assert any("was not asked" in note for note in treated.notes)


def test_what_can_be_compared_is_not_said_to_be_unasked() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batches = list(zip(*(part.split(32) for part in samples()), strict=True))
    treated = unvanish.treat(model, batches, F.cross_entropy, optimizer)
    assert treated.said.startswith("nothing to treat")
    assert not any("was not asked" in note for note in treated.notes)


def test_a_loader_initialises_as_its_batch_does() -> None:
    """A loader that collates gives lists: no several batches, but one."""
    inputs, targets = samples()

    def made(data: Any) -> Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))
        unvanish.init.critical_(model, data, F.cross_entropy)
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(inputs, targets), batch_size=len(inputs)
    )
    assert torch.equal(made((inputs, targets)), made(loader))
