"""The contestants: plain nets, and the same with one part of ``unvanish.nn``."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from nn_parts_tasks import Task
from torch import Tensor, nn
from torch.nn import functional as F

import unvanish.nn as own
from unvanish import theory
from unvanish.nn.homeostatic import isometric

DEPTH, WIDTH, HIDDEN = 30, 32, 32
FLAT = ("digits", "spirals")
TIME = ("digits in time", "distant parity")
State = dict[str, Tensor]


class Plain(nn.Module):
    """A first layer, DEPTH hidden ones, a last one; no skip, no norm. ``scales`` divide each."""

    scales: Tensor

    def __init__(
        self, task: Task, activation: Callable[[], nn.Module], orthogonal: bool, gain: float
    ) -> None:
        super().__init__()
        self.first = nn.Linear(task.features, WIDTH)
        self.hidden = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))
        self.activations = nn.ModuleList(activation() for _ in range(DEPTH + 1))
        self.last = nn.Linear(WIDTH, task.classes)
        self.register_buffer("scales", torch.ones(DEPTH, 1))
        if orthogonal:
            for layer in (self.first, *self.hidden):
                nn.init.orthogonal_(layer.weight, gain)
                nn.init.zeros_(layer.bias)
            self.first.weight.data.mul_(math.sqrt(max(1.0, WIDTH / task.features)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.activations[0](self.first(x))
        for layer, scale, activation in zip(
            self.hidden, self.scales.unbind(), self.activations[1:], strict=True
        ):
            x = activation(layer(x) / scale)
        return self.last(x)


class Blocks(nn.Module):
    """A first layer, DEPTH blocks made from Linear + ReLU, a last one."""

    def __init__(self, task: Task, block: Callable[[nn.Module], nn.Module], inner: str) -> None:
        super().__init__()
        self.first = nn.Linear(task.features, WIDTH)
        self.blocks = nn.ModuleList(block(branch(inner)) for _ in range(DEPTH))
        self.last = nn.Linear(WIDTH, task.classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        return self.last(x)


def branch(inner: str) -> nn.Module:
    layer = nn.Linear(WIDTH, WIDTH)
    if inner == "norm":
        return nn.Sequential(layer, nn.BatchNorm1d(WIDTH, track_running_stats=False), nn.ReLU())
    if inner == "chaos":  # a recurrent gain of two: tanh far beyond its critical point
        nn.init.normal_(layer.weight, std=2 / math.sqrt(WIDTH))
        return nn.Sequential(layer, nn.Tanh())
    nn.init.kaiming_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.ReLU())


class Added(nn.Module):
    """x + branch(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class OverTime(nn.Module):
    """A recurrent net and a linear layer that reads its last state."""

    def __init__(self, task: Task, kind: str) -> None:
        super().__init__()
        horizon, size = task.inputs.shape[1], task.features
        self.net = {
            "orthogonal": lambda: own.RegulatedRNN(size, HIDDEN, horizon=horizon, batch_first=True),
            "rotation": lambda: own.RegulatedRNN(
                size, HIDDEN, horizon=horizon, batch_first=True, start="rotation"
            ),
            "lstm": lambda: StepLSTM(nn.LSTM(size, HIDDEN)),
            "chrono": lambda: StepLSTM(own.ChronoLSTM(size, HIDDEN, horizon=horizon)),
            "tanh": lambda: StepTanh(nn.RNN(size, HIDDEN)),
        }[kind]()
        self.last = nn.Linear(HIDDEN, task.classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.net(x)[0][:, -1])


class StepTanh(nn.Module):
    """``torch.nn.RNN`` written out (its kernel cannot be batched over nets); batch first."""

    def __init__(self, net: nn.RNN) -> None:
        super().__init__()
        self.weights = nn.ParameterList(p.detach() for p in net.parameters())

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        from_input, from_state, bias, other = self.weights
        pushed = F.linear(x, from_input, bias + other)
        state, made = x.new_zeros(len(x), HIDDEN), []
        for push in pushed.unbind(1):
            state = torch.tanh(push + state @ from_state.T)
            made.append(state)
        return torch.stack(made, 1), None


class StepLSTM(nn.Module):
    """``torch.nn.LSTM`` written out, from its own weights; batch first."""

    def __init__(self, net: nn.LSTM) -> None:
        super().__init__()
        self.weights = nn.ParameterList(p.detach() for p in net.parameters())

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        from_input, from_state, bias, other = self.weights
        pushed = F.linear(x, from_input, bias + other)
        state = cell = x.new_zeros(len(x), HIDDEN)
        made: list[Tensor] = []
        for push in pushed.unbind(1):
            i, f, g, o = (push + state @ from_state.T).chunk(4, -1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            state = o.sigmoid() * cell.tanh()
            made.append(state)
        return torch.stack(made, 1), None


@dataclass(frozen=True)
class Arm:
    """How a net is made, prepared once from a batch, and treated after every step."""

    group: str
    build: Callable[[Task], nn.Module]
    tasks: tuple[str, ...] = FLAT
    prepare: Callable[[nn.Module, Tensor], None] | None = None
    after_step: Callable[[State, State], None] | None = None


def calibrate(net: nn.Module, x: Tensor) -> None:
    """Once: every layer's output to unit mean square, its scale then frozen."""
    assert isinstance(net, Plain)
    x = net.activations[0](net.first(x))
    for number, (layer, activation) in enumerate(zip(net.hidden, net.activations[1:], strict=True)):
        made = layer(x)
        net.scales[number] = made.square().mean().sqrt()
        x = activation(made / net.scales[number])


def hold(kind: str) -> Callable[[State, State], None]:
    """A rule for the hidden weights of ``Plain``, after each step."""

    def after(parameters: State, buffers: State) -> None:
        for name, weight in parameters.items():
            if name.startswith("hidden") and weight.ndim == 3:
                parameters[name] = held(kind, weight, buffers, int(name.split(".")[1]))

    return after


def held(kind: str, weight: Tensor, buffers: State, number: int) -> Tensor:
    size = weight.norm(dim=(-2, -1), keepdim=True) / math.sqrt(WIDTH)
    if kind == "norm":
        return weight / size
    if kind == "isometric":
        return isometric(weight)
    if kind == "isometric on event":
        gram = weight.mT @ weight - torch.eye(WIDTH)
        off = gram.norm(dim=(-2, -1), keepdim=True) / math.sqrt(WIDTH)
        return torch.where(off > 0.3, isometric(weight), weight)
    # The function stays as it is: the weight goes back to unit scale, a frozen factor takes it up.
    factor = torch.where((size > 1.25) | (size < 0.8), size, torch.ones_like(size))
    scales = buffers["scales"].clone()
    scales[:, number] = scales[:, number] / factor[:, 0]
    buffers["scales"] = scales
    return weight / factor


def plain(
    group: str,
    activation: Callable[[], nn.Module],
    orthogonal: bool = True,
    rule: str = "",
    gain: float = 1.0,
) -> Arm:
    return Arm(
        group,
        lambda task: Plain(task, activation, orthogonal, gain),
        prepare=calibrate if rule == "calibrate" else None,
        after_step=hold(rule) if rule not in ("", "calibrate") else None,
    )


def blocks(group: str, block: Callable[[nn.Module], nn.Module], inner: str = "he") -> Arm:
    return Arm(group, lambda task: Blocks(task, block, inner))


def over_time(kind: str) -> Arm:
    return Arm("time", lambda task: OverTime(task, kind), TIME)


L = DEPTH + 1
tailored: Callable[[], nn.Module] = lambda: own.TailoredLeakyReLU(L)  # noqa: E731
he_relu: Callable[[], nn.Module] = lambda: own.TailoredLeakyReLU(1)  # noqa: E731  sqrt(2) ReLU
gated: Callable[..., Callable[[nn.Module], nn.Module]] = lambda kind, **more: (  # noqa: E731
    lambda inner: own.GatedResidual(inner, kind, **more)
)
valve: Callable[..., Callable[[nn.Module], nn.Module]] = lambda low, high: (  # noqa: E731
    lambda inner: own.GradientValve(inner, bounds=(low, high))
)

ARMS: dict[str, Arm] = {
    "ReLU, torch's start": plain("activations", nn.ReLU, orthogonal=False),
    "ReLU": plain("activations", nn.ReLU, gain=math.sqrt(2)),
    "TailoredLeakyReLU": plain("activations", tailored),
    "TailoredPReLU": plain("activations", lambda: own.TailoredPReLU(L)),
    "Tanh": plain("activations", nn.Tanh),
    "ShapedActivation(Tanh)": plain("activations", lambda: own.ShapedActivation(nn.Tanh(), L)),
    "TailoredActivation(Tanh)": plain("activations", lambda: own.TailoredActivation(nn.Tanh(), L)),
    "Sigmoid": plain("activations", nn.Sigmoid),
    "TailoredActivation(Sigmoid)": plain(
        "activations", lambda: own.TailoredActivation(nn.Sigmoid(), L)
    ),
    "SiLU": plain("activations", nn.SiLU, gain=theory.gain("silu")),
    "Swish": plain("activations", own.Swish, gain=theory.gain("silu")),
    "TailoredActivation(SiLU)": plain("activations", lambda: own.TailoredActivation(nn.SiLU(), L)),
    "TailoredSwish": plain("activations", lambda: own.TailoredSwish(L)),
    "Rational(tailored SiLU)": plain(
        "activations", lambda: own.Rational(own.TailoredActivation(nn.SiLU(), L))
    ),
    "tailored, calibrated": plain("homeostatic", tailored, rule="calibrate"),
    "tailored, norm held": plain("homeostatic", tailored, rule="norm"),
    "tailored, event keeps function": plain("homeostatic", tailored, rule="function kept"),
    "tailored, isometric on event": plain("homeostatic", tailored, rule="isometric on event"),
    "Homeostatic(tailored)": plain("homeostatic", tailored, rule="isometric"),
    "Homeostatic(ReLU)": plain("homeostatic", he_relu, rule="isometric"),
    "torch's start, tailored": plain("homeostatic", tailored, False),
    "torch's start, calibrated": plain("homeostatic", tailored, False, "calibrate"),
    "torch's start, Homeostatic": plain("homeostatic", tailored, False, "isometric"),
    "He blocks": blocks("residual", lambda inner: inner),
    "x + f(x)": blocks("residual", Added),
    "GatedResidual(rezero)": blocks("residual", gated("rezero")),
    "GatedResidual(skipinit)": blocks("residual", gated("skipinit", depth=DEPTH)),
    "GatedResidual(layerscale)": blocks("residual", gated("layerscale", channels=WIDTH)),
    "GatedResidual(convex)": blocks("residual", gated("convex")),
    "GatedResidual(highway)": blocks("residual", gated("highway", channels=WIDTH)),
    "batch norm blocks": blocks("valve", lambda inner: inner, "norm"),
    "GradientValve(batch norm)": blocks("valve", valve(0.8, 1.25), "norm"),
    "chaotic tanh blocks": blocks("valve", lambda inner: inner, "chaos"),
    "GradientValve(chaotic tanh)": blocks("valve", valve(0.8, 1.25), "chaos"),
    "RNN": over_time("tanh"),
    "RegulatedRNN": over_time("orthogonal"),
    "RegulatedRNN(rotation)": over_time("rotation"),
    "LSTM": over_time("lstm"),
    "ChronoLSTM": over_time("chrono"),
}  # fmt: skip
GROUPS = tuple(dict.fromkeys(arm.group for arm in ARMS.values()))

PAIRS = (
    ("TailoredLeakyReLU", "ReLU"),
    ("TailoredPReLU", "ReLU"),
    ("TailoredPReLU", "TailoredLeakyReLU"),
    ("ShapedActivation(Tanh)", "Tanh"),
    ("TailoredActivation(Tanh)", "Tanh"),
    ("TailoredActivation(Sigmoid)", "Sigmoid"),
    ("Swish", "SiLU"),
    ("TailoredActivation(SiLU)", "SiLU"),
    ("TailoredSwish", "Swish"),
    ("TailoredSwish", "TailoredActivation(SiLU)"),
    ("Rational(tailored SiLU)", "SiLU"),
    ("Rational(tailored SiLU)", "TailoredActivation(SiLU)"),
    ("tailored, calibrated", "TailoredLeakyReLU"),
    ("tailored, norm held", "TailoredLeakyReLU"),
    ("tailored, event keeps function", "TailoredLeakyReLU"),
    ("tailored, isometric on event", "TailoredLeakyReLU"),
    ("Homeostatic(tailored)", "TailoredLeakyReLU"),
    ("Homeostatic(tailored)", "tailored, calibrated"),
    ("Homeostatic(tailored)", "ReLU, torch's start"),
    ("Homeostatic(ReLU)", "ReLU"),
    ("torch's start, calibrated", "torch's start, tailored"),
    ("torch's start, Homeostatic", "torch's start, tailored"),
    ("torch's start, Homeostatic", "torch's start, calibrated"),
    *((f"GatedResidual({kind})", base)
      for kind in ("rezero", "skipinit", "layerscale", "convex", "highway")
      for base in ("He blocks", "x + f(x)")),
    ("GradientValve(batch norm)", "batch norm blocks"),
    ("GradientValve(chaotic tanh)", "chaotic tanh blocks"),
    ("RegulatedRNN", "RNN"),
    ("RegulatedRNN(rotation)", "RNN"),
    ("RegulatedRNN", "LSTM"),
    ("ChronoLSTM", "LSTM"),
)  # fmt: skip
