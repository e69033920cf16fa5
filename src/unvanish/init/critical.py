"""critical_: one call that gives any model initial values from which it can be trained."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.batches import Forward, Loss, check_arguments, check_batch, take_batches
from unvanish.errors import BadInput
from unvanish.init import attention, branches, closed, normalisation, recurrence
from unvanish.init.calibration import calibrate
from unvanish.init.graph import Graph
from unvanish.init.measure import Meter
from unvanish.init.parts import find_parts, left_alone, permission
from unvanish.init.report import InitReport
from unvanish.init.residual import find_branches
from unvanish.init.situation import Situation
from unvanish.init.stretches import Stretches, folded, unbent
from unvanish.probe.compiled import unwrapped
from unvanish.randomness import seeded
from unvanish.trace import Trace

Method = Callable[[Situation], None]


def critical_(
    model: nn.Module,
    data: Any,
    loss: Loss | None = None,
    forward: Forward | None = None,
    *,
    train_recurrent_over: int | None = None,
    fold: bool = False,
    only: Iterable[str] | str | None = None,
    leave: Iterable[str] | str = (),
    seed: int = 0,
) -> InitReport:
    """Give a model initial values that keep signal, gradient and angles through all its depth.

    Looks at the model once, decides for each stretch of layers, writes, calibrates in one forward
    pass and looks again. Only values change: no module, no type, no name. Frozen, tied and
    embedding weights stay, those that do not look like a random draw (they were trained), and
    zeros that the signal can go around: gates that their own gradient opens.

    Plain stretches of more than eight activations become isometries, every activation unbent by
    mirroring (ReLU and its kin, GELU, SiLU, softplus, hardswish: exactly linear at the start) or
    by a small scale (tanh, sigmoid, ELU: nearly). Kernels have one tap each, some of them beside the
    middle where a linear layer reads the map in the end. The step size must then fall with depth: Adam
    0.03 / depth, SGD with momentum 0.1 / depth. Residual branches are divided by the root of their
    number, or scaled as DeepNorm does; recurrent weights are orthogonal and gates open as long as
    the sequence. `docs/init.md` says for each when it harms.

    Args:
        model: changed in place.
        data: one batch as a tuple ``(inputs, targets)``, or an iterable of batches (one is used).
        loss: ``loss(outputs, targets) -> scalar tensor``.
        forward: ``forward(model, batch) -> scalar tensor``, instead of ``loss``.
        train_recurrent_over: over how many steps recurrent modules must remember, where that is
            not the length of the sequences in ``data``.
        fold: deep kernel shaping folded into the weights instead of mirroring where it has a
            solution. Keeps all features different at the start, but diverges under SGD.
        only: module or parameter names (a name holds for all that is inside): change these alone,
            trained or not.
        leave: names to leave alone.
        seed: of the draw; the random state outside stays as it is.

    Returns:
        What was changed and what was not, the gate before and after, and the cost.

    Raises:
        BadInput: an argument cannot be used, or nothing is left to change.
        ModelFailed: the model raised; every parameter is as it was.

    >>> import torch, unvanish
    >>> layers = [m for _ in range(40) for m in (torch.nn.Linear(32, 32), torch.nn.ReLU())]
    >>> net = torch.nn.Sequential(*layers, torch.nn.Linear(32, 4))
    >>> batch = torch.randn(64, 32), torch.randint(4, (64,))
    >>> report = unvanish.init.critical_(net, batch, torch.nn.CrossEntropyLoss())
    >>> report.before.faults != (), report.after.faults
    (True, ())
    """
    if train_recurrent_over is not None and train_recurrent_over < 1:
        raise BadInput(
            f"train_recurrent_over is {train_recurrent_over}: pass the number of time steps."
        )
    call = Call(model, data, loss, forward, only, leave, seed)
    return call.run("critical_", _methods(fold), calibrated=True, steps=train_recurrent_over)


def fresh_critical_(
    model: nn.Module, batch: tuple[Any, Any], loss: Loss | None = None, *, seed: int = 0
) -> None:
    """The values of :func:`critical_` for a model that was drawn just now, in half of the time.

    Nothing is asked that a report would say: whether values were trained, and how the model stands
    before and after.
    """
    call = Call(model, batch, loss, None, "", (), seed)
    call.write(call.meter.observe(), _methods(fold=False), calibrated=True)


def _methods(fold: bool) -> tuple[Method, ...]:
    return (
        closed.apply,
        branches.apply,
        normalisation.apply,
        recurrence.apply,
        attention.apply,
        Stretches(choice=folded if fold else unbent).apply,
    )


class Call:
    """One call of an initialisation: checks, looks, writes, looks again; or puts everything back."""

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Loss | None,
        forward: Forward | None,
        only: Iterable[str] | str | None,
        leave: Iterable[str] | str,
        seed: int,
    ) -> None:
        check_arguments(model, loss, forward, seed, 1)
        self.model, self.notes = unwrapped(model)
        if next(self.model.parameters(), None) is None:
            raise BadInput("the model has no parameters: there is no value to write.")
        self.only = None if only is None else _names(self.model, only, "only")
        self.leave = _names(self.model, leave, "leave")
        with seeded(seed):
            self.batch = take_batches(data, 1)[0]
        check_batch(self.model, self.batch, 0)
        self.seed = seed
        self.meter = Meter(self.model, self.batch, loss, forward, seed)

    def run(
        self,
        name: str,
        methods: Sequence[Method],
        calibrated: bool,
        steps: int | None = None,
    ) -> InitReport:
        """Apply the methods in order, and look before and after; all or nothing."""
        first = self.meter.observe()
        before = self.meter.readings(first)
        kept = _values(self.model)
        situation = self.write(first, methods, calibrated, steps)
        try:
            after = self.meter.readings(self.meter.observe())
        except BaseException:
            _put_back(kept)
            raise
        closed = situation.closed_head
        changed = {parameter for c in situation.changes for parameter in c.parameters}
        left = left_alone(self.model, situation.permitted, changed, situation.notes)
        return InitReport(
            method=name,
            changes=_in_order(self.model, situation),
            left=tuple(left),
            before=replace(before, closed=closed),
            after=replace(after, closed=closed),
            passes=self.meter.passes,
            seed=self.seed,
            notes=tuple(self.notes),
        )

    def write(
        self, first: Trace, methods: Sequence[Method], calibrated: bool, steps: int | None = None
    ) -> Situation:
        """Apply the methods in order to a model that was observed; all or nothing."""
        kept = _values(self.model)
        try:
            situation = self._situation(first, steps)
            for method in methods:
                method(situation)
            if not situation.changes:
                raise BadInput(_nothing(situation))
            if calibrated:
                calibrate(situation, self.meter.run)
        except BaseException:
            _put_back(kept)
            raise
        return situation

    def _situation(self, trace: Trace, steps: int | None) -> Situation:
        graph = Graph(self.model, trace)
        return Situation(
            model=self.model,
            trace=trace,
            graph=graph,
            parts=find_parts(self.model, trace),
            permitted=permission(self.model, self.only, self.leave),
            branches=find_branches(graph),
            generator=torch.Generator().manual_seed(self.seed),
            steps=steps,
            inputs=self.meter.inputs(),
        )


def _names(model: nn.Module, given: Iterable[str] | str, argument: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else tuple(given)
    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    known |= {name for name, _ in model.named_parameters(remove_duplicate=False)}
    for name in names:
        if name not in known:
            raise BadInput(
                f"{argument} names {name!r}, which is no module or parameter of the model: pass "
                "names as model.named_modules() gives them."
            )
    return names


def _values(model: nn.Module) -> list[tuple[Tensor, Tensor]]:
    tensors = [*model.parameters(), *model.buffers()]
    return [(tensor, tensor.detach().clone()) for tensor in tensors]


@torch.no_grad()
def _put_back(kept: list[tuple[Tensor, Tensor]]) -> None:
    for tensor, values in kept:
        tensor.copy_(values)


def _in_order(model: nn.Module, situation: Situation) -> Any:
    places = {name: place for place, (name, _) in enumerate(model.named_modules())}
    return tuple(sorted(situation.changes, key=lambda c: places.get(c.module, len(places))))


def _nothing(situation: Situation) -> str:
    reasons = dict.fromkeys(situation.permitted.refused.values())
    why = f" ({'; '.join(list(reasons)[:3])})" if reasons else ""
    return (
        f"no weight of the model may be changed{why}: unfreeze what should change, or name it in "
        "only=."
    )
