"""Ordinary training loops, each written as a user would, told to a look as a watcher tells it.

A training is a generator: it yields its model once before each step, so that a test may arm a look
there, and at its end everything of it can be compared bit for bit.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from unvanish.probe.live import LiveLook

Steps = Generator[nn.Module]


@dataclass
class State:
    """Everything of a training that may not change."""

    losses: list[Tensor] = field(default_factory=list)
    models: list[nn.Module] = field(default_factory=list)
    gradients: list[Tensor | None] = field(default_factory=list)
    scaler: Any = None

    def note(self, loss: Tensor) -> None:
        self.losses.append(loss.detach().clone())
        for model in self.models:
            grads = [p.grad for p in model.parameters()]
            self.gradients += [None if g is None else g.detach().clone() for g in grads]

    def everything(self) -> list[Tensor | None]:
        held = [t for model in self.models for t in model.state_dict().values()]
        return [*self.losses, *self.gradients, *held, torch.get_rng_state()]


Training = Callable[[State], Steps]


@contextlib.contextmanager
def told(look: LiveLook, state: State | None = None) -> Iterator[None]:
    """Tell a look of the backward calls of this process, as a watcher does."""
    original = torch.autograd.backward
    inside = threading.local()

    def backward(tensors: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(inside, "backward", False):  # a checkpoint that recomputes
            return original(tensors, *arguments, **options)
        inside.backward = True
        scaler = None if state is None else state.scaler
        try:
            look.before_backward(tensors, scaler.get_scale() if scaler is not None else None)
            return original(tensors, *arguments, **options)
        finally:
            inside.backward = False
            look.after_backward()

    torch.autograd.backward = backward
    try:
        yield
    finally:
        torch.autograd.backward = original


def switches() -> list[Any]:
    """What in torch a look exchanges, registers or enters."""
    return [
        torch.Tensor.__dict__["backward"],
        torch.autograd.backward,
        list(torch_module._global_forward_pre_hooks),
        list(torch_module._global_forward_hooks),
        list(torch_module._global_forward_hooks_with_kwargs),
        list(torch_module._global_forward_hooks_always_called),
        _get_current_function_mode_stack(),
        torch.is_grad_enabled(),
    ]


def run(training: Training, looked_at: bool) -> tuple[State, list[LiveLook]]:
    """The training to its end, with a look at every step or with none."""
    torch.manual_seed(0)
    state, looks = State(), []
    steps = training(state)
    for model in steps:
        if looked_at:
            look = LiveLook(model)
            with told(look, state):
                look.begin()
                with contextlib.suppress(StopIteration):
                    steps.send(None)
                look.finish()
            looks.append(look)
        else:
            with contextlib.suppress(StopIteration):
                steps.send(None)
    return state, looks


def stepped(body: Callable[..., Tensor]) -> Callable[..., Training]:
    """A training of four steps out of ``body(state, model, optimizer)``, which is one step."""

    @functools.wraps(body)
    def make(model_of: Callable[[], nn.Module], **more: Any) -> Training:
        def training(state: State) -> Steps:
            model = model_of()
            state.models.append(model)
            optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
            for _ in range(4):
                yield model
                state.note(body(state, model, optimizer, **more))
                yield model

        return training

    return make


@stepped
def plain(
    state: State,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    inputs: Callable[[], Tensor] = lambda: torch.randn(8, 16),
) -> Tensor:
    optimizer.zero_grad()
    outputs = model(inputs())
    loss = F.cross_entropy(outputs.flatten(0, -2), torch.randint(3, outputs.shape[:-1]).flatten())
    loss.backward()
    optimizer.step()
    return loss


@stepped
def accumulating(state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad(set_to_none=False)
    for _ in range(3):
        loss = F.cross_entropy(model(torch.randn(8, 16)), torch.randint(3, (8,))) / 3
        loss.backward()
    optimizer.step()
    return loss


@stepped
def scaled(state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    state.scaler = state.scaler or torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = F.cross_entropy(model(torch.randn(8, 16)), torch.randint(3, (8,)))
    state.scaler.scale(loss).backward()
    state.scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    state.scaler.step(optimizer)
    state.scaler.update()
    return loss


@stepped
def penalised(state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    inputs = torch.randn(8, 16, requires_grad=True)
    loss = F.cross_entropy(model(inputs), torch.randint(3, (8,)))
    (gradient,) = torch.autograd.grad(loss, inputs, create_graph=True)
    loss = loss + gradient.square().sum()
    loss.backward()
    optimizer.step()
    return loss


@stepped
def twice_differentiable(
    state: State, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Tensor:
    optimizer.zero_grad()
    loss = F.cross_entropy(model(torch.randn(8, 16)), torch.randint(3, (8,)))
    loss.backward(create_graph=True, retain_graph=True)
    loss.backward()
    for parameter in model.parameters():
        parameter.grad = parameter.grad.detach()
    optimizer.step()
    return loss


@stepped
def siamese(state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    optimizer.zero_grad()
    with torch.device("cpu"):
        left, right = model(torch.randn(8, 16)), model(torch.randn(8, 16))
    loss = F.cosine_similarity(left, right).square().mean()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss


@stepped
def validated(state: State, model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    model.eval()
    with torch.no_grad():
        model(torch.randn(8, 16))
    model(torch.randn(8, 16)).sum()  # somebody forgot no_grad
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(torch.randn(8, 16)), torch.randint(3, (8,)))
    loss.backward()
    optimizer.step()
    return loss


def gan(which: int) -> Training:
    def training(state: State) -> Steps:
        maker, judge = mlp(16), mlp(1)
        state.models += [maker, judge]
        optimizers = [torch.optim.Adam(m.parameters(), 1e-2) for m in state.models]
        one, zero = torch.ones(8, 1), torch.zeros(8, 1)
        for _ in range(4):
            yield state.models[which]
            fake = maker(torch.randn(8, 16))
            optimizers[1].zero_grad()
            loss = F.binary_cross_entropy_with_logits(judge(torch.randn(8, 16)), one)
            loss = loss + F.binary_cross_entropy_with_logits(judge(fake.detach()), zero)
            loss.backward()
            optimizers[1].step()
            optimizers[0].zero_grad()
            F.binary_cross_entropy_with_logits(judge(fake), one).backward()
            optimizers[0].step()
            state.note(loss)
            yield maker

    return training


def with_closure(state: State) -> Steps:
    model = mlp()
    state.models.append(model)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    inputs, labels = torch.randn(8, 16), torch.randint(3, (8,))

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    for _ in range(2):
        yield model
        state.note(optimizer.step(closure))
        yield model


def with_default_device(state: State) -> Steps:
    torch.set_default_device("cpu")
    try:
        yield from siamese(mlp)(state)
    finally:
        torch.set_default_device(None)


def in_backward(state: State) -> Steps:
    model = mlp()
    state.models.append(model)
    optimizers = {p: torch.optim.SGD([p], 0.1) for p in model.parameters()}

    def step(parameter: Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        yield model
        loss = F.cross_entropy(model(torch.randn(8, 16)), torch.randint(3, (8,)))
        loss.backward()
        state.note(loss)
        yield model


def mlp(outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(16, 24),
        nn.Tanh(),
        nn.Linear(24, 24),
        nn.ReLU(inplace=True),
        nn.Linear(24, outputs),
    )


class Convolutions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu_(self.norm(self.first(x.view(-1, 1, 4, 4))))
        return self.head(self.drop(x.mean((2, 3))))


class Tied(nn.Module):
    """A small GPT: tied weights, dropout, causal attention."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(3, 16), nn.Embedding(10, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, 0.1, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(10)
        x = self.table(tokens) + self.places.weight
        return self.head(self.body(x, mask=mask, is_causal=True))


