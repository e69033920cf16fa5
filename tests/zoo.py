"""Small models of the kinds people train, written so that their structure is plain to see."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint

FLAT = (torch.linspace(-2, 2, 32).reshape(8, 4).sin(), torch.arange(8) % 3)
IMAGES = (torch.linspace(-3, 3, 4 * 3 * 64).reshape(4, 3, 8, 8).sin(), torch.arange(4) % 3)
SERIES = (torch.linspace(-3, 3, 4 * 7 * 5).reshape(4, 7, 5).sin(), torch.arange(4) % 3)
TOKENS = (torch.arange(28).reshape(4, 7) % 11, torch.arange(4) % 3)


class Basic(nn.Module):
    """A residual block with a projection on the way around where the shape changes."""

    def __init__(self, inside: int, outside: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.down: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            projection = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.down = nn.Sequential(projection, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        branch += self.down(x)
        return self.relu(branch)


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(Basic(4, 4), Basic(4, 4))
        self.layer2 = nn.Sequential(Basic(4, 8, 2), Basic(8, 8))
        self.fc = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.relu(self.bn(self.stem(x)))))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 4, 3, padding=1)
        self.down2 = nn.Conv2d(4, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.join = nn.Conv2d(8, 4, 3, padding=1)
        self.out = nn.Conv2d(4, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        wide = F.relu(self.down1(x))
        deep = F.relu(self.down2(F.max_pool2d(wide, 2)))
        return self.out(F.relu(self.join(torch.cat([self.up(deep), wide], 1))))


class DenseBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.head = nn.Linear(15, 3)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for conv in self.convs:
            features.append(F.relu(conv(torch.cat(features, 1))))
        return self.head(torch.cat(features, 1).mean((2, 3)))


class MBConv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.expand = nn.Sequential(nn.Conv2d(width, wide, 1), nn.BatchNorm2d(wide), nn.SiLU(True))
        depthwise = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.depth = nn.Sequential(depthwise, nn.BatchNorm2d(wide), nn.SiLU(True))
        self.squeeze, self.excite = nn.Conv2d(wide, 2, 1), nn.Conv2d(2, wide, 1)
        self.project = nn.Sequential(nn.Conv2d(wide, width, 1), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.depth(self.expand(x))
        mean = branch.mean((2, 3), keepdim=True)
        branch = branch * torch.sigmoid(self.excite(F.silu(self.squeeze(mean))))
        return x + self.project(branch)


class Recurrent(nn.Module):
    def __init__(
        self, kind: Any, batch_first: bool = True, packed: bool = False, **more: Any
    ) -> None:
        super().__init__()
        self.rnn = kind(5, 6, batch_first=batch_first, **more)
        self.packed = packed
        self.head = nn.Linear(6 * (1 + bool(self.rnn.bidirectional)), 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed:
            lengths = torch.tensor([7, 5, 3, 2])
            state = self.rnn(pack_padded_sequence(x, lengths, batch_first=True))[1]
            return self.head((state[0] if isinstance(state, tuple) else state)[-1])
        if not self.rnn.batch_first:
            return self.head(self.rnn(x.transpose(0, 1))[0][-1])
        return self.head(self.rnn(x)[0][:, -1])


class CellLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(x.shape[0], 6)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.head(state)


class Transformer(nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        layer = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=0.1, batch_first=True, norm_first=norm_first
        )
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(tokens)).mean(1))


class Block(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x))


class Checkpointed(nn.Module):
    """Blocks run plainly (``reentrant=None``) or checkpointed either way."""

    def __init__(
        self,
        reentrant: bool | None,
        skip: bool = False,
        shared: bool = False,
        tokens: bool = False,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        self.reentrant, self.skip = reentrant, skip
        self.entry = nn.Embedding(11, 4) if tokens else nn.Linear(4, 4)
        self.entry.requires_grad_(not frozen)
        self.blocks = nn.ModuleList([Block()] * 3 if shared else [Block() for _ in range(3)])
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        state = self.entry(x)
        state = state.mean(1) if state.dim() == 3 else state
        for block in self.blocks:
            if self.reentrant is None:
                fresh = block(state)
            else:
                fresh = checkpoint(block, state, use_reentrant=self.reentrant)
            state = state + fresh if self.skip else fresh
        return self.out(state)


class Written(nn.Module):
    """Any function as a model, with one linear layer to call (``call(layer, x)``)."""

    def __init__(self, call: Any, inside: int = 4, outside: int = 3) -> None:
        super().__init__()
        self.layer, self.call = nn.Linear(inside, outside), call

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self.call(self.layer, *inputs, **named)


def mlp(*activations: nn.Module, width: int = 8) -> nn.Sequential:
    """Linear 4 -> width, then for each activation it and a linear layer; three outputs."""
    parts: list[nn.Module] = [nn.Linear(4, width)]
    for place, activation in enumerate(activations):
        last = place == len(activations) - 1
        parts += [activation, nn.Linear(width, 3 if last else width)]
    return nn.Sequential(*parts)


def seeded(make: Any, *arguments: Any, **named: Any) -> Any:
    """The same model every time."""
    torch.manual_seed(0)
    return make(*arguments, **named)
