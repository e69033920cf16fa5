"""gated-residual: a skip with a closed gate around blocks that keep their shape."""

import itertools
from collections.abc import Iterable, Sequence

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import body
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit
from unvanish.trace import Operation

CARD = RemedyCard(
    name="gated-residual",
    title="skips around blocks that keep their shape, their gates closed",
    what="x + a f(x) with one learned number a that starts at zero: each block begins as the "
    "identity, so that signal and gradient pass all of them unchanged, and opens as far as it "
    "is of use. A further plan takes (1 - t) x + t f(x), t = 0.018 at the start, which cannot "
    "grow. Blocks are the children of a list or sequence with equal shapes at both ends, or a "
    "weighted layer of a Sequential with what follows it up to the next one.",
    harms="At the very first step only the gates learn. Open skips make the net an ensemble of "
    "shallow ones; a block that is broken inside stays broken.",
    reference="Bachlechner et al. 2020, arXiv:2003.04887; He et al. 2016, arXiv:1603.05027; Srivastava "
    "et al. 2015, arXiv:1505.00387",
)
KINDS = ("rezero", "convex")


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """All blocks behind gates of either kind."""
    places = blocks(patient)
    for kind in KINDS if places else ():
        yield tuple(Edit(action="wrap", where=where, options={"kind": kind}) for where in places)


def blocks(patient: Patient) -> tuple[tuple[str, ...], ...]:
    """Stretches that keep their shape, none inside another; of several levels the one with most."""
    model, chart = body(patient), _Shapes(patient)
    levels = [
        stretches
        for name, module in model.named_modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        and (stretches := list(_stretches(name, module, chart)))
    ]
    taken: list[tuple[str, ...]] = []
    inside, around = set[str](), set[str]()
    for level in sorted(levels, key=len, reverse=True):
        paths = {path for stretch in level for path in stretch}
        above = {name for path in paths for name in _with_holders(path)}
        if not (paths & around or above & inside):
            taken += level
            inside |= paths
            around |= above
    return tuple(taken)


def _stretches(
    name: str, holder: nn.Sequential | nn.ModuleList, chart: "_Shapes"
) -> Iterable[tuple[str, ...]]:
    prefix = f"{name}." if name else ""
    children = list(holder.named_children())
    flat = isinstance(holder, nn.Sequential)
    starts = [i for i, (_, child) in enumerate(children) if _weighted(child)]
    for start, following in itertools.pairwise([*starts, len(children)]):
        child, own = children[start], prefix + children[start][0]
        if next(child[1].children(), None) is not None or not flat:
            if chart.bends([own]) and chart.keeps_shape([own]):
                yield (own,)
            continue
        paths = [prefix + key for key, _ in children[start:following]]
        if chart.bends(paths) and chart.keeps_shape(paths):
            yield (paths[0], paths[-1])


def _weighted(module: nn.Module) -> bool:
    return any(p.dim() >= 2 for p in module.parameters())


def _with_holders(path: str) -> list[str]:
    """A dotted name and those of all modules that hold it: ``a.b`` gives ``a`` and ``a.b``."""
    parts = path.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


class _Shapes:
    """What goes into modules and comes out of them, and whether anything bends in between."""

    def __init__(self, patient: Patient) -> None:
        trace = patient.diagnosis.trace
        self.operations = trace.operations
        self.of: dict[str, list[int]] = {}
        for index, operation in enumerate(trace.operations):
            if operation.from_data and operation.inside:
                for path in _with_holders(operation.module):
                    self.of.setdefault(path, []).append(index)
        bent = [a.module for a in trace.activations if not a.feeds_loss]
        self.bent = {path for module in bent for path in _with_holders(module)}

    def keeps_shape(self, paths: Sequence[str]) -> bool:
        """Whether the signal leaves these modules, called once, in the shape it came with."""
        own = [self.operations[i] for i in sorted({i for p in paths for i in self.of.get(p, ())})]
        if not own or len({op.call for op in own if op.module == own[0].module}) != 1:
            return False
        shapes = own[0].input_shapes
        return bool(shapes) and _signal(own[0], self.operations) == own[-1].output_shape

    def bends(self, paths: Sequence[str]) -> bool:
        """Whether an activation runs inside."""
        return not self.bent.isdisjoint(paths)


def _signal(operation: Operation, every: Sequence[Operation]) -> tuple[int, ...]:
    """The shape of the first argument that carries the batch."""
    carried = zip(operation.inputs, operation.input_shapes, strict=False)
    found = [shape for maker, shape in carried if maker is not None and every[maker].from_data]
    return found[0] if found else operation.input_shapes[0]


REMEDY = Remedy(
    card=CARD,
    level="skip",
    keep="shape",
    safety="changes the function",
    treats=(
        "depth-decay",
        "depth-growth",
        "chaotic-signal",
        "collapsed-signal",
        "init-too-small",
    ),
    plan=plan,
)
