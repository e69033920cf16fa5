"""Nets that learn badly though no finding says why, and those that must be left alone."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.datasets import load_digits, load_wine
from torch import Tensor, nn
from torch.nn import functional as F
from treated import patient_of

import unvanish
from unvanish.remedies.chart import hidden_activations
from unvanish.remedies.remedy import Patient
from unvanish.surgery.edits import Edit
from unvanish.treatment.clock import Clock
from unvanish.treatment.contender import Contender, operate
from unvanish.treatment.contest import Contest
from unvanish.treatment.need import Need
from unvanish.treatment.record import helps
from unvanish.treatment.supposed import amiss
from unvanish.trial import Running, Verdict, prepare
from unvanish.trial.running import Run
from unvanish.trial.verdict import Pair

PIXELS, LABELS = load_digits(return_X_y=True)
DIGITS = (torch.tensor(PIXELS[:320], dtype=torch.float32) / 16, torch.tensor(LABELS[:320]))
NOTE = "worse than a linear model answers them unseen"


def stack(*widths: int, activation: Any = nn.ReLU) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [nn.Linear(inside, outside), activation()]
    return nn.Sequential(*layers[:-1])


def treat(model: nn.Module, data: Any, rate: float = 3e-3, **more: Any) -> unvanish.Treatment:
    optimizer = torch.optim.Adam(model.parameters(), rate)
    return unvanish.treat(model, data, F.cross_entropy, optimizer, **more)


def test_features_in_their_own_units_are_scaled_though_no_gradient_is_ill() -> None:
    inputs, targets = load_wine(return_X_y=True)
    data = torch.tensor(inputs, dtype=torch.float32), torch.tensor(targets)
    found = treat(stack(13, 16, 16, 3), data, steps=80, keep="layers")
    assert any(NOTE in note for note in found.notes)
    assert found.cured
    assert found.verdict is not None
    assert (found.verdict.means[1] or 0) > 0.9  # linear discriminants have 0.98


def test_a_softmax_between_layers_gives_way_to_an_activation() -> None:
    model = stack(64, 32, 32, 10, activation=lambda: nn.Softmax(-1))
    found = treat(model, DIGITS, steps=60, keep="layers")
    assert found.cured
    assert found.changes_architecture
    assert not any(isinstance(module, nn.Softmax) for module in found.model.modules())


class Attends(nn.Module):
    """The shares of a softmax module multiply values: no activation."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.shares = nn.Softmax(-1)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unflatten(1, (8, 8))
        shares = self.shares(self.key(tokens) @ tokens.mT)
        return self.out((shares @ self.value(tokens)).mean(1))


@pytest.mark.parametrize(("hidden", "count"), [(True, 2), (False, 0)])
def test_only_a_softmax_that_a_layer_reads_counts_as_one(hidden: bool, count: int) -> None:
    model = stack(64, 48, 48, 4, activation=lambda: nn.Softmax(-1)) if hidden else Attends()
    data = DIGITS[0], DIGITS[1] % 4
    patient = patient_of({"model": model, "data": data, "loss": F.cross_entropy})
    found = [a for a in hidden_activations(patient) if a.function == "softmax"]
    assert len(found) == count


