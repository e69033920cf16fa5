"""Where values flowed in one forward pass: the operations in order, and what they read."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from unvanish.probe.gate import Samples

WEIGHTED = frozenset(
    "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul mm bmm "
    "addmm baddbmm einsum bilinear multi_head_attention_forward scaled_dot_product_attention "
    "rnn_tanh rnn_relu lstm gru rnn_tanh_cell rnn_relu_cell lstm_cell gru_cell embedding".split()
)
NORMALIZING = frozenset("layer_norm batch_norm group_norm instance_norm rms_norm normalize".split())
MULTIPLYING = frozenset(("mul", "multiply"))
REENTRANT = "reentrant checkpoint"
"""How a cut is named that torch's reentrant checkpoint made: nothing that it got required grad."""
EXITS = frozenset(("numpy", "item", "tolist", "__array__", "__float__", "__int__"))
"""Functions that hand a tensor's values to the world outside of torch."""
SHAPED_AFTER = frozenset(
    "ones_like zeros_like full_like empty_like rand_like randn_like "
    "new_ones new_zeros new_full new_empty".split()
)
"""Functions that take a shape from a tensor, and none of its values."""
WRITTEN_INFINITE = frozenset("masked_fill where full full_like fill empty empty_like".split())


@dataclass(slots=True)
class Call:
    """One tensor operation. ``inputs`` are earlier calls, ``leaves`` are parameter names.

    ``data`` says that data flowed into it: not only parameters, buffers and plain numbers;
    ``foreign`` how many of its tensors came from nowhere: not the batch, not an earlier call.
    ``fresh`` says that it read data that carries no gradient.
    ``node`` is the autograd node of its output, by thread and number.
    ``makers`` and ``input_shapes`` go with its tensor arguments, one by one.
    """

    function: str
    module: str
    number: int
    own: bool
    inputs: tuple[int, ...]
    leaves: tuple[str, ...]
    grad_in: bool
    grad_out: bool
    node: tuple[int, int] | None = None
    output_rms: float | None = None
    spread: float | None = None
    samples: Samples | None = None
    made: bool = False
    data: bool = False
    foreign: int = 0
    channels_first: bool = False
    checkpointed: bool = False
    fresh: bool = False
    makers: tuple[int | None, ...] = ()
    input_shapes: tuple[tuple[int, ...], ...] = ()
    output_shape: tuple[int, ...] = ()
    dtype: str = ""
    dim: int | None = None
    targets: tuple[float, float] | None = None


@dataclass(slots=True)
class BadValue:
    """An op whose output was not finite although its inputs were, or at which bad ones came in.

    ``came_in`` says with what: a parameter, or a tensor from outside, that was not finite itself.
    ``leaves`` are the names of such parameters.
    """

    call: int
    nans: int
    infinite: int
    low: float | None
    high: float | None
    zeros: int
    came_in: str | None = None
    leaves: tuple[str, ...] = ()


@dataclass(slots=True)
class Exit:
    """So many values of what the call ``source`` made were handed out of torch."""

    operation: str
    module: str
    source: int
    values: int


@dataclass(slots=True)
class Flow:
    """What one forward pass did, in order."""

    calls: list[Call] = field(default_factory=list[Call])
    bad: list[BadValue] = field(default_factory=list[BadValue])
    exits: list[Exit] = field(default_factory=list[Exit])
    bad_leaves: list[str] = field(default_factory=list[str])
    """Parameters, and tensors of the batch, that were not finite when they were read."""
    read_out: list[str] = field(default_factory=list[str])
    """Parameters whose own values were handed out of torch."""
    loss_call: int | None = None

    def ancestors(self, start: Iterable[int]) -> set[int]:
        """These calls and every call whose value flowed into them."""
        seen = set(start)
        pending = list(seen)
        while pending:
            for source in self.calls[pending.pop()].inputs:
                if source not in seen:
                    seen.add(source)
                    pending.append(source)
        return seen

    def consumers(self) -> dict[int, list[int]]:
        """For every call the later calls that read its output."""
        out: dict[int, list[int]] = {}
        for index, call in enumerate(self.calls):
            for source in call.inputs:
                out.setdefault(source, []).append(index)
        return out
