"""The forward operations as a graph: what the causes that are decided from structure walk on."""

from collections.abc import Iterable

from unvanish.probe.flow import MULTIPLYING, NORMALIZING, WEIGHTED
from unvanish.trace import Operation, Trace

VIEWS = frozenset(
    "view reshape view_as reshape_as flatten unflatten ravel squeeze unsqueeze transpose permute t "
    "T mT swapaxes swapdims movedim contiguous clone to float double half bfloat16 type type_as "
    "expand expand_as getitem select narrow alias requires_grad_ identity detach_".split()
)
"""Functions that hand the same values on in another shape, order or dtype."""
DROPOUTS = frozenset(
    "dropout alpha_dropout feature_dropout dropout1d dropout2d dropout3d "
    "feature_alpha_dropout".split()
)
SUMS = frozenset("add iadd radd sub isub rsub subtract".split())
SCALINGS = MULTIPLYING | frozenset("imul rmul div idiv itruediv truediv true_divide".split())


class Dataflow:
    """The operations of one trace with who reads what.

    ``to_loss`` are the operations whose value flows into the loss, ``near_loss`` those of them
    from which the loss is reached past no weight, no norm and no product with another signal.
    ``trained`` are those that pass gradient on to a trainable parameter.
    """

    def __init__(self, trace: Trace) -> None:
        self.operations = trace.operations
        self.batch_size = trace.conditions.batch_size
        self.loss = trace.conditions.loss
        self.states = {name: p.state for p in trace.parameters for name in p.names}
        self.dimensions = {n: len(p.shape) for p in trace.parameters for n in p.names}
        self._blank = {n for p in trace.parameters if p.weight_norm == 0 for n in p.names}
        self.consumers: dict[int, list[int]] = {}
        for index, operation in enumerate(self.operations):
            for maker in dict.fromkeys(operation.inputs):
                if maker is not None:
                    self.consumers.setdefault(maker, []).append(index)
        self.trained = self._trained()
        start = [] if trace.loss_operation is None else [trace.loss_operation]
        self.to_loss = self.ancestors(start)
        self.near_loss = self._near(start)

    def __getitem__(self, index: int) -> Operation:
        return self.operations[index]

    def ancestors(
        self, start: Iterable[int], lowest: int = 0, around: int | None = None
    ) -> set[int]:
        """These operations and all whose value flowed into them, down to index ``lowest``.

        Those alone that one comes to without passing ``around``, where that is given.
        """
        seen = set(start) - {around}
        pending = list(seen)
        while pending:
            for maker in self.operations[pending.pop()].inputs:
                if maker is None or maker == around or maker < lowest:
                    continue
                if maker not in seen:
                    seen.add(maker)
                    pending.append(maker)
        return seen

    def descendants(self, start: Iterable[int]) -> set[int]:
        """These operations and all that their value flows into."""
        seen = set(start)
        pending = list(seen)
        while pending:
            for reader in self.consumers.get(pending.pop(), ()):
                if reader not in seen:
                    seen.add(reader)
                    pending.append(reader)
        return seen

    def before(self, index: int | None, through: frozenset[str] = VIEWS) -> int | None:
        """The nearest operation at or before ``index`` that is none of ``through``."""
        while index is not None and self.operations[index].function in through:
            inputs = self.operations[index].inputs
            index = inputs[0] if inputs else None
        return index

    def argument(self, index: int, number: int = 0, through: frozenset[str] = VIEWS) -> int | None:
        """What made an argument of an operation, looked for behind ``through``."""
        inputs = self.operations[index].inputs
        return self.before(inputs[number], through) if number < len(inputs) else None

    def feeder(self, index: int) -> str | None:
        """Module of the nearest weighted operation before this one along its first argument."""
        current: int | None = index
        while current is not None:
            inputs = self.operations[current].inputs
            current = next((maker for maker in inputs if maker is not None), None)
            if current is not None and self.operations[current].function in WEIGHTED:
                return self.operations[current].module
        return None

    def signals(self, index: int) -> list[int]:
        """Makers of the arguments of an operation that carry the batch."""
        makers = self.operations[index].inputs
        return [m for m in makers if m is not None and self.operations[m].from_data]

    def multiplies_signals(self, index: int) -> bool:
        """Whether two signals that both come from what trains are multiplied here: a gate."""
        if self.operations[index].function not in SCALINGS:
            return False
        makers = self.operations[index].inputs
        return sum(m in self.trained for m in makers) > 1

    def leaves(self, index: int) -> set[str]:
        """Names of all parameters whose value is in the output of this operation."""
        return {name for i in self.ancestors([index]) for name in self.operations[i].parameters}

    def is_zero(self, index: int) -> bool:
        """Whether every value of this operation's output is exactly zero."""
        operation = self.operations[index]
        if operation.output_rms is not None or operation.function not in VIEWS:
            return operation.output_rms == 0
        maker = operation.inputs[0] if operation.inputs else None  # a view of a parameter
        return (
            self._blank.issuperset(operation.parameters) if maker is None else self.is_zero(maker)
        )

    def trainable(self, names: Iterable[str]) -> bool:
        """Whether one of these parameters trains."""
        return any(self.states.get(name, "frozen") != "frozen" for name in names)

    def _trained(self) -> set[int]:
        found: set[int] = set()
        for index, operation in enumerate(self.operations):
            fed = self.trainable(operation.parameters) or any(m in found for m in operation.inputs)
            if operation.requires_grad and fed:
                found.add(index)
        return found

    def _near(self, start: Iterable[int]) -> set[int]:
        seen = set(start)
        pending = list(seen)
        while pending:
            index = pending.pop()
            stops = self.operations[index].function in WEIGHTED | NORMALIZING
            if stops or self.multiplies_signals(index):
                continue
            for maker in self.operations[index].inputs:
                if maker is not None and maker not in seen:
                    seen.add(maker)
                    pending.append(maker)
        return {i for i in seen if self.operations[i].function not in WEIGHTED | NORMALIZING}