class FrozenEncoder(nn.Module):
    """A frozen encoder in eval mode: torch takes its fast path there, with other roundings."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2).requires_grad_(False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.body.eval()
        return self.head(self.body(x[:, None].expand(-1, 5, -1)).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], packed: bool = False, frozen: bool = False) -> None:
        super().__init__()
        self.memory = kind(16, 12, 2, batch_first=True, dropout=0.2).requires_grad_(not frozen)
        self.head, self.packed = nn.Linear(12, 3), packed

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, None] * torch.linspace(1, 2, 9)[:, None]
        if self.packed:
            lengths = torch.tensor([9, 8, 7, 6, 5, 4, 3, 2])
            x = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
            states, _ = nn.utils.rnn.pad_packed_sequence(self.memory(x)[0], batch_first=True)
            return self.head(states[:, 0])
        return self.head(self.memory(x)[0][:, -1])


class Doubling(nn.LSTM):
    """Writes into its input, as a leaf that requires grad would not allow."""

    def forward(self, x: Tensor, states: Any = None) -> Any:
        return super().forward(x.mul_(2), states)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.body, self.head = nn.Linear(16, 16), mlp(16), nn.Linear(16, 3)
        self.drop, self.reentrant = nn.Dropout(0.2), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for _ in range(2):  # the same weights in two checkpoints
            x = x + checkpoint(lambda y: self.drop(self.body(y)), x, use_reentrant=self.reentrant)
        return self.head(x)


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient


class Own(nn.Module):
    """A custom function, functional calls, a module called twice, in-place operations."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu_(self.first(x))
        x = self.first(x).mul_(0.5)
        x[:, 0] += 1
        return self.head(Square.apply(F.dropout(x, 0.1)))


