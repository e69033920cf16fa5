"""recurrent-initialization and gate-bias: values of recurrent modules that carry over all steps."""

from collections.abc import Iterable

from torch import nn

from unvanish.causes.cause import Finding
from unvanish.remedies.chart import module_at, owners
from unvanish.remedies.drafts import initialise
from unvanish.remedies.remedy import Patient, Plan, Remedy, RemedyCard
from unvanish.surgery.edits import Edit

INITIALIZATION = RemedyCard(
    name="recurrent-initialization",
    title="recurrent weights that keep the length of the state",
    what="Over T steps the gradient goes through T equal matrices, so that only singular values of "
    "one keep it. unvanish.init.critical_ writes orthogonal recurrent weights (the identity "
    "behind ReLU), inputs small enough for T steps in the linear part of tanh, and gates that "
    "are open as long as the sequence; nothing outside the recurrent module changes.",
    harms="A state that never forgets mixes all inputs alike: where only the near past matters it "
    "learns more slowly.",
    reference="Le, Jaitly, Hinton 2015, arXiv:1504.00941; Henaff, Szlam, LeCun 2016, arXiv:1602.06662; "
    "Chen, Pennington, Schoenholz 2018, arXiv:1806.05394",
)
GATE_BIAS = RemedyCard(
    name="gate-bias",
    title="forget gates that start open",
    what="Along its cells an LSTM passes on the product of its forget gates: 0.5^T at a bias of "
    "zero, 0.73^T at one. Chrono biases log U(1, T - 1), and minus that for the input gate, "
    "spread the memory of the units over the whole sequence of T steps; the simpler rule is a "
    "bias of one. Of a GRU the update gate is meant.",
    harms="Where only the last steps matter, open gates keep noise and learning is slower.",
    reference="Gers, Schmidhuber, Cummins 2000; Jozefowicz, Zaremba, Sutskever 2015; Tallec and "
    "Ollivier 2018, arXiv:1804.11188",
)


GATED = (nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell)


def horizon(patient: Patient, module: str) -> int | None:
    """Over how many time steps the gradient of this module was seen, or ``None``."""
    profiles = patient.diagnosis.trace.profiles
    return next((len(p.norms) for p in profiles if p.axis == "time" and p.module == module), None)


def initial_values(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """The recurrent modules of the finding alone; all that may change."""
    places = tuple(path for path in owners(patient, finding.where) if path)
    if places:
        yield (initialise(only=places),)
    yield (initialise(),)


def gate_biases(patient: Patient, finding: Finding) -> Iterable[Plan]:
    """Chrono biases over the measured number of steps, then forget gates at one."""
    for path in owners(patient, finding.where):
        module, steps = module_at(patient, path), horizon(patient, path)
        if not isinstance(module, GATED) or not module.bias:
            continue
        if steps is not None and steps > 2:
            yield (Edit(action="fill", where=(path,), options={"gate": "chrono", "steps": steps}),)
        yield (Edit(action="fill", where=(path,), options={"gate": "forget", "value": 1.0}),)


RECURRENT_INITIALIZATION = Remedy(
    card=INITIALIZATION,
    level="values",
    keep="function",
    safety="changes the function",
    treats=("time-decay", "time-growth"),
    plan=initial_values,
)
OPEN_GATES = Remedy(
    card=GATE_BIAS,
    level="values",
    keep="function",
    safety="changes the function",
    treats=("time-decay",),
    plan=gate_biases,
)
