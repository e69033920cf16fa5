"""What the page of the lab shows of a net before any training: the picture, then the verdict."""

import math
import time
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from unvanish.lab.expectation import depth_decades, time_decades
from unvanish.lab.insides import curve, histograms
from unvanish.lab.judging import judged, matrices
from unvanish.lab.looking import Look, hidden_weights, look
from unvanish.lab.nets import Reader
from unvanish.lab.settings import Settings
from unvanish.probe.collector import collector_paused
from unvanish.surgery import Edit
from unvanish.trace import Layer, Parameter, Profile, Trace


def measure(settings: Settings, edits: Iterable[Edit] = ()) -> dict[str, Any]:
    """Build, observe, picture and judge; plain numbers for a page. Norms are l2, levels log10.

    Args:
        settings: where the sliders stand.
        edits: of a cure that no slider stands for.
    """
    seen = look(settings, edits)
    shown, said = pictured(settings, seen), judged(settings, seen)
    assert said is not None
    updates = said.pop("updates")
    rows = [{**row, "update": update} for row, update in zip(shown["depth"], updates, strict=True)]
    taken = shown["milliseconds"] + said["milliseconds"]
    return {**shown, **said, "depth": rows, "milliseconds": round(taken, 1)}


def pictured(settings: Settings, seen: Look) -> dict[str, Any]:
    """All that the observation alone gives: what was measured, and what theory expects of it."""
    started = time.perf_counter()
    trace, inputs = seen.trace, seen.batch[0]
    with collector_paused():
        shown = {
            "settings": settings.as_query(),
            "loss": trace.conditions.loss,
            "parameters": trace.conditions.parameters,
            "depth": _depth(settings, seen.net, trace, inputs),
            "time": _time(settings, seen.net, trace, inputs),
            "curve": curve(settings),
            "units": histograms(seen.net, settings, inputs),
            "rate": seen.optimizer(settings).param_groups[0]["lr"],
        }
    taken = seen.milliseconds + 1000 * (time.perf_counter() - started)
    return {**shown, "milliseconds": round(taken, 1)}


def _depth(
    settings: Settings, net: nn.Module, trace: Trace, inputs: Tensor
) -> list[dict[str, Any]]:
    """Layers from the input to the output, with the ledger's split."""
    slopes = {a.fed_by: a.derivative_rms for a in reversed(trace.activations)}
    layers = reversed(trace.layers)
    rows = [
        _row(layer, matrix, slopes.get(layer.name))
        for layer, matrix in zip(layers, matrices(trace), strict=True)
    ]
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


def _row(layer: Layer, matrix: Parameter | None, slope: float | None) -> dict[str, Any]:
    return {
        "name": layer.name.partition(".")[0],
        "level": _log10(layer.norm),
        "total": layer.total,
        "decades": layer.decades,
        "slope": slope,
        "weight_rms": matrix.weight_rms if matrix else None,
        "gradient_rms": matrix.gradient_rms if matrix else None,
        "gradient_norm": matrix.gradient_norm if matrix else None,
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