def hooked() -> nn.Module:
    """Hooks of the program's own, on modules and tensors, that change what passes."""
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 3))
    model[0].register_forward_hook(lambda module, inputs, output: output * 1.5)
    model[1].register_full_backward_hook(lambda module, left, arrived: (left[0] * 2,))
    model[2].weight.register_hook(lambda gradient: gradient * 3)
    return model


def normalised() -> nn.Module:
    """Power iteration in the forward pass, weights that are computed."""
    spectral, weight = (
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.weight_norm,
    )
    return nn.Sequential(spectral(nn.Linear(16, 16)), nn.Tanh(), weight(nn.Linear(16, 3)))


def tokens() -> Tensor:
    return torch.randint(3, (4, 10))


TRAININGS: dict[str, Training] = {
    "mlp": plain(mlp),
    "cnn": plain(Convolutions),
    "gpt, tied": plain(Tied, inputs=tokens),
    "lstm": plain(lambda: Recurrent(nn.LSTM)),
    "gru": plain(lambda: Recurrent(nn.GRU)),
    "lstm that writes into its input": plain(lambda: Recurrent(Doubling)),
    "rnn, packed": plain(lambda: Recurrent(nn.RNN, packed=True)),
    "lstm, frozen": plain(lambda: Recurrent(nn.LSTM, frozen=True)),
    "hooks of its own": plain(hooked),
    "computed weights": plain(normalised),
    "frozen encoder": plain(FrozenEncoder),
    "checkpoint": plain(lambda: Checkpointed(False)),
    "reentrant checkpoint": plain(lambda: Checkpointed(True)),
    "custom function": plain(Own),
    "scaled bf16": scaled(mlp),
    "scaled bf16, cnn": scaled(Convolutions),
    "accumulating": accumulating(Convolutions),
    "accumulating, reentrant": accumulating(lambda: Checkpointed(True)),
    "gradient penalty": penalised(
        lambda: nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    ),
    "create_graph": twice_differentiable(Own),
    "two forwards": siamese(mlp),
    "default device": with_default_device,
    "validated in between": validated(Convolutions),
    "gan, generator": gan(0),
    "gan, discriminator": gan(1),
    "closure": with_closure,
    "optimizer in backward": in_backward,
}
