"""Tools of others that install from PyPI, run as their own documentation shows.

Each takes a short real run of the program and answers in its own words, which are mapped to causes
like those of the other baselines. A tool that is not installed is left out (torchmortem 0.1.1,
neuraldbg 1.3.2, torchdiag 0.1.0, torch-audit 0.3.0 were run; gradient-flow and dlcheck are not on
PyPI, torchinstruments draws and gives no verdict). A tool that raises has crashed.
"""

import importlib.util
from collections.abc import Callable
from typing import Any

from baselines import STEPS, say
from corpus.scoring import Named
from corpus_check import batches, optimizer_of, step_loss, take_step


def train_with(program: dict[str, Any], after: Callable[[Any], None]) -> None:
    """A plain loop of 40 steps; ``after`` sees each loss between backward and step."""
    every, optimizer = batches(program), optimizer_of(program)
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = step_loss(program, every[step % len(every)])
        loss.backward()
        after(loss)
        optimizer.step()


MORTEM = {
    "Vanishing gradients": "vanishing gradient",
    "Exploding gradients": "exploding gradient",
    "Gradient stalling": "vanishing gradient",
    "Dead units": "dead relu",
    "Activation saturation": "saturation",
    "Update ratio too low": "update too small",
    "Update ratio too high": "update too large",
    "Training divergence": "loss diverges",
    "Loss plateau": "loss does not fall",
    "Weight norm explosion": "weights explode",
    "Rank collapse": "rank collapse",
    "Inter-layer weight norm": "poor initialisation",
    "Stagnant": "update too small",
    "Catapult": "step size",
}


def torchmortem(program: dict[str, Any]) -> list[Named]:
    """Findings of severity warning or critical, the critical first."""
    from torchmortem import Autopsy

    every, optimizer = batches(program), optimizer_of(program)
    with Autopsy(program["model"], optimizer=optimizer) as autopsy:
        for step in range(STEPS):
            loss = take_step(program, optimizer, every[step % len(every)])
            autopsy.step(loss=loss.item())
    report = autopsy.get_report()
    findings = sorted(report.findings, key=lambda f: -int(f.severity)) if report else []
    titles = [f.title for f in findings if int(f.severity) >= 1]
    return say(*_words(titles, MORTEM))


def _words(titles: list[str], table: dict[str, str]) -> list[str]:
    words = []
    for title in titles:
        known = [word for start, word in table.items() if title.startswith(start)]
        words.append(known[0] if known else "something else")
    return words


STATES = {
    "vanishing": "vanishing gradient",
    "exploding": "exploding gradient",
    "saturated": "saturation",
    "dead": "dead relu",
    "anomalous": "exploding gradient",
    "loss_plateau": "loss does not fall",
    "loss_spike": "loss oscillates",
    "diverging": "loss diverges",
    "nan_detected": "not a number",
    "inf_detected": "not a number",
    "distribution_shift": "abnormal data",
}


def neuraldbg(program: dict[str, Any]) -> list[Named]:
    """Its events into a state that is not a healthy one, the most confident first."""
    from neuraldbg import NeuralDbg

    with NeuralDbg(program["model"]) as debugger:
        train_with(program, lambda loss: debugger.record_loss(loss.item()))
    events = sorted(debugger.get_events(), key=lambda e: -e.confidence)
    states = [str(getattr(e.to_state, "value", e.to_state)) for e in events]
    return say(*[STATES[s] for s in states if s in STATES])


def torchdiag(program: dict[str, Any]) -> list[Named]:
    """check_gradients after one backward, check_dead_neurons on the batch."""
    import torchdiag as tool

    batch = batches(program)[0]
    step_loss(program, batch).backward()
    states = {row["status"] for row in tool.check_gradients(program["model"]).values()}
    words = {
        "NO GRAD": "no gradient",
        "no_grad": "no gradient",
        "VANISH": "vanishing gradient",
        "EXPLODE": "exploding gradient",
    }
    said = [words[s] for s in sorted(states) if s in words]
    if program.get("forward") is None:
        dead = tool.check_dead_neurons(program["model"], batch[0])
        said += ["dead relu"] if any(row["dead_pct"] > 20 for row in dead.values()) else []
    return say(*said)


AUDIT = {
    "TA100": "not a number",
    "TA102": "exploding gradient",
    "TA103": "dead relu",
    "TA104": "no gradient",
    "TA105": "dead relu",
    "TA301": "abnormal data",
    "TA302": "abnormal data",
    "TA405": "dead relu",
    "TA500": "no gradient",
}


def torch_audit(program: dict[str, Any]) -> list[Named]:
    """Rules of warning or more that speak of learning (not of speed, layout or style), each step."""
    from torch_audit import Auditor

    every, optimizer = batches(program), optimizer_of(program)
    auditor = Auditor(program["model"], optimizer=optimizer, every_n_steps=1, reporters=[])
    with auditor:
        auditor.audit_static()
        auditor.audit_init()
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = step_loss(program, every[step % len(every)])
            auditor.backward(loss)
            auditor.optimizer_step()
    found = [f for f in auditor.finish().findings if f.severity.value != "INFO"]
    return say(*[AUDIT[f.rule_id] for f in found if f.rule_id in AUDIT])


TOOLS = {
    "torchmortem": torchmortem,
    "neuraldbg": neuraldbg,
    "torchdiag": torchdiag,
    "torch_audit": torch_audit,
}
PEERS = {name: tool for name, tool in TOOLS.items() if importlib.util.find_spec(name)}
