"""The examples run, and what their first lines claim can be read off the trace."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import unvanish

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def layer_norms(trace: unvanish.Trace) -> list[float]:
    """Gradient norms of the layers, from the loss to the input."""
    norms = [layer.norm for layer in trace.layers]
    assert None not in norms
    return [norm for norm in norms if norm is not None]


def test_deep_sigmoid_loses_the_gradient() -> None:
    pytest.importorskip("sklearn")
    norms = layer_norms(unvanish.observe(*example("deep_sigmoid").program()))
    assert len(norms) == 31
    assert 0 < norms[-1] < 1e-20 * norms[0]


def test_deep_residual_grows_and_scaled_does_not() -> None:
    pytest.importorskip("sklearn")
    module = example("deep_residual")
    plain, scaled = (layer_norms(unvanish.observe(*f())) for f in (module.program, module.scaled))
    assert plain[-1] > 1e4 * plain[0]
    assert 0.1 < scaled[-1] / scaled[0] < 10


def test_long_rnn_forgets_its_first_step() -> None:
    trace = unvanish.observe(*example("long_rnn").program())
    profile = next(p for p in trace.profiles if p.module == "rnn")
    assert len(profile.norms) == 100
    assert 0 < profile.norms[0] < 1e-15 * profile.norms[-1]


def test_gpt2_small_is_reached_everywhere() -> None:
    pytest.importorskip("transformers")
    trace = unvanish.observe(*example("gpt2_small").program())
    assert {parameter.state for parameter in trace.parameters} == {"reached"}
