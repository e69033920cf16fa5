"""What watches one forward and one backward pass: made, read and removed together."""

import contextlib
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unvanish.probe.activations import ActivationReader
from unvanish.probe.backward import NodeWatch, Own
from unvanish.probe.forward import ForwardRecorder
from unvanish.probe.inputs import Leaves
from unvanish.probe.sequences import SequenceReader
from unvanish.probe.sight import Sight
from unvanish.probe.spans import EntryHook, ModuleSpans


class Instruments:
    """Hooks and records of one pass, whether it is run to be observed or is the user's own.

    Args:
        model: whose pass it is.
        activations: is shown every activation function of the forward pass.
        keep_leaf: is told about every leaf whose ``.grad`` the backward pass will write.
        keep_module: is told about modules that run and are not the model's.
        before_write: is told before something is written in place.
        on_leaf: is shown every gradient as it arrives at its leaf.
        make_recorder: class of the recorders.
        own: what our own work is done inside of.
        locating: look for the first op that makes NaN or Inf in the backward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        activations: ActivationReader,
        *,
        keep_leaf: Callable[[Tensor], None] | None = None,
        keep_module: Callable[[nn.Module], None] | None = None,
        before_write: Callable[[Tensor], None] | None = None,
        on_leaf: Callable[[Tensor, Tensor], None] | None = None,
        make_recorder: Callable[..., ForwardRecorder] = ForwardRecorder,
        own: Own = contextlib.nullcontext,
        locating: bool = False,
    ) -> None:
        names = {id(p): name for name, p in model.named_parameters()}
        constants = {id(buffer) for buffer in model.buffers()}
        self.leaves = Leaves(names, model)
        self.watch = NodeWatch(self.leaves, keep_leaf, locating, on_leaf, own)
        self.sequences = SequenceReader(self.leaves, own)
        self.spans = ModuleSpans(model, self._enter, keep_module)
        self._steps: EntryHook | None = None
        self.recorder = make_recorder(self.spans, names, constants, before_write, activations)
        self._again = make_recorder(self.spans, names, constants, before_write, None)

    def follow_steps(self, enter: EntryHook | None = None) -> None:
        """Read the gradient over time at recurrent modules too; their inputs then get one."""
        self._steps = enter or self.sequences.enter

    def _enter(
        self, module: nn.Module, arguments: tuple[Any, ...], path: str
    ) -> tuple[Any, ...] | None:
        """Called as a module starts: the outermost is given what comes from outside of the model."""
        if len(self.spans.stack) == 1 and self.spans.stack[0].own:
            self.leaves.pass_in(arguments)
        return self._steps(module, arguments, path) if self._steps is not None else None

    def turn_to_backward(self, roots: list[Any]) -> None:
        """Put hooks on the graph behind these nodes, as the backward pass is about to start."""
        self.leaves.mark_restarted(self.recorder)
        self.watch.again = self._again
        self.watch.watch_loss(roots)
        self.spans.recompute_in(self.watch.thread_of)

    def sight(self, loss: float, gradient_of: Callable[[Tensor], Tensor | None]) -> Sight:
        """What they saw; the graph is let go of. ``gradient_of`` as :meth:`Sight.of` takes it."""
        flows = (self.recorder.flow, self._again.flow)
        readings = self.sequences.readings
        return Sight.of(self.watch, self.spans, flows, readings, self.leaves, loss, gradient_of)

    def close(self) -> None:
        """Remove every hook on graph and tensors, and what leads from them back to here."""
        self.spans.on_entry = None
        self.watch.close()
        self.sequences.close()
