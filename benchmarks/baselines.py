"""What other tools and no tool at all would say about the same programs.

SageMaker Debugger's rules, AUTOTRAINER, DeepDiagnosis and TheDeepChecker are re-implemented from
their published conditions, with the published numbers, over a real run of the program of 40 steps
(an epoch is one step: the corpus fits into a batch). Their words are symptoms; each is counted as
every cause it may stand for, and its place is not asked. SageMaker's default save interval of 500
steps would see one step: its tensor rules look at the first and the last. torchmortem, NeuralDBG,
torchdiag and torch-audit are the packages themselves, where they are installed.
"""

import math
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from corpus.scoring import Named
from recording import Recording, record_run

STEPS = 40

SYMPTOMS = {
    "vanishing gradient": "depth-decay init-too-small time-decay saturated-activation "
    "symmetric-init stuck-saddle single-unit-softmax half-precision-underflow unfit-loss "
    "collapsed-signal dead-units post-norm-depth epsilon-dominated frozen-by-checkpoint detached",
    "exploding gradient": "depth-growth init-too-large time-growth chaotic-signal step-too-large "
    "unscaled-input unscaled-target nonfinite-backward nonfinite-forward wrong-sign",
    "not a number": "nonfinite-forward nonfinite-backward step-too-large time-growth depth-growth "
    "init-too-large",
    "dead relu": "dead-units symmetric-init init-too-small",
    "saturation": "saturated-activation unscaled-input init-too-large unfit-loss chaotic-signal",
    "poor initialisation": "symmetric-init init-too-small init-too-large saturated-activation "
    "dead-units collapsed-signal chaotic-signal depth-decay depth-growth stuck-saddle",
    "loss does not fall": "step-too-small nothing-to-learn epsilon-dominated "
    "weight-decay-dominates wrong-sign not-in-optimizer unfit-loss double-softmax "
    "half-precision-weights single-unit-softmax",
    "loss oscillates": "step-too-large",
    "loss diverges": "step-too-large wrong-sign unscaled-target unscaled-input",
    "update too small": "step-too-small epsilon-dominated not-in-optimizer detached "
    "frozen-by-checkpoint stuck-saddle half-precision-weights nothing-trainable",
    "update too large": "step-too-large weight-decay-dominates unscaled-input unscaled-target",
    "weights explode": "step-too-large init-too-large wrong-sign",
    "abnormal data": "unscaled-input unscaled-target",
    "no gradient": "detached frozen-by-checkpoint nothing-trainable unregistered-module",
    "something else": "",
    "step size": "step-too-large",
    "rank collapse": "collapsed-signal symmetric-init no-nonlinearity depth-decay init-too-small",
}


def say(*symptoms: str) -> list[Named]:
    """Findings in this order, each standing for every cause it may mean."""
    return [Named(frozenset(SYMPTOMS[s].split()), None, True, s) for s in dict.fromkeys(symptoms)]


def autotrainer(r: Recording) -> list[Named]:
    """Judged from 30 % of the epochs on, every third, while the best accuracy is at most 0.6."""
    said: dict[str, None] = {}
    if not r.accuracy:
        return []  # a classification tool
    if r.output_size >= 10:
        said["abnormal data"] = None
    layers = [layer for layer in r.layers.values() if layer.grad_norm]
    if r.nonfinite:
        said["exploding gradient"] = None
    for step in range(int(0.3 * STEPS), len(r.accuracy), 3):
        if max(r.accuracy[: step + 1]) > 0.6 or not layers:
            continue
        first, last = layers[0].grad_norm[step], layers[-1].grad_norm[step]
        ratio = first / last if last else math.inf
        if ratio < 1e-3 and first < 1e-4:
            said["vanishing gradient"] = None
        if ratio > 70:
            said["exploding gradient"] = None
        if r.zero_share[step] >= 0.7:
            said["dead relu"] = None
    if max(r.accuracy) <= 0.6:
        turns = [
            b
            for a, b, c in zip(r.accuracy, r.accuracy[1:], r.accuracy[2:], strict=False)
            if (b - a) * (c - b) < 0 and min(abs(b - a), abs(c - b)) >= 0.03
        ]
        if len(turns) >= 0.2 * STEPS:
            said["loss oscillates"] = None
        if max(r.accuracy) - r.accuracy[0] < 0.01:
            said["loss does not fall"] = None
    return say(*said)


def sagemaker(r: Recording) -> list[Named]:
    """Built-in rules with default thresholds, at the first and the last step."""
    said: dict[str, None] = {}
    layers = [layer for layer in r.layers.values() if layer.grad_mean]
    if r.nonfinite:
        said["not a number"] = None
    for step in (0, -1):
        if any(layer.grad_mean[step] < 1e-7 for layer in layers):
            said["vanishing gradient"] = None
        for act in (a for a in r.acts.values() if a.idle):
            if act.kind == "ReLU" and act.idle[step] > 0.5:
                said["dead relu"] = None
            if act.kind in ("Sigmoid", "Tanh") and act.beyond_float[step] > 0.5:
                said["saturation"] = None
        updates = [layer.ratio[step] for layer in layers if layer.ratio]
        if any(u > 10 for u in updates):
            said["update too large"] = None
        if any(u < 1e-8 for u in updates):
            said["update too small"] = None
    variances = [layer.variance for layer in layers]
    quiet = [sum(v < 0.001 for v in layer.grad_range[:10]) >= 5 for layer in layers]
    uneven = any(max(a, b) > 10 * min(a, b) for a, b in pairwise(variances))
    if uneven and any(quiet):
        said["poor initialisation"] = None
    return say(*said)


