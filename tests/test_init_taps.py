"""Kernels of a deep plain net whose one tap stands beside the middle, and where none may."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unvanish import init
from unvanish.init.taps import MOST, PUSHED_OUT, chances, isometric_taps, pushed_out, taps_within

DEPTH = 24


class Net(nn.Module):
    """A plain stretch of convolutions; ``head``: a linear layer reads the map, else it is the output."""

    def __init__(self, head: bool, depth: int = DEPTH, **settings: int) -> None:
        super().__init__()
        settings = {"kernel_size": 3, "padding": 1, **settings}
        sizes = [1, *[16] * depth]
        pairs = itertools.pairwise(sizes)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, **settings) for a, b in pairs)
        self.head = nn.Linear(64, 4) if head else nn.Conv2d(16, 1, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        if isinstance(self.head, nn.Linear):
            x = F.adaptive_avg_pool2d(x, 2).flatten(1)
        return self.head(x)


def start(net: nn.Module, size: int = 8, seed: int = 0) -> init.InitReport:
    x = torch.randn(32, 1, size, size, generator=torch.Generator().manual_seed(seed))
    y = torch.randint(4, (32,), generator=torch.Generator().manual_seed(seed))
    if isinstance(net.head, nn.Linear):
        return init.critical_(net, (x, y), F.cross_entropy, seed=seed)
    return init.critical_(net, (x, x), F.mse_loss, seed=seed)


def tap_of(kernel: torch.Tensor) -> list[list[int]]:
    """The places at which an output's kernel is not zero."""
    return kernel.detach().abs().sum(0).nonzero().tolist()


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"kernel_size": 3, "padding": 1}, 8),
        ({"kernel_size": 3, "padding": 1}, 2),
        ({"kernel_size": 5, "padding": 2}, 6),
        ({"kernel_size": 3, "padding": 3, "dilation": 3}, 8),
        ({"kernel_size": 3, "padding": 4, "dilation": 4}, 3),
    ],
)
def test_what_is_pushed_out_is_what_a_convolution_of_noise_loses(
    settings: dict[str, int], size: int
) -> None:
    convolution = nn.Conv2d(1, 1, bias=False, **settings)
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, 1, size, size, generator=source)
    kept = []
    for tap in taps_within(convolution, (size, size)):
        with torch.no_grad():
            convolution.weight.zero_()
            convolution.weight[0, 0, tap[0], tap[1]] = 1.0
            kept.append(float(convolution(noise).square().mean() / noise.square().mean()))
    assert min(kept) > 0
    expected = pushed_out(convolution, (size, size))
    assert expected == pytest.approx(1 - sum(kept) / len(kept), abs=0.01)


def test_all_kernels_together_lose_what_they_may() -> None:
    lost = {0: 0.2, 1: 0.16, 2: 0.5, 3: 0.0}
    lost |= {index: 0.16 for index in range(4, 60)}
    found = chances(lost)
    assert 3 not in found
    together = sum(math.log(1 - chance * lost[index]) for index, chance in found.items())
    assert together == pytest.approx(-PUSHED_OUT * (len(lost) - 1) / len(lost))
    assert set(chances({0: 0.1, 1: 0.1}).values()) == {MOST}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_some_outputs_read_from_beside_and_pairs_stay_together(seed: int) -> None:
    net = Net(head=True)
    report = start(net, seed=seed)
    assert report.after.faults == ()
    said = {c.module: c.numbers["beside"] for c in report.changes if "beside" in c.numbers}
    assert set(said) == {f"convolutions.{k}" for k in range(1, DEPTH)}
    moved = 0
    for convolution in list(net.convolutions)[1:]:
        taps = [tap_of(kernel) for kernel in convolution.weight]
        assert all(len(tap) == 1 for tap in taps)
        assert taps[::2] == taps[1::2]
        rows = convolution.weight.detach().sum((2, 3))[::2, ::2]
        assert torch.allclose(rows @ rows.T, rows.square().sum(1).mean() * torch.eye(8), atol=1e-5)
        moved += sum(tap != [[1, 1]] for tap in taps[::2])
    expected = sum(said.values()) * 8 * 8 / 9
    assert abs(moved - expected) < 4 * math.sqrt(expected)


def test_a_net_whose_output_is_a_map_reads_every_place_itself() -> None:
    net = Net(head=False)
    report = start(net)
    assert not any("beside" in change.numbers for change in report.changes)
    for convolution in list(net.convolutions)[1:]:
        assert all(tap_of(kernel) == [[1, 1]] for kernel in convolution.weight)


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"padding": 4, "dilation": 4}, 3),
        ({"padding": 2, "dilation": 2}, 8),
        ({"groups": 1, "kernel_size": 5, "padding": 2}, 8),
        ({"kernel_size": 1, "padding": 0}, 8),
    ],
)
def test_nothing_dies_whatever_the_kernel(settings: dict[str, int], size: int) -> None:
    net = Net(head=True, depth=20, **settings)
    report = start(net, size)
    assert report.after.faults == ()
    for convolution in list(net.convolutions)[1:]:
        middle = list(isometric_taps(convolution)[0])
        for tap, *others in map(tap_of, convolution.weight):
            assert not others
            steps = zip(tap, middle, convolution.dilation, strict=True)
            assert all(abs(t - m) * d < size for t, m, d in steps)


class Written(nn.Module):
    """Thirty convolutions in the way that ``kind`` says, read by a linear layer."""

    def __init__(self, kind: str, depth: int = 30) -> None:
        super().__init__()
        self.kind, self.depth = kind, depth
        padding = 0 if kind in ("zeros before", "past alone") else 1
        convolution = nn.Conv1d if kind == "past alone" else nn.Conv2d
        self.first = convolution(1, 16, 3, padding=padding)
        count = 1 if kind == "one kernel" else depth
        self.rest = nn.ModuleList(convolution(16, 16, 3, padding=padding) for _ in range(count))
        self.head = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bend = torch.sigmoid if self.kind == "sigmoid" else torch.tanh
        for number in range(-1, self.depth):
            layer = self.first if number < 0 else self.rest[number % len(self.rest)]
            if self.kind == "zeros before":
                x = F.pad(x, (1, 1, 1, 1))
            if self.kind == "past alone":
                x = F.pad(x, (2, 0))
            x = bend(layer(x))
        pool = F.adaptive_avg_pool1d if x.dim() == 3 else F.adaptive_avg_pool2d
        return self.head(pool(x, 4 if x.dim() == 3 else 2).flatten(1))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["sigmoid", "one kernel", "zeros before", "past alone"])
def test_where_a_step_aside_would_cost_more_than_the_border_all_stay(kind: str, seed: int) -> None:
    """Offsets have nothing to meet at a border; one kernel has one scale; other padding is unknown."""
    net = Written(kind)
    torch.manual_seed(seed)
    x = torch.randn(64, 1, 20) if kind == "past alone" else torch.randn(64, 1, 8, 8)
    report = init.critical_(net, (x, torch.randint(4, (64,))), F.cross_entropy, seed=seed)
    assert report.after.arrives
    assert report.after.gate is not None
    assert abs(report.after.gate.backward_decades) < 1
    beside = {c.module for c in report.changes if "beside" in c.numbers}
    assert beside <= {"rest.0"} if kind == "sigmoid" else not beside