def halves() -> tuple[Tensor, Tensor]:
    """Two classes on either side of a plane in 60 dimensions."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(640, 60, generator=generator)
    return inputs, (inputs @ torch.randn(60, generator=generator) > 0).long()


def test_a_net_that_learned_by_heart_is_left_alone_where_a_line_generalises_better() -> None:
    data, model = halves(), stack(60, 64, 64, 2)
    found = treat(model, data, 1e-2, steps=100)
    assert found.before.healthy
    assert found.said.startswith("nothing to treat")
    assert found.notes == ()
    # That the line is better beyond is seen, and is no reason where the inputs are at unit scale.
    task = prepare(model, data, F.cross_entropy, steps=100, validation=True)
    base = Contender((), "wiring", (), model, torch.optim.Adam(model.parameters(), 1e-2))
    need = Need(task, lambda c, seed: Running(c.arm, task, seed), 100, 5, Clock(None, None))
    assert need.of(base) is None
    assert "unseen samples better" in str(need.beyond(base))


def test_the_same_in_units_of_their_own_is_scaled_and_nothing_else_is_tried() -> None:
    inputs, targets = halves()
    model = stack(60, 64, 64, 2, activation=nn.Tanh)
    found = treat(model, (30 * inputs, targets), 1e-2, steps=100, keep="layers")
    assert found.before.healthy
    assert any("unseen samples better" in note for note in found.notes)
    assert {name for tried in found.trials for name in tried.remedies} <= {
        "scale-input",
        "step-size",
    }
    assert found.cured


def drawn(scale: float, *widths: int) -> nn.Sequential:
    model = stack(*widths, activation=nn.ELU)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, scale / layer.in_features**0.5)
    return model


def test_a_start_at_another_scale_is_tried_anew_where_a_line_generalises_better() -> None:
    found = treat(drawn(7.0, 64, 48, 48, 10), DIGITS, steps=80)
    assert found.before.healthy  # nothing vanishes, and what it was trained on it fits
    assert found.cured
    assert "reinitialize" in {remedy for c in found.trials for remedy in c.remedies}
    # Pixels are in units of their own, too; other activations or norms are not tried.
    allowed = {"reinitialize", "step-size", "scale-input"}
    assert {remedy for c in found.trials for remedy in c.remedies} <= allowed


def with_noise(model: nn.Module) -> Patient:
    """A patient whose inputs are of unit scale, so that its weights alone can be unusual."""
    return Patient(
        model=model,
        batches=[(torch.randn(32, 64), LABELS[:32])],
        loss=F.cross_entropy,
        forward=None,
        optimizer=None,
        diagnosis=unvanish.diagnose(stack(64, 10), DIGITS, F.cross_entropy),
    )


@pytest.mark.parametrize(
    ("scale", "unusual"),
    [(7.0, ["init-too-large"]), (1.4, []), (0.6, []), (0.1, ["init-too-small"]), (0.0, [])],
)
def test_what_counts_as_an_unusual_start(scale: float, unusual: list[str]) -> None:
    model = drawn(scale, 64, 48, 10)
    assert [f.name for f in amiss(with_noise(model))] == unusual


def test_large_weights_that_were_made_with_a_purpose_are_not_unusual() -> None:
    model = stack(64, *[48] * 10, 10, activation=nn.Sigmoid)
    unvanish.init.critical_(model, DIGITS, F.cross_entropy)
    gains = [
        float(p.detach().square().mean().sqrt()) * p.shape[1] ** 0.5
        for p in model.parameters()
        if p.dim() == 2
    ]
    assert max(gains) > 3
    assert amiss(with_noise(model)) == ()


def rings() -> tuple[Tensor, Tensor]:
    """Two rings, one around the other: no line parts them, and near samples belong together."""
    generator = torch.Generator().manual_seed(0)
    angle = 2 * torch.pi * torch.rand(320, generator=generator)
    labels = torch.arange(320) % 2
    radius = 1.0 + labels
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 1), labels


def test_a_task_that_no_line_can_do_is_no_accusation() -> None:
    learned = treat(stack(2, 32, 32, 2), rings(), 1e-2, steps=200)
    assert learned.said.startswith("nothing to treat")


@pytest.mark.parametrize(("rate", "lacks"), [(1e-2, False), (1e-3, False), (3e-4, True)])
def test_where_no_line_tells_anything_the_nearest_samples_do(rate: float, lacks: bool) -> None:
    # After 60 steps 1.00, 0.91 and 0.51 of the samples are right; a line has 0.5, neighbours 1.
    model = stack(2, 32, 32, 2)
    task = prepare(model, rings(), F.cross_entropy, steps=60, validation=True)
    base = Contender((), "wiring", (), model, torch.optim.Adam(model.parameters(), rate))
    need = Need(task, lambda c, seed: Running(c.arm, task, seed), 60, 5, Clock(None, None))
    assert ("nearest other samples" in str(need.of(base))) == lacks


@pytest.mark.parametrize(("rate", "lacks"), [(1e-2, False), (1e-7, True)])
def test_under_a_metric_of_unknown_unit_the_loss_tells_what_was_learned(
    rate: float, lacks: bool
) -> None:
    # A share of the variance that is explained is zero for a constant: no part of that is a margin.
    def explained(outputs: Tensor, targets: Tensor) -> float:
        return 0.01 + 1 - float((outputs - targets).square().mean() / targets.var(correction=0))

    inputs = torch.randn(320, 6, generator=torch.Generator().manual_seed(0))
    data = inputs, inputs[:, :1] * inputs[:, 1:2]
    model = stack(6, 32, 1)
    task = prepare(model, data, F.mse_loss, metric=explained, steps=150, validation=True)
    base = Contender((), "wiring", (), model, torch.optim.Adam(model.parameters(), rate))
    need = Need(task, lambda c, seed: Running(c.arm, task, seed), 150, 5, Clock(None, None))
    assert ("teach this net nothing" in str(need.of(base))) == lacks


def test_a_rate_between_two_decades_is_found() -> None:
    # Of a loss w² gradient descent at rate r keeps 1 - 2r of w a step: 0.5 is best, 1 too much.
    inputs, targets = torch.ones(64, 1), torch.zeros(64, 1)
    model = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), 1.0)
    data, loss = (inputs, targets), F.mse_loss
    patient = patient_of({"model": model, "data": data, "loss": loss, "optimizer": optimizer})
    task = prepare(model, data, loss, steps=160, validation=True)
    contest = Contest(patient, lambda c: Running(c.arm, task), 160, Clock(None, None))
    factors = (10.0, 1e-3)
    rates = [(Edit(action="optimizer", options={"lr_factor": f}),) for f in factors]
    control, *field = (operate(patient, ("step-size",), "loop", plan) for plan in ((), *rates))
    ended = contest.hold(control, field)
    best = min(ended, key=lambda contender: contender.loss_at(160))
    assert best.edits[0].options["lr_factor"] == pytest.approx(9e-3)
    tried = sorted(float(c.edits[0].options["lr_factor"]) for c in contest.seen)
    assert tried == pytest.approx([1e-3 / 3, 1e-3, 3e-3, 9e-3, 10.0])


class Exponential(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(x)


def test_a_function_that_is_no_activation_is_one_between_layers() -> None:
    model = stack(64, 32, 32, 32, 32, 32, 32, 10, activation=Exponential)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.02)
    found = treat(model, DIGITS, steps=60, keep="layers")
    assert found.cured
    assert "swap-activation" in found.remedies
    assert not any(isinstance(module, Exponential) for module in found.model.modules())


def test_so_is_one_behind_which_a_pooling_comes() -> None:
    layers: list[nn.Module] = []
    for inside in (1, 8):
        layers += [nn.Conv2d(inside, 8, 3, padding=1), Exponential(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, 10))
    patient = patient_of({"model": model, "data": images(), "loss": F.cross_entropy})
    assert [a.module for a in hidden_activations(patient)] == ["1", "4"]


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.memory, self.head = nn.GRU(8, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.memory(x.unflatten(1, (8, 8)))[0][:, -1])


def test_what_is_frozen_as_it_was_drawn_is_thawed_where_the_rest_learns_badly() -> None:
    model = Reader()
    model.memory.requires_grad_(False)
    found = treat(model, DIGITS, steps=80)
    assert found.before.healthy  # freezing is for somebody to decide
    assert found.cured
    assert "unfreeze" in found.remedies
    assert all(p.requires_grad for p in found.model.parameters())
    assert not any(p.requires_grad for p in model.memory.parameters())


def images() -> tuple[Tensor, Tensor]:
    return DIGITS[0].reshape(-1, 1, 8, 8), DIGITS[1]


def test_a_small_start_that_sleeps_is_drawn_anew() -> None:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inside in (1, 12, 12):
        layers += [nn.Conv2d(inside, 12, 3, padding=1), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AvgPool2d(2), nn.Flatten(), nn.Linear(192, 10))
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.1 / layer.weight[0].numel() ** 0.5)
    found = treat(model, images(), steps=120)
    assert any("no better than a constant" in note for note in found.notes)
    assert found.cured
    assert "reinitialize" in found.remedies


@pytest.mark.parametrize(
    ("means", "word", "loss_word", "another_net", "told"),
    [
        ((0.80, 0.90), "helped", "undecided", True, True),
        ((0.80, 0.81), "no effect", "helped", False, True),
        ((0.80, 0.81), "no effect", "helped", True, False),  # another net for the loss alone
        ((0.99, 0.99), "no effect", "helped", True, True),  # it can hardly rise any more
        ((0.11, 0.11), "no effect", "helped", True, True),  # nor has it begun to
        ((0.80, 0.81), "undecided", "helped", False, False),
    ],
)
def test_what_counts_as_help(
    means: tuple[float, float], word: str, loss_word: str, another_net: bool, told: bool
) -> None:
    def run(metric: float) -> Run:
        return Run(
            label="", seed=0, rate=1.0, steps=1, metric=metric, loss=1.0, validation=None,
            diverged=False, losses=(1.0,), seconds=0.0,
        )  # fmt: skip

    pair = Pair(seed=0, control=run(means[0]), treated=run(means[1]), difference=0.0)
    verdict = Verdict(
        word=word, loss_word=loss_word, metric="accuracy", higher_is_better=True, pairs=(pair,),
        difference=0.0, interval=None, p=None, margin=0.02, zero_skill=0.1, held_out=100,
        unseen=True, steps=1, planned=1,
    )  # fmt: skip
    assert helps(verdict, another_net) is told


def draws(*accuracies: float) -> Any:
    """Runs that answer 192 samples so."""
    return [
        SimpleNamespace(diverged=False, measure=lambda _, m=m: SimpleNamespace(metric=m))
        for m in accuracies
    ]


@pytest.mark.parametrize(
    ("accuracies", "missing"),
    [
        ((0.906,), True),  # within chance of the bar: the other draws are to say
        ((0.93,), False),
        ((0.906, 0.833, 0.865, 0.859, 0.833), True),
        ((0.906, 0.93, 0.915, 0.925, 0.91), False),
    ],
)
def test_one_draw_near_the_bar_asks_for_the_others(
    accuracies: tuple[float, ...], missing: bool
) -> None:
    rule = SimpleNamespace(kind="accuracy", higher_is_better=True)
    task: Any = SimpleNamespace(yardstick=rule, split=SimpleNamespace(samples=192), zero_skill=None)
    unused: Any = None
    need = Need(task, unused, 300, 5, unused)
    asked = [(torch.zeros(192, 1), torch.zeros(192))]
    assert need._are_below(0.922, draws(*accuracies), asked) is missing