def deep_diagnosis(r: Recording) -> list[Named]:
    """Its eight symptoms at every batch; the loss over 5 checks, the accuracy over 20."""
    said: dict[str, None] = {}
    layers = [layer for layer in r.layers.values() if layer.grad_mean]
    if r.nonfinite:
        said["not a number"] = None
    if any(layer.variance > 10 or layer.variance < 1e-5 for layer in layers):
        said["poor initialisation"] = None
    acts = [a for a in r.acts.values() if a.beyond5]
    if any(max(a.beyond5) > 0.5 for a in acts if a.kind in ("Sigmoid", "Tanh")):
        said["saturation"] = None
    if any(a.nonpositive[-1] >= 0.7 for a in acts if a.kind == "ReLU"):
        said["dead relu"] = None
    if any(min(layer.grad_mean) < 1e-7 for layer in layers):
        said["vanishing gradient"] = None
    updates = [statistics.median(layer.ratio) for layer in layers if layer.ratio]
    if any(u > 0.1 for u in updates):
        said["update too large"] = None
    if any(u < 1e-5 for u in updates):
        said["update too small"] = None
    if stuck(r.losses, 5, 1e-6) or (r.accuracy and stuck(r.accuracy, 20, 0.0)):
        said["loss does not fall"] = None
    return say(*said)


def stuck(values: list[float], window: int, tolerance: float) -> bool:
    """Whether a run of checks did not change."""
    runs = (values[k : k + window + 1] for k in range(len(values) - window))
    return any(max(part) - min(part) <= tolerance * abs(part[0]) for part in runs)


def deep_checker(r: Recording) -> list[Named]:
    """Initial weights, then gradients, activations, updates and loss over windows of 5."""
    said: dict[str, None] = {}
    layers = [layer for layer in r.layers.values() if layer.grad_mean]
    if r.nonfinite:
        said["not a number"] = None
    for layer in layers:
        ratio = layer.variance * layer.fan_in / 2
        if abs(ratio - 1) > 1.96 * math.sqrt(2 / layer.count) and not 0.5 <= ratio <= 2:
            said["poor initialisation"] = None
    acts = [a for a in r.acts.values() if a.spread]
    if any(not 0.5 <= a.spread[0] <= 2.0 for a in acts):
        said["poor initialisation"] = None
    for layer in layers:
        means = layer.grad_mean
        drops = [b < 0.5 * a for a, b in pairwise(means)]
        leaps = [b > 2 * a for a, b in pairwise(means)]
        if min(means) < 1e-6 or runs_of(drops, 5):
            said["vanishing gradient"] = None
        if max(means) > 1e6 or runs_of(leaps, 5):
            said["exploding gradient"] = None
        logs = [math.log10(u) if 0 < u < math.inf else -99.0 for u in layer.ratio]
        if logs and runs_of([v < -4 for v in logs], 5):
            said["update too small"] = None
        if logs and runs_of([v > -1 for v in logs], 5):
            said["update too large"] = None
        if layer.weight_max and max(layer.weight_max) > 1e8:
            said["weights explode"] = None
    if any(a.tiny[-1] > 0.5 for a in acts if a.kind == "ReLU"):
        said["dead relu"] = None
    if any(a.rho[-1] > 0.5 for a in acts if a.kind in ("Sigmoid", "Tanh")):
        said["saturation"] = None
    falls = [1 - b / a for a, b in zip(r.losses, r.losses[5:], strict=False) if a > 0]
    if falls and min(falls) < 0.05:
        said["loss does not fall"] = None
    return say(*said)


def runs_of(flags: list[bool], length: int) -> bool:
    return any(all(flags[k : k + length]) for k in range(len(flags) - length + 1))


class OverARun:
    """A rule over a recorded run. Rules asked about the same case share its recording."""

    shared: tuple[object, Recording | Exception, float] | None = None

    def __init__(self, rule: Callable[[Recording], list[Named]]) -> None:
        self.rule = rule

    def ask(self, key: object, program: dict[str, Any]) -> tuple[list[Named], float]:
        """The findings, and the seconds of the recording that they rest on."""
        if OverARun.shared is None or OverARun.shared[0] != key:
            start = time.perf_counter()
            try:
                made: Recording | Exception = record_run(program, STEPS)
            except Exception as error:
                made = error
            OverARun.shared = (key, made, time.perf_counter() - start)
        _, recording, seconds = OverARun.shared
        if isinstance(recording, Exception):
            raise recording
        return self.rule(recording), seconds


def always_depth_decay(program: dict[str, Any]) -> list[Named]:
    """A tool that knows one thing."""
    return [Named(frozenset({"depth-decay"}), None, True, "depth-decay")]


def always_healthy(program: dict[str, Any]) -> list[Named]:
    """A tool that never complains."""
    return []


BASELINES: dict[str, Any] = {
    "SageMaker Debugger's rules": OverARun(sagemaker),
    "AUTOTRAINER's conditions": OverARun(autotrainer),
    "DeepDiagnosis' conditions": OverARun(deep_diagnosis),
    "TheDeepChecker's conditions": OverARun(deep_checker),
    "always depth-decay": always_depth_decay,
    "always healthy": always_healthy,
}
