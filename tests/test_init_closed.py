"""Zeros by design stay: what a net computes is not thrown away. Zeros in the way are redrawn."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish import init

WIDTH = 24


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(48, WIDTH, generator=generator), torch.arange(48) % 5


class Adapted(nn.Module):
    """A frozen layer and a product of two small ones beside it, the second zero."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, 3, bias=False)
        self.up = nn.Parameter(torch.zeros(base.out_features, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + F.linear(self.down(x), self.up)  # type: ignore[no-any-return]


class Modulated(nn.Module):
    """Residual blocks whose shift, scale and share are read from the input, all zero at first."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.reader = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(blocks))
        self.inner = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(blocks))
        self.head = nn.Linear(WIDTH, 5)
        for reader in self.reader:
            zeroed(reader)

    def forward(self, x: Tensor) -> Tensor:
        given = x
        for reader, inner in zip(self.reader, self.inner, strict=True):
            shift, scale, share = reader(F.silu(given)).chunk(3, -1)
            x = x + share * inner(self.norm(x) * (1 + scale) + shift)
        return self.head(x)  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, *zero: int) -> None:
        super().__init__()
        layers = nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
        self.inside = nn.Sequential(*layers)
        for place in zero:
            zeroed(self.inside[place])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inside(x)  # type: ignore[no-any-return]


def zeroed(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def plain(*zero: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    layers = [m for _ in range(3) for m in (nn.Linear(WIDTH, WIDTH), activation())]
    net = nn.Sequential(*layers, nn.Linear(WIDTH, 5))
    for place in zero:
        zeroed(net[place])
    return net


def left_by_design(net: nn.Module, **more: object) -> set[str]:
    report = init.critical_(net, batch(), F.cross_entropy, **more)  # type: ignore[arg-type]
    return {n for left in report.left if "by design" in left.reason for n in left.parameters}


def test_a_frozen_net_with_adapters_computes_what_it_did() -> None:
    torch.manual_seed(0)
    net = plain()
    for place in (0, 2, 4, 6):
        net[place] = Adapted(net[place])
    before = net(batch()[0])
    assert left_by_design(net) == {f"{place}.up" for place in (0, 2, 4, 6)}
    assert torch.equal(net(batch()[0]), before)


@pytest.mark.parametrize("head", [False, True], ids=["head drawn", "head of zero"])
def test_blocks_that_start_as_the_identity_stay_so(head: bool) -> None:
    torch.manual_seed(0)
    net = Modulated(4)
    if head:
        zeroed(net.head)
    readers = {f"reader.{k}.{n}" for k in range(4) for n in ("weight", "bias")}
    heads = {"head.weight", "head.bias"} if head else set[str]()
    assert left_by_design(net) == readers | heads
    assert torch.equal(net(batch()[0]), net.head(batch()[0]))


def test_a_new_head_of_zero_stays_and_is_no_fault() -> None:
    torch.manual_seed(0)
    net = plain(6)
    report = init.critical_(net, batch(), F.cross_entropy)
    assert not net[6].weight.any()
    assert report.after.faults == (), str(report)
    assert not report.after.arrives
    assert "no gradient passes the head of zero" in str(report)


@pytest.mark.parametrize("zero", [(0, 2, 4, 6), (0, 2, 4), (2,), (4, 6)], ids=str)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Sigmoid])
def test_zeros_in_the_way_are_drawn(zero: tuple[int, ...], activation: type[nn.Module]) -> None:
    torch.manual_seed(0)
    net = plain(*zero, activation=activation)
    assert left_by_design(net) == set()
    assert all(net[place].weight.any() for place in (0, 2, 4, 6))
    F.cross_entropy(net(batch()[0]), batch()[1]).backward()
    assert net[0].weight.grad is not None
    assert net[0].weight.grad.any()


def test_the_last_zero_of_a_branch_is_a_gate_and_a_branch_of_zeros_is_dead() -> None:
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, 5)
    assert left_by_design(nn.Sequential(Block(2), head)) == {"0.inside.2.weight", "0.inside.2.bias"}
    assert left_by_design(nn.Sequential(Block(0, 2), head)) == set()


def test_who_names_a_zero_gets_it_drawn() -> None:
    torch.manual_seed(0)
    net = plain(6)
    assert left_by_design(net, only=["6"]) == set()
    assert net[6].weight.any()
