"""Faults of the training loop: what happens to a gradient between backward and step."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from corpus import data
from corpus.case import Case, Drawn, Program
from corpus.nets import Sequences, Transformer, adam, convnet, cross_entropy, he, mlp, sgd, squares
from corpus.signal_start import draw


def stepped(program: Program, step: Any) -> Drawn:
    return Drawn({**program, "step": step})


def loss_of(program: Program, model: nn.Module, batch: Any) -> Tensor:
    return program["loss"](model(batch[0]), batch[1])


def plain(seed: int, kind: str, rate: float, momentum: float = 0.0) -> Program:
    """One of five programs with plain gradient descent at a rate that learns."""
    rng = draw(seed, kind)
    if kind.startswith("mlp"):
        model: nn.Module = he(mlp(16, rng.choice((24, 48)), rng.choice((2, 3)), 4))
        program = cross_entropy(model, data.clusters(seed, 16, 4))
    elif kind.startswith("table"):
        model = he(mlp(8, rng.choice((24, 48)), 2, 1))
        program = squares(model, data.table(seed))
    elif kind.startswith("cnn"):
        model = he(convnet(8, 2, 4))
        program = cross_entropy(model, data.pictures(seed))
    elif kind.startswith("transformer"):
        model = Transformer(60, 32, 2, 4)
        program = cross_entropy(model, data.sentences(seed))
    else:
        model = Sequences(nn.GRU, 6, 16, 4)
        program = cross_entropy(model, data.first_matters(seed, 6))
    return {**program, "optimizer": sgd(model, rate, momentum=momentum)}


def clipped_scaled(kind: str, by: str):
    """Clipping between a scaled backward and ``unscale_``; the twin unscales first."""

    def build(seed: int, broken: bool) -> Drawn:
        program = plain(seed, kind, 0.1, 0.9 if kind == "transformer" else 0.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** draw(seed, by).choice((12, 14, 16)))

        def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
            optimizer.zero_grad()
            scaler.scale(loss_of(program, model, batch)).backward()
            if not broken:
                scaler.unscale_(optimizer)
            if by == "norm":
                clip_grad_norm_(model.parameters(), 1.0)
            elif by == "value":
                clip_grad_value_(list(model.parameters()), clip_value=0.1)
            else:
                by_hand(model, 1.0)
            scaler.step(optimizer)
            scaler.update()

        return stepped(program, step)

    return build


def by_hand(model: nn.Module, limit: float) -> None:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    for gradient in gradients:
        gradient.mul_(torch.clamp(limit / (norm + 1e-6), max=1.0))


class Root(nn.Module):
    """A net whose last step is a distance: the root of a sum of squares."""

    def __init__(self, width: int, guarded: bool) -> None:
        super().__init__()
        self.body, self.guarded = mlp(8, width, 2, 4), guarded

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        # A row of zeros has a distance of zero, where the root has an infinite slope.
        squares = (y * (x.abs().sum(1, keepdim=True) > 0)).square().sum(1, keepdim=True)
        return (squares + (1e-6 if self.guarded else 0.0)).sqrt()


def collapse(seed: int, broken: bool) -> Drawn:
    rng = draw(seed, "collapse")
    inputs, _ = data.clusters(seed, 8, 2)
    inputs = inputs.clone()
    inputs[rng.randrange(len(inputs))] = 0
    model = Root(rng.choice((16, 32)), guarded=not broken)
    program = squares(model, (inputs, inputs.norm(dim=1, keepdim=True)), optimizer=adam(model))
    return stepped(program, scaled_step(program))


def scaled_step(program: Program, start: float = 2.0**16):
    scaler = torch.amp.GradScaler("cpu", init_scale=start)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(loss_of(program, model, batch)).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def always(kind: str):
    """A limit far below the usual norm, with plain gradient descent."""

    def build(seed: int, broken: bool) -> Drawn:
        program = plain(seed, kind, 0.1)
        limit = 10 ** draw(seed, kind + "limit").uniform(-5, -3.5) if broken else 5.0

        def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
            optimizer.zero_grad()
            loss_of(program, model, batch).backward()
            clip_grad_norm_(parameters=model.parameters(), max_norm=limit)
            optimizer.step()

        return stepped(program, step)

    return build


def summed(kind: str, rate: float):
    """Gradients of many micro-batches added up at a rate that suits their mean."""

    def build(seed: int, broken: bool) -> Drawn:
        program = plain(seed, kind, rate)
        number = draw(seed, kind + "number").choice((12, 16, 24))

        def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
            optimizer.zero_grad(set_to_none=False)
            for part in zip(batch[0].chunk(number), batch[1].chunk(number), strict=True):
                loss = loss_of(program, model, part)
                (loss if broken else loss / number).backward()
            optimizer.step()

        return stepped(program, step)

    return build


def uncleared(kind: str, rate: float, momentum: float = 0.0):
    """No zero_grad; or one that comes too late, between backward and step of another loss."""

    def build(seed: int, broken: bool) -> Drawn:
        program = plain(seed, kind, rate, momentum)

        def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
            loss_of(program, model, batch).backward()
            optimizer.step()
            if not broken:
                optimizer.zero_grad()

        return stepped(program, step)

    return build


def everything_right(seed: int, broken: bool) -> Drawn:
    """Accumulation, scaler, unscale, clipping, a schedule and an average of weights, as it should be."""
    program = plain(seed, "transformer", 0.1, 0.9)
    optimizer = program["optimizer"]
    scaler = torch.amp.GradScaler("cpu")
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    average = torch.optim.swa_utils.AveragedModel(program["model"])

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        for part in zip(batch[0].chunk(4), batch[1].chunk(4), strict=True):
            scaler.scale(loss_of(program, model, part) / 4).backward()
        scaler.unscale_(optimizer)
        clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        average.update_parameters(model)

    return stepped(program, step)


def limit_follows_scale(seed: int, broken: bool) -> Drawn:
    """Clipping scaled gradients at a limit that is multiplied by the scale."""
    program = plain(seed, "mlp", 0.1)
    scaler = torch.amp.GradScaler("cpu")

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        scaler.scale(loss_of(program, model, batch)).backward()
        clip_grad_norm_(model.parameters(), 1.0 * scaler.get_scale())
        scaler.step(optimizer)
        scaler.update()

    return stepped(program, step)


def probing(seed: int, broken: bool) -> Drawn:
    """A scaler that starts far too high and skips the first steps."""
    program = plain(seed, "mlp", 0.001)
    program["loss"] = lambda outputs, labels: 100 * F.cross_entropy(outputs, labels)
    return stepped(program, scaled_step(program, 2.0**127))


def adam_always_clipped(seed: int, broken: bool) -> Drawn:
    program = plain(seed, "rnn", 0.1)
    program["optimizer"] = adam(program["model"])

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        optimizer.zero_grad()
        (100 * loss_of(program, model, batch)).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return stepped(program, step)


def two_turns(seed: int, broken: bool) -> Drawn:
    """A discriminator's turn, after the generator's has left gradients in it."""
    rng = draw(seed, "turns")
    real = data.clusters(seed, 8, 2)[0]
    generator = mlp(4, rng.choice((16, 32)), 2, 8)
    model = mlp(8, rng.choice((16, 32)), 2, 1, nn.LeakyReLU)
    other = adam(generator, 1e-3)
    judge = F.binary_cross_entropy_with_logits
    noise = torch.randn(len(real), 4, generator=data.source(seed))

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> None:
        other.zero_grad()
        judged = model(generator(noise))
        judge(judged, torch.ones_like(judged)).backward()
        other.step()
        optimizer.zero_grad()
        judge(model(batch[0]), torch.ones(len(batch[0]), 1)).backward()
        judge(model(generator(noise).detach()), torch.zeros(len(noise), 1)).backward()
        optimizer.step()

    def forward(model: nn.Module, batch: Any) -> Tensor:
        fake = model(generator(noise).detach())
        seen = judge(model(batch[0]), torch.ones(len(batch[0]), 1))
        return seen + judge(fake, torch.zeros_like(fake))

    program = {"model": model, "data": (real, real), "forward": forward}
    return stepped({**program, "optimizer": adam(model, 1e-3)}, step)


CASES: tuple[Case, ...] = (
    *(
        Case(f"clipped before unscaling, {kind}, {by}", kind, clipped_scaled(kind, by), name)
        for kind, by in (
            ("mlp", "norm"),
            ("cnn", "value"),
            ("transformer", "norm"),
            ("rnn", "hand"),
        )
        for name in ("clip-before-unscale",)
    ),
    Case(
        "scale falls: root of zero",
        "mlp",
        collapse,
        "loss-scale-collapse",
        also=("nonfinite-backward",),
    ),
    *(
        Case(
            f"always clipped, {kind}",
            kind,
            always(kind),
            "always-clipped",
            also=("step-too-small",),
        )
        for kind in ("mlp", "cnn", "rnn")
    ),
    Case("micro-batches summed, mlp", "mlp", summed("mlp", 0.5), "unscaled-accumulation"),
    Case("micro-batches summed, cnn", "cnn", summed("cnn", 0.2), "unscaled-accumulation"),
    Case("never cleared, regression", "mlp", uncleared("table", 0.05), "stale-gradients"),
    Case("never cleared, cnn", "cnn", uncleared("cnn", 0.1), "stale-gradients"),
    Case(
        "never cleared, transformer",
        "transformer",
        uncleared("transformer", 0.05, 0.9),
        "stale-gradients",
    ),
    Case(
        "a whole loop as it should be",
        "transformer",
        everything_right,
        suspicious="clipped, scaled",
    ),
    Case("a limit that follows the scale", "mlp", limit_follows_scale, suspicious="clips first"),
    Case("a scaler that probes", "mlp", probing, suspicious="skips steps"),
    Case("Adam, always clipped", "rnn", adam_always_clipped, suspicious="clipped at every step"),
    Case("two turns", "mlp", two_turns, suspicious="gradients left behind", training=100),
)
