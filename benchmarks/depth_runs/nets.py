"""Plain and residual nets of any depth, as torch makes them."""

from collections.abc import Callable

from torch import Tensor, nn

WIDTH = 64
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
}


def mlp(inputs: int, depth: int, classes: int, activation: str = "relu") -> nn.Sequential:
    """``depth`` hidden layers of width 64: no norm, no skip."""
    layers: list[nn.Module] = []
    for level in range(depth):
        layers += [nn.Linear(inputs if level == 0 else WIDTH, WIDTH), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, classes))


CHANNELS = 16


class Pictures(nn.Module):
    """Rows of 64 pixels as pictures of 8 x 8."""

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (1, 8, 8))


class Pair(nn.Module):
    """Two convolutions, with or without batch norm, with or without the skip around them.

    Without norms the branch starts at zero, as without that no such net of 56 layers trains
    (Zhang et al. 2019, Fixup).
    """

    def __init__(self, skip: bool, norm: bool = True) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=not norm)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=not norm)
        made = nn.BatchNorm2d if norm else nn.Identity
        self.norm1, self.norm2 = made(CHANNELS), made(CHANNELS)
        self.relu, self.skip = nn.ReLU(), skip
        if not norm:
            nn.init.kaiming_normal_(self.conv1.weight, nonlinearity="relu")
            nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        return self.relu(x + y if self.skip else y)


def plain_cnn(depth: int, classes: int) -> nn.Sequential:
    """``depth`` convolutions of 16 channels: no norm, no skip."""
    layers: list[nn.Module] = [Pictures()]
    for level in range(depth):
        inside = 1 if level == 0 else CHANNELS
        layers += [nn.Conv2d(inside, CHANNELS, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes))


def paired_cnn(depth: int, classes: int, skip: bool, norm: bool = True) -> nn.Sequential:
    """The same number of convolutions with batch norm; with ``skip`` the residual twin."""
    first = nn.BatchNorm2d(CHANNELS) if norm else nn.Identity()
    stem = [nn.Conv2d(1, CHANNELS, 3, padding=1, bias=not norm), first, nn.ReLU()]
    pairs = [Pair(skip, norm) for _ in range((depth - 1) // 2)]
    tail = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(Pictures(), *stem, *pairs, *tail)
