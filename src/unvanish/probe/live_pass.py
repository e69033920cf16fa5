"""One forward and backward pass that is the user's own, from its first call to its trace."""

import bisect
import functools
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from unvanish.batches import tensors_in
from unvanish.probe.activations import ActivationReader
from unvanish.probe.assemble import assemble
from unvanish.probe.collector import collector_paused
from unvanish.probe.gradients import GradientReader
from unvanish.probe.graph import is_reentrant_checkpoint, nodes_behind
from unvanish.probe.instruments import Instruments
from unvanish.probe.live_recorder import LiveRecorder
from unvanish.probe.sight import Sight
from unvanish.probe.spans import number_of
from unvanish.trace import Trace

if TYPE_CHECKING:
    from unvanish.probe.live import LiveLook

_BRANCHING = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerEncoder)
"""They have a fused path, with roundings of its own, that a function mode would keep them from."""


class LivePass:
    """The instruments on one pass of a running training; reads them into a trace.

    Args:
        model: whose pass it is.
        look: owns this; is asked what to do when the model is called again.
        locating: as in :class:`Instruments`.
    """

    def __init__(self, model: nn.Module, look: "LiveLook", locating: bool) -> None:
        self._model, self._look = model, look
        self._thread = threading.get_ident()
        self.error_before = sys.exc_info()[1]
        self._activations = ActivationReader()
        self._gradients = GradientReader(model)
        make = functools.partial(LiveRecorder, look.own)
        self._instruments = Instruments(
            model,
            self._activations,
            on_leaf=self._gradients.arrive,
            make_recorder=make,
            own=look.own,
            locating=locating,
        )
        self._instruments.follow_steps(self._entry)
        self.recorder: LiveRecorder = self._instruments.recorder  # pyright: ignore
        self.spans, self.watch = self._instruments.spans, self._instruments.watch
        self._batch_size: int | None = None
        self._before: dict[int, Tensor | None] = {}
        self._calls = 0
        self._blind: nn.Module | None = None
        self._notes = ["one step of a running training, as it happened: nothing was run again"]
        self._roots: list[Tensor] = []
        self._scale = 1.0
        self._continued = False

    @property
    def here(self) -> bool:
        """Whether this is the thread that the forward pass runs on."""
        return threading.get_ident() == self._thread

    def start(self) -> None:
        """Hooks on modules, and the recorder on the stack."""
        self.spans.__enter__()
        self.recorder.put_on()
        self._activations.start_batch()

    def _entry(self, module: nn.Module, arguments: tuple[Any, ...], path: str) -> Any:
        """Every module call of the forward pass; what it returns replaces the arguments."""
        with self._look.own():
            top, below = self.spans.stack[-1], self.spans.stack[:-1]
            if top.own and not any(span.own for span in below):
                if self._calls and self._is_gone():
                    return self._look.start_again(module, arguments)
                self._calls += 1
                self._takes(tensors_in(arguments))
            if self._blind is None and _takes_another_path(module, arguments):
                self._blind = module
                self.recorder.take_off()
                self._notes.append(
                    f"not seen: what happens inside of {path} (frozen, in eval mode)"
                )
            if _may_have_an_input_gradient(module):
                return self._instruments.sequences.enter(module, arguments, path)
        return None

    def _is_gone(self) -> bool:
        """Whether what was recorded can lead to no backward pass any more: a validation."""
        return self.recorder.forward_is_gone()

    def left(self, module: nn.Module, arguments: Any) -> None:
        """A module call is over; ``arguments`` are those that it was given by keyword."""
        if module is self._blind:
            self._blind = None
            self.recorder.put_on()
        if not self.spans.inside_model:
            self._takes(tensors_in(arguments))

    def _takes(self, tensors: list[Tensor]) -> None:
        self.recorder.came_with(tensors)
        for tensor in tensors:
            self._instruments.leaves.came_with(tensor)
            if self._batch_size is None and tensor.dim():
                self._batch_size = tensor.shape[0]
            if tensor.is_leaf and tensor.requires_grad and not isinstance(tensor, nn.Parameter):
                self._instruments.leaves.add_input(tensor, given=True)

    def reaches(self, roots: list[Tensor]) -> bool:
        """Whether the gradient of these tensors passes an op that the model made."""
        starts: list[int] = []
        ends: list[int] = []
        for span in self.spans.spans:
            if span.own and span.thread == self._thread and (not ends or span.start >= ends[-1]):
                starts.append(span.start)
                ends.append(span.end)
        for root in roots:
            for node in nodes_behind(root):
                number = number_of(node)
                place = bisect.bisect_right(starts, number) - 1
                if place >= 0 and number < ends[place]:
                    return True
        return False

    def turn_to_backward(
        self, roots: list[Tensor], scale: float | None, continued: bool = False
    ) -> None:
        """Hooks on the graph behind these tensors, below a loss scaler's product."""
        self._roots, self._scale = roots, scale or 1.0
        if continued:
            self._continued = True
            self._notes.append("no loss: the gradient came from elsewhere (the next stage)")
        nodes = [root.grad_fn for root in roots if root.grad_fn is not None]
        call = self.recorder.producer(roots[0])
        if scale is not None:
            self._notes.append(f"gradients are given without the loss scale of {scale:.6g}")
            if (
                len(nodes) == 1
                and nodes[0].name() == "MulBackward0"
                and nodes[0].next_functions[0][0]
            ):
                nodes = [nodes[0].next_functions[0][0]]
                makers = self.recorder.flow.calls[call].makers if call is not None else ()
                call = makers[0] if makers else None
        self.recorder.flow.loss_call = call
        self._instruments.turn_to_backward(nodes)
        kept = list(self._instruments.leaves.inputs)
        if any(is_reentrant_checkpoint(node.handle) for node in self.watch.graph.nodes):
            kept += self._model.parameters()  # such a parameter may get its gradient in parts
        with torch.no_grad():
            self._before = {id(t): None if t.grad is None else t.grad.clone() for t in kept}

    def _gradient_of(self, leaf: Tensor) -> Tensor | None:
        """What this pass added to the gradient of a leaf that got it in parts, or of an input."""
        if id(leaf) not in self._before or leaf.grad is None:
            return None
        before = self._before[id(leaf)]
        whole = leaf.grad.detach() if before is None else leaf.grad.detach() - before
        self._gradients.arrive_whole(leaf, whole)
        return whole

    def read(self) -> Trace:
        """What was seen, in plain numbers; the graph is let go of."""
        with torch.no_grad(), collector_paused():
            self._activations.differentiate()
            loss = sum(float(root.detach().sum()) for root in self._roots) / self._scale
            sight = self._instruments.sight(loss, self._gradient_of)
            sight.unscale(self._scale)
            known = {
                name: sight.arrived[index][0]
                for index, name in sight.parameter_of.items()
                if 0 in sight.arrived.get(index, {})
            }
            self._gradients.settle(known, self._scale)
            trace = assemble(
                self._model, [sight], self._activations, self._gradients, self._conditions(sight)
            )
        if not self._continued:
            return trace
        return replace(trace, conditions=replace(trace.conditions, loss=None, losses=()))

    def _conditions(self, sight: Sight) -> dict[str, Any]:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            self._notes.append("gradients are those of this process alone")
        self._notes += [f"NaN or Inf came in with {name}" for name in sight.flow.bad_leaves]
        return {
            "seed": None,
            "batch_size": self._batch_size,
            "inputs_differentiated": False,
            "notes": tuple(dict.fromkeys(self._notes)),
        }

    def close(self) -> bool:
        """Remove everything and let go of every tensor; ``False`` where the recorder is in use."""
        self.recorder.off = True
        self.spans.__exit__(None, None, None)
        self.spans.on_entry = None
        self._instruments.close()
        self._instruments.leaves.release()
        self.watch.graph.release()
        self._activations.start_batch()
        self._roots.clear()
        self._before.clear()
        self.error_before = None
        return self.recorder.take_off()


def _takes_another_path(module: nn.Module, arguments: tuple[Any, ...]) -> bool:
    """Whether this call may take a fused path: torch does where nothing asks for a gradient."""
    if not isinstance(module, _BRANCHING) or module.training:
        return False
    tensors = [*module.parameters(), *tensors_in(arguments)]
    return not any(tensor.requires_grad for tensor in tensors)


def _may_have_an_input_gradient(module: nn.Module) -> bool:
    """Whether dL/dx over time can be had without the program noticing.

    An input that needs no gradient is passed on by another name that does. That is seen where the
    input is written to (torch's own classes do not, hooks and subclasses may), and where nothing of
    the module trains: its output would require grad for our sake.
    """
    own = type(module) in (nn.RNN, nn.LSTM, nn.GRU) and not module._forward_pre_hooks
    return own and any(p.requires_grad for p in module.parameters())
