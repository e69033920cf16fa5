"""Design: everything that is drawn about a program, as one plain record."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A program before it is built.

    ``activations`` holds one name a hidden layer (or block), ``inits`` one a weighted layer, the
    head included, from the input on (recurrent nets: the recurrent weights alone); ``order`` is
    where a transformer block has its norms (``"pre"``, ``"post"``, ``"none"``). ``keep`` starts
    LSTM gates at the task's length, ``shut`` closes them. The rest are faults, or none: the level
    behind which the gradient is ``detached``, ``frozen`` and ``forgotten`` layers (the first and
    the last of them; forgotten: not given to the optimizer), softmax ``twice``, a ``bias`` on all
    hidden layers, inputs in their own units (``raw``). ``loss_factor`` multiplies the loss;
    ``trained`` is the number of steps taken before.
    """

    family: str
    task: str
    width: int
    activations: tuple[str, ...]
    inits: tuple[str, ...]
    optimizer: str
    rate: float
    batch: int
    steps: int
    norm: bool = False
    order: str = "pre"
    keep: bool = False
    shut: bool = False
    detached: int | None = None
    frozen: tuple[int, int] | None = None
    forgotten: tuple[int, int] | None = None
    twice: bool = False
    bias: float = 0.0
    raw: bool = False
    loss_factor: float = 1.0
    trained: int = 0
