"""observe: one forward and one backward pass through the user's own code, fully accounted for."""

import contextlib
import sys
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from unvanish.batches import (
    Forward,
    Loss,
    check_arguments,
    check_batch,
    compute_loss,
    map_tensors,
    split_batch,
    take_batches,
    tensors_in,
)
from unvanish.errors import BadInput, ModelFailed, UnvanishError
from unvanish.preserve import ParameterKeeper, preserved
from unvanish.probe.activations import ActivationReader
from unvanish.probe.assemble import Sight, assemble
from unvanish.probe.backward import NodeWatch, seeing_through_checkpoints
from unvanish.probe.forward import ForwardRecorder
from unvanish.probe.gradients import GradientReader
from unvanish.probe.sequences import SequenceReader
from unvanish.probe.spans import ModuleSpans
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
    check_arguments(model, loss, forward, seed)
    model, notes = unwrapped(model)
    taken = take_batches(data, batches)
    for index, batch in enumerate(taken):
        check_batch(model, batch, index)
    with preserved(model, seed):
        return _Observation(model, loss, forward, seed, notes).run(taken)


def unwrapped(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """The module itself behind ``torch.compile`` and data-parallel wrappers, and what was said."""
    notes: list[str] = []
    while True:
        original = getattr(model, "_orig_mod", None)
        if isinstance(original, nn.Module):
            notes.append(
                "the model is compiled: the original module was observed in eager mode, "
                "compilation stays as it is"
            )
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            original = cast(nn.Module, model.module)
            notes.append(f"{type(model).__name__}: the wrapped module was observed on this process alone")
        else:
            return model, notes
        model = original


class _Observation:
    """One call of :func:`observe`: what stays the same from batch to batch."""

    def __init__(
        self, model: nn.Module, loss: Loss | None, forward: Forward | None, seed: int, notes: list[str]
    ) -> None:
        self.model, self.loss, self.forward, self.seed = model, loss, forward, seed
        self.notes = list(notes)
        self.names = {id(p): name for name, p in model.named_parameters(remove_duplicate=True)}
        self.activations = ActivationReader()
        self.gradients = GradientReader(model)
        self.differentiate_inputs = True

    def run(self, taken: list[Any]) -> Trace:
        sights: list[Sight] = []
        for index, batch in enumerate(taken):
            sights.append(self._see(batch, index))
            self.gradients.read()
        return assemble(self.model, sights, self.activations, self.gradients, self._conditions(taken))

    def _conditions(self, taken: list[Any]) -> dict[str, Any]:
        sizes = [t.shape[0] for t in tensors_in(taken[0]) if t.dim()]
        return {
            "seed": self.seed,
            "batch_size": sizes[0] if sizes else None,
            "inputs_differentiated": self.differentiate_inputs,
            "notes": tuple(self.notes),
        }

    def _see(self, batch: Any, index: int) -> Sight:
        try:
            return self._see_once(batch, index)
        except UnvanishError as error:
            # The user's program may not allow inputs that require grad (x.numpy(), in-place code
            # of its own): what fails with them and works without was our doing.
            if not self.differentiate_inputs or not isinstance(error, ModelFailed | BadInput):
                raise
            self.differentiate_inputs = False
            self.activations = ActivationReader()
            for parameter in self.model.parameters():
                parameter.grad = None
            sight = self._see_once(batch, index)
            cause = str(error.__cause__ or error).splitlines()[0]
            self.notes.append(f"inputs were observed without their own gradient: with it, {cause}")
            return sight

    def _see_once(self, batch: Any, index: int) -> Sight:
        self.activations.start_batch()
        watch, sequences = NodeWatch(), SequenceReader()
        spans = ModuleSpans(self.model, sequences.enter if self.differentiate_inputs else None)
        keeper = ParameterKeeper(self.model.parameters())
        recorder = ForwardRecorder(spans, self.names, keeper, self.activations)
        leaves: dict[int, Tensor] = {}
        try:
            with spans, eager():
                value = self._forward(batch, index, spans, recorder, leaves)
                self._check_reaches(value, recorder, leaves)
                watch.watch([value.grad_fn] if value.grad_fn is not None else [])
                spans.recomputing = True
                self._backward(value, index, spans, watch)
            self.notes += [
                f"the forward pass writes into parameter {self.names.get(id(p), '?')}; "
                "its values were put back"
                for p in keeper.written
            ]
            return Sight.of(watch, spans, recorder.flow, sequences.readings, leaves, self.names, value)
        finally:
            watch.close()
            sequences.close()
            keeper.restore()

    def _forward(
        self,
        batch: Any,
        index: int,
        spans: ModuleSpans,
        recorder: ForwardRecorder,
        leaves: dict[int, Tensor],
    ) -> Tensor:
        prepared = self._prepare(batch, leaves)
        try:
            with recorder:
                value = compute_loss(self.model, prepared, self.loss, self.forward)
        except UnvanishError:
            raise
        except Exception as error:
            where = spans.failed
            raise ModelFailed(_failure("forward", where, recorder.failed, index, error)) from error
        recorder.flow.loss_call = recorder.producer(value)
        return value

    def _prepare(self, batch: Any, leaves: dict[int, Tensor]) -> Any:
        """The batch with fresh float inputs that require grad; targets stay as they are."""
        if not self.differentiate_inputs:
            return batch

        def differentiable(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point() or tensor.requires_grad:
                return tensor
            leaf = tensor.detach().clone().requires_grad_()
            leaves[id(leaf)] = leaf
            return leaf.view_as(leaf).clone()  # not a leaf: in-place code on the input stays legal

        if self.forward is not None:
            return map_tensors(batch, differentiable)
        inputs, targets = split_batch(batch)
        return map_tensors(inputs, differentiable), targets

    def _check_reaches(
        self, value: Tensor, recorder: ForwardRecorder, leaves: dict[int, Tensor]
    ) -> None:
        if value.requires_grad and (not leaves or reaches_other_leaf(value, leaves)):
            return
        if not any(p.requires_grad for p in self.model.parameters()):
            raise BadInput(
                "loss does not require grad: no parameter of the model does. Everything is frozen; "
                "unfreeze what should train with parameter.requires_grad_(True)."
            )
        cut = next((c for c in reversed(recorder.flow.calls) if c.grad_in and not c.grad_out), None)
        where = f": the graph is cut by {cut.function} in {cut.module or 'the model'}" if cut else ""
        raise BadInput(
            f"loss does not require grad{where}. Remove .detach(), .item(), .data, numpy or "
            "torch.no_grad() between the parameters and the loss."
        )

    def _backward(self, value: Tensor, index: int, spans: ModuleSpans, watch: NodeWatch) -> None:
        try:
            with seeing_through_checkpoints(watch):
                value.backward()
        except UnvanishError:
            raise
        except Exception as error:
            raise ModelFailed(_failure("backward", spans.failed, None, index, error)) from error


def reaches_other_leaf(value: Tensor, leaves: dict[int, Tensor]) -> bool:
    """Whether the graph of ``value`` has a leaf that is none of ours."""
    seen, pending = {value.grad_fn}, [value.grad_fn]
    while pending:
        node = pending.pop()
        if node is None:
            return value.is_leaf
        if type(node).__name__ == "CheckpointFunctionBackward":
            return True
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor) and id(leaf) not in leaves:
            return True
        for target, _ in node.next_functions:
            if target is not None and target not in seen:
                seen.add(target)
                pending.append(target)
    return False


@contextlib.contextmanager
def eager() -> Iterator[None]:
    """Run compiled functions as the Python they were compiled from, so that ops can be seen."""
    if "torch._dynamo" not in sys.modules:  # nothing can be compiled, and importing it is slow
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield


def _failure(
    phase: str, where: str | None, function: str | None, index: int, error: Exception
) -> str:
    place = f" in module {where}" if where else ""
    at = f" at {function}" if function else ""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0]
    advice = (
        "check the shapes and types of the batch against the model"
        if phase == "forward"
        else "the same step fails without unvanish: call loss.backward() to see it"
    )
    return f"the {phase} pass of batch {index} raised{place}{at}: {said} ({type(error).__name__}); {advice}."
