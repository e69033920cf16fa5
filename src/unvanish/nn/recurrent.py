"""Recurrent nets whose gain over time is known: orthogonal steps that sort, and a chrono LSTM."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish.errors import BadInput

Start = Literal["identity", "rotation"]


class RegulatedRNN(nn.Module):
    """A simple recurrent net whose gain over time is exactly one, at every step of training.

    h_t = f(V x_t + b + U h_{t-1}), with U orthogonal whatever training does (U = base exp(A - A'),
    A learned: Lezcano and Martinez-Rubio 2019, arXiv:1901.08428) and f the MaxMin of Anil, Lucas
    and Grosse 2019 (arXiv:1811.05381): it sorts pairs, and so permutes: its Jacobian is orthogonal
    everywhere. dh_T/dh_1 has all its singular values at one for any number of steps: the gradient
    neither vanishes nor explodes in time. V starts 1/sqrt(horizon) smaller than usual, so that all
    inputs together, added up over the horizon, make states of unit size.

    The interface is that of ``torch.nn.RNN``: input (T, N, input_size), (N, T, input_size) with
    ``batch_first``, or (T, input_size); ``hx`` (num_layers, N, hidden_size), zero where it is left
    out; returns all outputs of the last layer, and the last state of every layer. Packed sequences,
    dropout and directions are not supported. exp is computed once a call, not once a step.

    Args:
        input_size: numbers a step.
        hidden_size: units a layer; an even number.
        horizon: steps over which something must be remembered.
        num_layers: layers above each other.
        bias: whether there is a b.
        batch_first: whether the batch is axis 0.
        start: base of U: the identity (states begin as running sums, good for counting and
            adding), or a random rotation (states begin as echoes, good for recalling order).

    It harms where forgetting is the task: there is no gate, and what came in stays for the horizon.
    It is a Python loop: slower than ``torch.nn.RNN`` a step, and unrolled by ``torch.compile``.

    >>> net = RegulatedRNN(3, 16, horizon=50)
    >>> outputs, last = net(torch.randn(50, 2, 3))
    >>> outputs.shape, last.shape
    (torch.Size([50, 2, 16]), torch.Size([1, 2, 16]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        horizon: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        start: Start = "identity",
    ) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            _check_size(name, size)
        _check_size("num_layers", num_layers)
        if hidden_size % 2:
            raise BadInput(
                f"hidden_size must be even, for its units are sorted in pairs: {hidden_size}"
            )
        _check_horizon(horizon)
        if start not in ("identity", "rotation"):
            raise BadInput(f"start must be identity or rotation, not {start!r}")
        self.input_size, self.hidden_size, self.horizon = input_size, hidden_size, horizon
        self.num_layers, self.batch_first = num_layers, batch_first
        self.layers = nn.ModuleList(
            _Layer(input_size if layer == 0 else hidden_size, hidden_size, horizon, bias, start)
            for layer in range(num_layers)
        )

    def forward(self, input: Tensor, hx: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(outputs, last states), as ``torch.nn.RNN``."""
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise BadInput(
                f"the input must be (T, N, {self.input_size}) or (T, {self.input_size}), "
                f"not {tuple(input.shape)}"
            )
        batched = input.ndim == 3
        steps = input if batched else input.unsqueeze(1)
        steps = steps.transpose(0, 1) if batched and self.batch_first else steps
        states = self._first_states(hx, steps, batched)
        last: list[Tensor] = []
        for layer, state in zip(self.layers, states, strict=True):
            assert isinstance(layer, _Layer)
            pushed = layer(steps)
            turn = layer.turn.T.to(pushed.dtype)
            made: list[Tensor] = []
            state = state.to(pushed.dtype)
            for push in pushed.unbind(0):
                state = _sort_pairs(push + state @ turn)
                made.append(state)
            steps = torch.stack(made)
            last.append(state)
        outputs, final = steps, torch.stack(last)
        outputs = outputs.transpose(0, 1) if batched and self.batch_first else outputs
        return (outputs, final) if batched else (outputs.squeeze(1), final.squeeze(1))

    def _first_states(self, hx: Tensor | None, steps: Tensor, batched: bool) -> list[Tensor]:
        wanted = (self.num_layers, steps.shape[1], self.hidden_size)
        if hx is None:
            return [steps.new_zeros(wanted[1:]) for _ in range(self.num_layers)]
        given = hx if batched else hx.unsqueeze(1)
        if given.shape != wanted:
            raise BadInput(f"hx must have the shape {wanted}, not {tuple(hx.shape)}")
        return list(given.unbind(0))

    def extra_repr(self) -> str:
        return (
            f"{self.input_size}, {self.hidden_size}, horizon={self.horizon}, "
            f"num_layers={self.num_layers}, batch_first={self.batch_first}"
        )


class _Layer(nn.Module):
    """What comes in at each step, and the orthogonal matrix that turns the state."""

    base: Tensor

    def __init__(self, inputs: int, hidden: int, horizon: int, bias: bool, start: Start) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(hidden, inputs) / math.sqrt(inputs * horizon))
        self.bias = nn.Parameter(torch.zeros(hidden)) if bias else None
        base = torch.eye(hidden)
        if start == "rotation":
            nn.init.orthogonal_(base)
        self.register_buffer("base", base)
        self.generator = nn.Parameter(torch.zeros(hidden, hidden))

    def forward(self, steps: Tensor) -> Tensor:
        return F.linear(steps, self.weight, self.bias)

    @property
    def turn(self) -> Tensor:
        """The orthogonal matrix U, in float32 at least (an exponential in half is none)."""
        with torch.autocast(self.base.device.type, enabled=False):
            generator = self.generator.to(torch.promote_types(self.generator.dtype, torch.float32))
            exponential = torch.linalg.matrix_exp(generator - generator.mT)
            return self.base.to(generator.dtype) @ exponential


class ChronoLSTM(nn.LSTM):
    """``torch.nn.LSTM`` whose gates start with memories as long as the horizon.

    Forget biases are log U(1, horizon - 1) and input biases minus those (Tallec and Ollivier 2018,
    arXiv:1804.11188, equation 16): units forget with time constants spread from one step to the
    horizon, and the gradient along the cells decays no faster. Everything else, arguments, state
    and kernels, is ``torch.nn.LSTM``; with ``proj_size`` too.

    Args:
        input_size: numbers a step.
        hidden_size: units a layer.
        horizon: steps over which something must be remembered (3 or more).
        options: further keyword arguments of ``torch.nn.LSTM``; ``bias`` must stay on.

    It harms where only the last few steps matter: it starts by averaging over many, and is slower
    to learn fast changes.

    >>> net = ChronoLSTM(3, 16, horizon=200, batch_first=True)
    >>> forget = net.bias_ih_l0[16:32]
    >>> bool((forget >= 0).all()), bool((forget <= math.log(199)).all())
    (True, True)
    """

    def __init__(
        self, input_size: int, hidden_size: int, *, horizon: int, **options: object
    ) -> None:
        if not options.get("bias", True):
            raise BadInput("a chrono LSTM is made by its biases: leave bias on")
        _check_horizon(horizon)
        self.horizon = horizon
        super().__init__(input_size, hidden_size, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]

    def reset_parameters(self) -> None:
        """The usual weights, and the biases of the gates."""
        super().reset_parameters()
        hidden = self.hidden_size
        with torch.no_grad():
            for name, bias in self.named_parameters():
                if name.startswith("bias_hh"):
                    bias[: 2 * hidden].zero_()
                elif name.startswith("bias_ih"):
                    forget = torch.empty_like(bias[:hidden]).uniform_(1, self.horizon - 1).log_()
                    bias[hidden : 2 * hidden] = forget
                    bias[:hidden] = -forget


def _sort_pairs(x: Tensor) -> Tensor:
    """The larger of units i and i + H/2 first; on a tie the gradient goes one way, not both."""
    first, second = x.chunk(2, -1)
    swap = second > first
    return torch.cat((torch.where(swap, second, first), torch.where(swap, first, second)), -1)


def _check_size(name: str, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise BadInput(f"{name} must be a positive whole number, not {size!r}")


def _check_horizon(horizon: object) -> None:
    if isinstance(horizon, bool) or not isinstance(horizon, int) or horizon < 3:
        raise BadInput(f"horizon must be a whole number of steps, 3 or more, not {horizon!r}")
