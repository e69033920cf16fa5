"""One look at the net that the sliders describe: everything the page shows before any training."""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from unvanish.diagnosis import Diagnosis, diagnose
from unvanish.lab.data import BATCH, loss_of, samples
from unvanish.lab.expectation import depth_decades, time_decades
from unvanish.lab.insides import curve, histograms
from unvanish.lab.nets import Reader, at_hand, build
from unvanish.lab.settings import Settings
from unvanish.probe.observe import collector_paused
from unvanish.report.sections import verdict
from unvanish.report.sentences import sentence
from unvanish.surgery import Edit, apply
from unvanish.surgery.optimizers import carried
from unvanish.trace import Layer, Parameter, Profile, Trace

Optimizer = torch.optim.Optimizer


def measure(settings: Settings, edits: Iterable[Edit] = ()) -> dict[str, Any]:
    """Build, observe and diagnose; plain numbers for a page. Norms are l2, levels log10.

    Args:
        settings: where the sliders stand.
        edits: of a cure that no slider stands for.
    """
    with collector_paused():
        return _measured(settings, tuple(edits))


def _measured(settings: Settings, edits: tuple[Edit, ...]) -> dict[str, Any]:
    started = time.perf_counter()
    net, optimizer, batch = patient(settings, edits, own=False)
    diagnosis = diagnose(net, batch, loss_of(settings), optimizer, seed=settings.seed)
    said, sentence_ = verdict(diagnosis)
    trace = diagnosis.trace
    return {
        "settings": settings.as_query(),
        "verdict": {"severity": said, "said": sentence_},
        "findings": _findings(diagnosis),
        "loss": trace.conditions.loss,
        "parameters": trace.conditions.parameters,
        "depth": _depth(settings, net, diagnosis, batch[0]),
        "time": _time(settings, net, trace, batch[0]),
        "curve": curve(settings),
        "units": histograms(net, settings, batch[0]),
        "rate": optimizer.param_groups[0]["lr"],
        "milliseconds": round(1000 * (time.perf_counter() - started), 1),
    }


def patient(
    settings: Settings, edits: tuple[Edit, ...] = (), *, own: bool = True
) -> tuple[nn.Module, Optimizer, tuple[Tensor, Tensor]]:
    """The net, its optimizer and one batch, after the edits of a cure; to be looked at if not own."""
    inputs, targets = samples(settings)
    batch = inputs[:BATCH], targets[:BATCH]
    net = build(settings) if own else at_hand(settings)
    optimizer = optimizer_of(settings, net)
    if not edits:
        return net, optimizer, batch
    treated = apply(net, edits, batch=batch, loss=loss_of(settings), seed=settings.seed)
    return treated, carried(optimizer, net, treated, edits), batch


def optimizer_of(settings: Settings, net: nn.Module) -> Optimizer:
    """The optimizer that is chosen, over the net."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(net.parameters(), lr=settings.rate)
    momentum = 0.9 if settings.optimizer == "momentum" else 0.0
    return torch.optim.SGD(net.parameters(), lr=settings.rate, momentum=momentum)


def hidden_weights(net: nn.Module) -> dict[str, Tensor]:
    """The matrices of the hidden layers, the first one first; of a cell, all of its matrices."""
    named = {name: p for name, p in net.named_parameters() if p.dim() == 2}
    return {name: p for name, p in named.items() if not name.startswith("head")}


def _findings(diagnosis: Diagnosis) -> list[dict[str, str]]:
    shown = [f for f in diagnosis.findings if f.name != "blind-spot"]
    return [
        {"name": f.name, "code": f.code, "severity": f.severity, "said": sentence(f)}
        for f in shown[:4]
    ]


def _depth(
    settings: Settings, net: nn.Module, diagnosis: Diagnosis, inputs: Tensor
) -> list[dict[str, Any]]:
    """Layers from the input to the output, with the ledger's split and the first step's size."""
    layers = list(reversed(diagnosis.trace.layers))
    trace = diagnosis.trace
    moved = {u.name: u.update_to_weight for u in diagnosis.updates}
    slopes = {a.fed_by: a.derivative_rms for a in reversed(trace.activations)}
    matrices = [p for p in trace.parameters if len(p.shape) > 1]
    places = {p.name: place for place, p in enumerate(matrices)}
    rows = list[dict[str, Any]]()
    for layer in layers:
        own = min((places[name] for name in layer.parameters if name in places), default=None)
        matrix = None if own is None else matrices[own]
        rows.append(_row(layer, matrix, slopes.get(layer.name), moved))
    if settings.recurrent:
        return rows
    weights = list(hidden_weights(net).values())
    expected = depth_decades(settings, weights, inputs)
    for row, decades in zip(rows, expected, strict=False):
        row["expected"] = decades
    level = rows[-1]["level"] if rows else None
    total = rows[-1]["total"] if rows else 0.0
    if rows:
        rows[-1]["theory"] = level
    for row in reversed(rows[:-1]):
        level = None if level is None or total is None else level + total
        row["theory"] = level
        total = row.get("expected")
    return rows


def _row(
    layer: Layer, matrix: Parameter | None, slope: float | None, moved: Mapping[str, float | None]
) -> dict[str, Any]:
    return {
        "name": layer.name.partition(".")[0],
        "level": _log10(layer.norm),
        "total": layer.total,
        "decades": layer.decades,
        "slope": slope,
        "weight_rms": matrix.weight_rms if matrix else None,
        "gradient_rms": matrix.gradient_rms if matrix else None,
        "gradient_norm": matrix.gradient_norm if matrix else None,
        "update": moved.get(matrix.name) if matrix else None,
        "output_rms": layer.output_rms,
    }


def _time(
    settings: Settings, net: nn.Module, trace: Trace, inputs: Tensor
) -> dict[str, Any] | None:
    """The gradient at the input of every time step, and what theory expects of it."""
    profile = _profile(trace)
    if profile is None or not isinstance(net, Reader):
        return None
    levels = [_log10(norm) for norm in profile.norms]
    expected = time_decades(settings, net.cell, inputs) if len(levels) == inputs.shape[1] else None
    last = levels[-1]
    theory = None
    if expected is not None and last is not None:
        theory = [last + part for part in expected]
    return {
        "levels": levels,
        "theory": theory,
        "lower_bound": settings.cell in ("lstm", "gru"),
    }


def _profile(trace: Trace) -> Profile | None:
    found = [p for p in trace.profiles if p.axis == "time"]
    return found[0] if found else None


def _log10(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return math.log10(value) if value > 0 else -60.0
