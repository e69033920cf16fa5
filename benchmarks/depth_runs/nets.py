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
    """Two convolutions with batch norm, with or without the skip around them."""

    def __init__(self, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(CHANNELS), nn.BatchNorm2d(CHANNELS)
        self.relu, self.skip = nn.ReLU(), skip

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


def normed_cnn(depth: int, classes: int, skip: bool) -> nn.Sequential:
    """The same number of convolutions with batch norm; with ``skip`` the residual twin."""
    stem = [nn.Conv2d(1, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU()]
    pairs = [Pair(skip) for _ in range((depth - 1) // 2)]
    tail = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, classes)]
    return nn.Sequential(Pictures(), *stem, *pairs, *tail)
