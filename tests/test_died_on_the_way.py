"""Steps that kill a net are too large, though the loss fell; a loss that is solved kills nothing."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish

MARGIN = 0.5


def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(8).repeat_interleave(8)
    kinds = torch.randn(8, 1, 8, 8, generator=generator)
    return kinds[labels] + 1.5 * torch.randn(64, 1, 8, 8, generator=generator), labels


def embedder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 16),
    )


def hardest(embedded: Tensor, labels: Tensor) -> Tensor:
    """A margin between the farthest of one's own and the nearest of the others."""
    distance = ((embedded[:, None] - embedded[None]).square().sum(-1) + 1e-12).sqrt()
    same = labels[:, None] == labels[None]
    far, near = distance.masked_fill(~same, 0).amax(1), distance.masked_fill(same, 1e9).amin(1)
    return F.relu(far - near + MARGIN).mean()


def trained(rate: float, steps: int) -> tuple[nn.Module, list[float], float]:
    """The net, the losses, and the norm of all gradients at the end, by plain torch."""
    model, (x, labels) = embedder(), images()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    losses = list[float]()
    for _ in range(steps):
        optimizer.zero_grad()
        loss = hardest(model(x), labels)
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    optimizer.zero_grad()
    loss = hardest(model(x), labels)
    loss.backward()
    norms = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return model, [*losses, float(loss.detach())], float(torch.stack(norms).norm())


def named(rate: float) -> unvanish.Diagnosis:
    model = embedder()
    optimizer = torch.optim.Adam(model.parameters(), rate)
    return unvanish.diagnose(model, images(), hardest, optimizer, steps=20)


def test_all_embeddings_fall_together() -> None:
    model, losses, norm = trained(0.1, 20)
    apart = model(images()[0]).detach().std(0).norm()
    assert losses[-1] < 0.9 * losses[0]  # it fell, to the margin
    assert abs(losses[-1] - MARGIN) < 1e-3
    assert norm == 0  # and nothing will ever move again
    assert float(apart) < 1e-6
    assert trained(1e-3, 60)[1][-1] < MARGIN  # smaller steps get below it
    diagnosis = named(0.1)
    found = {f.name: f for f in diagnosis.findings}
    assert found["step-too-large"].severity != "note"
    assert found["step-too-large"].because is None
    assert "step-too-large" not in {item.name for item in diagnosis.ruled_out}


def test_the_same_net_at_a_rate_that_learns() -> None:
    _, losses, norm = trained(1e-3, 20)
    assert losses[-1] < losses[0]
    assert norm > 0
    assert "step-too-large" not in [f.name for f in named(1e-3).findings]


def told_apart() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    signs = torch.arange(64) % 2 * 2.0 - 1
    return signs[:, None] * 2 + 0.3 * torch.randn(64, 4, generator=generator), signs


def met(outputs: Tensor, signs: Tensor) -> Tensor:
    """A hinge, and a number that somebody adds."""
    return F.relu(1 - signs * outputs[:, 0]).mean() + 3.0


def test_a_margin_that_is_met_is_no_death() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))
    x, signs = told_apart()
    assert float(met(model(x), signs).detach()) > 3
    twin = copy.deepcopy(model)
    optimizer = torch.optim.Adam(twin.parameters(), 0.1)
    for _ in range(21):
        optimizer.zero_grad()
        met(twin(x), signs).backward()
        optimizer.step()
    assert float(met(twin(x), signs).detach()) == 3
    assert all(not p.grad.any() for p in twin.parameters() if p.grad is not None)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    diagnosis = unvanish.diagnose(model, (x, signs), met, optimizer, steps=20)
    assert diagnosis.healthy, [f.name for f in diagnosis.findings]


def test_a_batch_that_is_done_while_others_are_not() -> None:
    """The last of twenty steps meets the one batch that no longer gives a gradient."""
    generator = torch.Generator().manual_seed(0)
    signs = torch.arange(32) % 2 * 2.0 - 1
    batches = [
        (signs[:, None] * 0.4 + torch.randn(32, 8, generator=generator), signs) for _ in range(4)
    ]
    batches.append((signs[:, None] * 6 + 0.1 * torch.randn(32, 8, generator=generator), signs))

    def hinge(outputs: Tensor, labels: Tensor) -> Tensor:
        return F.relu(1 - labels * outputs[:, 0]).mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    twin = copy.deepcopy(model)
    optimizer = torch.optim.Adam(twin.parameters(), 0.1)
    for step in range(20):
        x, labels = batches[step % 5]
        optimizer.zero_grad()
        hinge(twin(x), labels).backward()
        if step < 19:
            optimizer.step()
    assert all(not p.grad.any() for p in twin.parameters() if p.grad is not None)
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    diagnosis = unvanish.diagnose(model, batches, hinge, optimizer, steps=20)
    assert "step-too-large" not in [f.name for f in diagnosis.findings]
