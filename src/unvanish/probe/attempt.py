"""One attempt at all batches: forward, backward, and what was read of both."""

from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor, nn

from unvanish.batches import Forward, Loss, compute_loss, map_tensors, split_batch, tensors_in
from unvanish.errors import BadInput, ModelFailed, NothingTrains, UnvanishError
from unvanish.preserve import Guard, ParameterKeeper, preserved
from unvanish.probe.activations import ActivationReader
from unvanish.probe.assemble import assemble
from unvanish.probe.checkpoints import seeing_through_checkpoints
from unvanish.probe.collector import collector_paused
from unvanish.probe.compiled import eager
from unvanish.probe.flow import Flow
from unvanish.probe.gradients import GradientReader
from unvanish.probe.graph import is_reentrant_checkpoint, nodes_behind
from unvanish.probe.inputs import Leaves
from unvanish.probe.instruments import Instruments
from unvanish.probe.sight import Sight
from unvanish.trace import Trace


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of one call of :func:`observe`."""

    model: nn.Module
    loss: Loss | None
    forward: Forward | None
    seed: int
    notes: tuple[str, ...]

    def run(self, taken: list[Any], differentiate_inputs: bool) -> Trace:
        with preserved(self.model, self.seed) as guard, collector_paused():
            return _Observation(self, guard, differentiate_inputs).run(taken)


class _Observation:
    """One attempt at all batches: what stays the same from batch to batch."""

    def __init__(self, call: Call, guard: Guard, differentiate_inputs: bool) -> None:
        self.call, self.guard = call, guard
        self.model = call.model
        self.notes = list(call.notes)
        self.names = {id(p): name for name, p in self.model.named_parameters()}
        self.activations = ActivationReader()
        self.gradients = GradientReader(self.model)
        self.differentiate_inputs = differentiate_inputs
        self.written: set[str] = set()

    def run(self, taken: list[Any]) -> Trace:
        sights: list[Sight] = []
        for index, batch in enumerate(taken):
            sight = self._see(batch, index)
            self.gradients.read(sight.parameter_arrivals())
            if not any(s.first_bad for s in sights) and self.gradients.any_nonfinite():
                sight.first_bad = self._locate(batch, index)
            sights.append(sight)
        trace = assemble(
            self.model, sights, self.activations, self.gradients, self._conditions(taken)
        )
        marked = (replace(p, written=p.name in self.written) for p in trace.parameters)
        return replace(trace, parameters=tuple(marked)) if self.written else trace

    def _locate(self, batch: Any, index: int) -> list[tuple[int, tuple[float, float] | None, int]]:
        """Look again at the batch, under the same seed, for the op that made NaN or Inf."""
        with preserved(self.model, self.call.seed) as guard:
            again = _Observation(self.call, guard, self.differentiate_inputs)
            return again._see(batch, index, locating=True).first_bad

    def _conditions(self, taken: list[Any]) -> dict[str, Any]:
        sizes = [t.shape[0] for t in tensors_in(taken[0]) if t.dim()]
        return {
            "seed": self.call.seed,
            "batch_size": sizes[0] if sizes else None,
            "inputs_differentiated": self.differentiate_inputs,
            "notes": tuple(dict.fromkeys(self.notes)),
        }

    def _see(self, batch: Any, index: int, locating: bool = False) -> Sight:
        self.activations.start_batch()
        keeper = ParameterKeeper(self.model.parameters())
        instruments = Instruments(
            self.model,
            self.activations,
            keep_leaf=self.guard.keep_leaf,
            keep_module=self.guard.keep_module,
            before_write=keeper.before_write,
            locating=locating,
        )
        if self.differentiate_inputs:
            instruments.follow_steps()
        try:
            with instruments.spans, eager():
                value = self._forward(batch, index, instruments)
                self.activations.differentiate()
                self._check_reaches(value, instruments)
                self._backward(value, index, instruments)
            self._note_written(keeper.written)
            return instruments.sight(float(value.detach()), lambda leaf: leaf.grad)
        finally:
            instruments.close()
            keeper.restore()

    def _note_written(self, written: list[Tensor]) -> None:
        """Remember which parameters the forward pass changed; of those that train, say it."""
        for parameter in written:
            name = self.names.get(id(parameter), "?")
            self.written.add(name)
            if parameter.requires_grad:
                said = f"the forward pass writes into parameter {name}; its values were put back"
                self.notes.append(said)

    def _forward(self, batch: Any, index: int, instruments: Instruments) -> Tensor:
        recorder = instruments.recorder
        prepared = self._prepare(batch, instruments.leaves)
        recorder.came_with(tensors_in(prepared))
        step = _Step(self.call)
        try:
            with recorder:
                value = compute_loss(self.model, prepared, step.loss, self.call.forward)
        except UnvanishError:
            raise
        except Exception as error:
            phase = "loss function" if step.in_loss else "forward pass"
            raise ModelFailed(
                _failure(phase, instruments.spans.failed, recorder.failed, index, error)
            ) from error
        recorder.flow.loss_call = recorder.producer(value)
        self.guard.silence()  # a training step may put some on before its backward call
        return value

    def _prepare(self, batch: Any, leaves: Leaves) -> Any:
        """A copy of the batch whose float inputs require grad; targets stay as they are."""

        def own(tensor: Tensor) -> Tensor:
            given = tensor.requires_grad
            if not given and not (self.differentiate_inputs and tensor.is_floating_point()):
                return tensor.clone()  # in-place code of the model must not write into user data
            leaf = tensor.detach().clone().requires_grad_()
            leaves.add_input(leaf, given)
            return leaf.clone()  # not a leaf: in-place code on the input stays legal

        if self.call.forward is not None:
            return map_tensors(batch, own)
        inputs, targets = split_batch(batch)
        return map_tensors(inputs, own), targets

    def _check_reaches(self, value: Tensor, instruments: Instruments) -> None:
        recorder = instruments.recorder
        if value.requires_grad and reaches_user_leaf(value, instruments.leaves):
            return
        if not any(p.requires_grad for p in self.model.parameters()):
            raise NothingTrains(
                "loss does not require grad: no parameter of the model does. Everything is frozen; "
                "unfreeze what should train with parameter.requires_grad_(True)."
            )
        if not any(call.leaves for call in recorder.flow.calls):
            raise BadInput(
                "loss does not require grad: the forward pass used no parameter of the model. "
                "Check that forward calls the layers that were made in __init__."
            )
        if unused := self._unused(recorder.flow):
            raise BadInput(
                "loss does not require grad: all parameters that it is computed of are frozen, and "
                f"those that train are not used for it ({', '.join(unused)}). Unfreeze what is used "
                "with parameter.requires_grad_(True), or let forward call what is to train."
            )
        cut = next((c for c in reversed(recorder.flow.calls) if c.grad_in and not c.grad_out), None)
        where = (
            f": the graph is cut by {cut.function} in {cut.module or 'the model'}" if cut else ""
        )
        raise BadInput(
            f"loss does not require grad{where}. Remove .detach(), .item(), .data, numpy or "
            "torch.no_grad() between the parameters and the loss."
        )

    def _unused(self, flow: Flow) -> list[str]:
        """Modules that train, if nothing of theirs flows into the loss: then no graph was cut.

        What was handed out of torch may come back. Where something in the loss came from nowhere,
        whatever was called at all may be behind it.
        """
        ends = [] if flow.loss_call is None else [flow.loss_call]
        behind = flow.ancestors([*ends, *(one.source for one in flow.exits)])
        if not ends or any(flow.calls[i].foreign for i in behind):
            behind = set(range(len(flow.calls)))
        used = {leaf for i in behind for leaf in flow.calls[i].leaves} | {*flow.read_out}
        train = [name for name, p in self.model.named_parameters() if p.requires_grad]
        places = dict.fromkeys(name.rpartition(".")[0] or name for name in train)
        return list(places) if used.isdisjoint(train) else []

    def _backward(self, value: Tensor, index: int, instruments: Instruments) -> None:
        instruments.turn_to_backward([value.grad_fn] if value.grad_fn is not None else [])
        try:
            with seeing_through_checkpoints(instruments.watch):
                value.backward()
        except UnvanishError:
            raise
        except Exception as error:
            raise ModelFailed(
                _failure("backward pass", instruments.spans.failed, None, index, error)
            ) from error


class _Step:
    """The user's loss function, and whether it is what runs now."""

    def __init__(self, call: Call) -> None:
        self._loss = call.loss
        self.in_loss = False

    def loss(self, outputs: Any, targets: Any) -> Any:
        self.in_loss = True
        return cast(Loss, self._loss)(outputs, targets)


def reaches_user_leaf(value: Tensor, leaves: Leaves) -> bool:
    """Whether the loss would require grad in the user's own run: some leaf is not only ours."""
    if value.grad_fn is None:
        return value.is_leaf
    for node in nodes_behind(value):
        if is_reentrant_checkpoint(node):  # its parameters show only once it is recomputed
            return True
        leaf = getattr(node, "variable", None)
        if isinstance(leaf, Tensor) and not leaves.only_ours(leaf):
            return True
    return False


_ADVICE = {
    "forward pass": "check the shapes and types of data against the model",
    "loss function": "check what loss(outputs, targets) gets: shapes and types of outputs and targets",
    "backward pass": "the same step fails without unvanish: call loss.backward() to see it",
}


def _failure(
    phase: str, where: str | None, function: str | None, index: int, error: Exception
) -> str:
    place = f" in module {where}" if where else ""
    at = f" at {function}" if function else ""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return (
        f"the {phase} of batch {index} raised{place}{at}: {said} "
        f"({type(error).__name__}); {_ADVICE[phase]}."
    )
