"""Diagnoses, treatments and recordings to report on, and what a page is made of, read back from it."""

from functools import cache
from html.parser import HTMLParser
from typing import Any

import torch
from torch import nn

import unvanish
from unvanish.surgery.edits import Edit
from unvanish.treatment import Treatment
from unvanish.treatment.record import Tried
from unvanish.trial.running import Run
from unvanish.trial.verdict import Pair, Verdict

HOSTILE = "<script>self['title']='taken'</script><img src=x onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """A page read back: every element with its attributes, in order, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, *tags: str) -> list[dict[str, str | None]]:
        """The attributes of every element of these names."""
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def text(self) -> str:
        return "".join(self.words)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.RNN(4, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.memory(x)[0][:, -1])


class Residual(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(8, 8) for _ in range(blocks))
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = x + torch.tanh(block(x))
        return self.head(x)


class Hostile(nn.Module):
    """A net whose layers are named to break out of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.add_module(HOSTILE, nn.Linear(8, 8))
        self.add_module("\x00\x1b[31m\ud800", nn.Linear(8, 8))
        self.last = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in list(self.children())[:2]:
            x = torch.sigmoid(layer(x))
        return self.last(x)


def stack(depth: int, activation: type[nn.Module] = nn.Sigmoid, width: int = 8) -> nn.Module:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), activation()]
    return nn.Sequential(*layers, nn.Linear(width, 2))


def batch(width: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(32, width), torch.randint(2, (32,))


@cache
def diagnosed(kind: str) -> unvanish.Diagnosis:
    """A diagnosis of one of a few small nets, made once."""
    torch.manual_seed(0)
    loss = nn.CrossEntropyLoss()
    if kind == "recurrent":
        data: Any = torch.randn(16, 60, 4), torch.randint(2, (16,))
        return unvanish.diagnose(Recurrent(), data, loss)
    nets = {
        "decaying": lambda: stack(12),
        "residual": lambda: Residual(5),
        "hostile": Hostile,
        "healthy": lambda: stack(2, nn.Tanh),
    }
    net = nets[kind]()
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    return unvanish.diagnose(net, batch(), loss, optimizer, steps=2)


@cache
def treated() -> Treatment:
    """A treatment with edits and a trial; its numbers are made up, so that each is known."""
    before, after = diagnosed("decaying"), diagnosed("healthy")
    net = stack(12)
    pairs = tuple(_pair(seed) for seed in range(5))
    verdict = Verdict(
        word="helped",
        metric="accuracy",
        higher_is_better=True,
        pairs=pairs,
        difference=0.34,
        interval=(0.31, 0.37),
        p=0.03125,
        margin=0.04,
        zero_skill=0.5,
        held_out=128,
        unseen=True,
        steps=100,
        planned=5,
    )
    edits = (
        Edit(action="initialise", where=("0", "2"), options={"method": "orthogonal_", "gain": 1.0}),
        Edit(action="optimizer", options={"lr": 0.003}),
    )
    tried = Tried(
        remedies=("orthogonal",),
        level="function",
        edits=edits,
        losses={10: 0.6, 30: 0.3},
        score=0.84,
    )
    return Treatment(
        model=net,
        optimizer=torch.optim.Adam(net.parameters(), 3e-3),
        edits=edits,
        verdict=verdict,
        trials=(tried,),
        before=before,
        after=after,
        said="cured by orthogonal; nothing harmful is left.",
        remedies=("orthogonal",),
        advice=(f"look at {HOSTILE}",),
        original=net,
    )


def _pair(seed: int) -> Pair:
    def run(label: str, metric: float, last: float) -> Run:
        losses = tuple(0.7 + (last - 0.7) * k / 49 for k in range(50))
        return Run(
            label=label,
            seed=seed,
            rate=1.0,
            steps=100,
            metric=metric,
            loss=last,
            validation=metric,
            diverged=False,
            losses=losses,
            seconds=0.1,
        )

    treated = 0.8 + seed / 50
    return Pair(
        seed=seed,
        control=run("control", 0.5, 0.69),
        treated=run("treated", treated, 0.2),
        difference=treated - 0.5,
    )
