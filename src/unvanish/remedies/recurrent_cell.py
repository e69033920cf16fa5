"""recurrent-cell: a gated cell in the place of a plain one."""

from collections.abc import Iterable

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import module_at, owners
from unvanish.remedies.drafts import initialise, replaced
from unvanish.remedies.recurrent import horizon
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Part
from unvanish.surgery.replacing import recurrent_part

CARD = RemedyCard(
    name="recurrent-cell",
    title="a gated recurrent cell (GRU, LSTM) or one that is orthogonal by construction",
    what="A gate lets a unit carry its value from step to step unchanged, so that the gradient has "
    "a way past all products with the recurrent matrix. A GRU has the interface of nn.RNN and "
    "comes first, its gates open as long as the sequence; then an LSTM that hands back one "
    "state, as an RNN does; then unvanish.nn.RegulatedRNN, whose gain over time is one at "
    "every step of training.",
    harms="Three or four times the recurrent parameters and time, and weights that were learned are "
    "gone. The regulated net cannot forget.",
    reference="Hochreiter and Schmidhuber 1997; Cho et al. 2014, arXiv:1406.1078; Tallec and Ollivier "
    "2018, arXiv:1804.11188; Lezcano and Martinez-Rubio 2019, arXiv:1901.08428",
)


def plan(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """GRU with open gates, LSTM with open gates, the regulated RNN."""
    for path in owners(patient, finding.where):
        module = module_at(patient, path)
        if isinstance(module, nn.RNN | nn.RNNCell):
            yield (replaced(path, recurrent_part(module, "GRU")), initialise(only=(path,)))
        if isinstance(module, nn.RNN):
            lstm = recurrent_part(module, "LSTM")
            yield (replaced(path, lstm), initialise(only=(path,)))
            if not module.bidirectional and not module.dropout:
                steps = max(horizon(patient, path) or 3, 3)
                yield (replaced(path, _regulated(lstm, steps)),)


def _regulated(like: Part, steps: int) -> Part:
    """The orthogonal net with the sizes of another one."""
    sizes = {k: v for k, v in like.arguments.items() if k not in ("bidirectional", "dropout")}
    return Part(type="unvanish.nn.RegulatedRNN", arguments={**sizes, "horizon": steps})


REMEDY = Remedy(
    card=CARD,
    level="cell",
    keep="anything",
    safety="changes the function",
    treats=("time-decay", "time-growth"),
    plan=plan,
)
