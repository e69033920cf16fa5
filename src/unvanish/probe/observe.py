"""observe: one forward and one backward pass through the user's own code, fully accounted for."""

from dataclasses import replace
from typing import Any

from torch import nn

from unvanish.batches import Forward, Loss, check_arguments, check_batch, take_batches
from unvanish.errors import BadInput, ModelFailed
from unvanish.probe.attempt import Call
from unvanish.probe.compiled import unwrapped
from unvanish.randomness import seeded
from unvanish.trace import Trace


def observe(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    seed: int = 0,
    *,
    batches: int = 1,
) -> Trace:
    """Run the model forward and backward once and account for the gradient, op by op.

    The model, its gradients, buffers, modes, hooks and all random state are as before when this
    returns or raises.

    Args:
        model: the network, in the mode it should be observed in (usually ``train()``).
        data: one batch as a tuple ``(inputs, targets)``, or an iterable of batches. ``inputs`` is
            a tensor, a tuple (positional arguments) or a mapping (keyword arguments).
        loss: ``loss(outputs, targets) -> scalar tensor``.
        forward: ``forward(model, batch) -> scalar tensor``, instead of ``loss``.
        seed: of the random state while observing (dropout and the like).
        batches: how many batches to read at most where ``data`` holds several. The ledger is that
            of the first; activations and parameters are read on all.

    Returns:
        The trace: plain numbers, no tensors.

    Raises:
        BadInput: an argument or the data cannot be used; the message says which and why.
        ModelFailed: the model or the loss raised; the message says where, the cause is chained.

    >>> import torch, unvanish
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Sigmoid(), torch.nn.Linear(8, 2))
    >>> batch = torch.randn(16, 4), torch.randint(2, (16,))
    >>> trace = unvanish.observe(net, batch, torch.nn.CrossEntropyLoss())
    >>> 0 < trace.of_kind("Sigmoid")[0].gain <= 0.25
    True
    """
    check_arguments(model, loss, forward, seed, batches)
    model, notes = unwrapped(model)
    with seeded(seed):  # a shuffling loader draws from the random state as it starts
        taken = take_batches(data, batches)
    for index, batch in enumerate(taken):
        check_batch(model, batch, index)
    call = Call(model, loss, forward, seed, tuple(notes))
    try:
        return call.run(taken, differentiate_inputs=True)
    except (ModelFailed, BadInput) as error:
        # The user's program may not allow inputs that require grad (x.numpy(), in-place code of
        # its own, a checkpoint that must not see one): what works without them was our doing.
        cause = str(error.__cause__ or error).splitlines()[0]
    note = f"inputs were observed without their own gradient: with it, {cause}"
    return replace(call, notes=(*call.notes, note)).run(taken, differentiate_inputs=False)
