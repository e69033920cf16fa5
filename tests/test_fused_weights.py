"""The real update of a step: against plain arithmetic, whatever happens between the steps."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from test_fused import ENGINES
from torch import Tensor

from unvanish.watching.fused import Passes
from unvanish.watching.fused.passes import Engine
from unvanish.watching.fused.weights import turns

Change = Callable[[list[Tensor]], None]


def parameters() -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    shapes = [(70, 90), (5,), (4097,), (3, 3), ()]
    kinds = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.float32]
    return [
        torch.nn.Parameter(torch.randn(shape, generator=generator).to(kind))
        for shape, kind in zip(shapes, kinds, strict=True)
    ]


def step(weights: list[Tensor]) -> None:
    with torch.no_grad():
        for weight in weights:
            weight.add_(torch.randn(weight.shape).to(weight.dtype), alpha=0.01)


def watched_step(reader: Passes, weights: list[Tensor], change: Change = step) -> None:
    """One step, and the check of what was read of it."""
    before = [weight.detach().clone() for weight in weights]
    reader.before_step()
    change(weights)
    read = reader.after_step()
    for column, (old, new) in enumerate(zip(before, weights, strict=True)):
        kind = torch.complex128 if old.is_complex() else torch.float64
        moved = (new.detach().to(kind) - old.to(kind)).norm()
        ratio = float(moved / old.to(kind).norm())
        rms = float(old.to(kind).norm()) / max(old.numel(), 1) ** 0.5
        assert float(read["weight_rms"][column]) == pytest.approx(rms, rel=3e-7)
        assert float(read["update_to_weight"][column]) == pytest.approx(ratio, rel=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_update_is_what_really_changed_step_after_step(engine: Engine) -> None:
    weights = parameters()
    reader = Passes(weights, engine=engine)
    for _ in range(4):
        watched_step(reader, weights)


def swap_data(weights: list[Tensor]) -> None:
    for weight in weights:
        weight.data = torch.randn(weight.shape).to(weight.dtype)


def through_data(weights: list[Tensor]) -> None:
    for weight in weights:
        weight.data.mul_(-3.0)


def clip_one_entry(weights: list[Tensor]) -> None:
    weights[0].data[3, 4] = 1000.0


def in_place(weights: list[Tensor]) -> None:
    with torch.no_grad():
        for weight in weights:
            weight.mul_(5.0)


def through_numpy(weights: list[Tensor]) -> None:
    weights[0].detach().numpy()[:, 17] *= 7


def load(weights: list[Tensor]) -> None:
    holder = torch.nn.ParameterList(weights)
    holder.load_state_dict({k: torch.randn_like(v) for k, v in holder.state_dict().items()})


BETWEEN: dict[str, Change] = {
    "step not watched": step,
    "other memory": swap_data,
    "behind the version counter": through_data,
    "one entry, behind the version counter": clip_one_entry,
    "in place": in_place,
    "numpy": through_numpy,
    "checkpoint": load,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("between", BETWEEN)
def test_what_happens_between_steps_is_no_update(engine: Engine, between: str) -> None:
    weights = parameters()
    reader = Passes(weights, engine=engine)
    for _ in range(3):
        watched_step(reader, weights)
        BETWEEN[between](weights)
    watched_step(reader, weights)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_optimizer_may_give_a_weight_other_memory(engine: Engine) -> None:
    weights = parameters()
    reader = Passes(weights, engine=engine)
    watched_step(reader, weights, swap_data)
    watched_step(reader, weights)


@pytest.mark.parametrize("engine", ENGINES)
def test_layouts_of_weights(engine: Engine) -> None:
    convolution = torch.randn(8, 16, 3, 3).to(memory_format=torch.channels_last)
    big = torch.randn(40, 60)
    weights: list[Tensor] = [
        torch.nn.Parameter(convolution),
        torch.nn.Parameter(torch.randn(40, 60).t()),
        big[:, ::2],
        torch.nn.Parameter(torch.randn(30, dtype=torch.complex64)),
    ]
    reader = Passes(weights, engine=engine)
    for _ in range(3):
        watched_step(reader, weights)


@pytest.mark.parametrize("engine", ENGINES)
def test_ratios_that_say_nothing_are_nan(engine: Engine) -> None:
    weights = [torch.zeros(4), torch.zeros(4), torch.ones(4), torch.ones(4), torch.zeros(0)]
    reader = Passes(weights, engine=engine)
    reader.before_step()
    weights[1].add_(1.0)
    weights[3][2] = float("nan")
    read = reader.after_step()
    assert np.isnan(read["update_to_weight"]).tolist() == [True, True, False, True, True]
    assert read["update_to_weight"][2] == 0
    assert read["weight_rms"].tolist() == [0, 0, 1, 1, 0]
    reader.before_step()
    assert np.isnan(reader.after_step()["weight_rms"]).tolist() == [
        False,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_step_before_gives_nothing(engine: Engine) -> None:
    weights = parameters()
    reader = Passes(weights, engine=engine)
    assert all(np.isnan(numbers).all() for numbers in reader.after_step().values())
    watched_step(reader, weights)
    reader.release()
    assert np.isnan(reader.after_step()["update_to_weight"]).all()
    watched_step(reader, weights)


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_beyond_the_limit_take_turns(engine: Engine) -> None:
    weights: list[Tensor] = [torch.ones(100), torch.ones(100), torch.ones(300), torch.ones(50)]
    reader = Passes(weights, engine=engine, copy_limit=800)
    seen = np.zeros(4)
    for _ in range(4):
        reader.before_step()
        for weight in weights:
            weight.mul_(1.5)
        ratios = reader.after_step()["update_to_weight"]
        seen += ~np.isnan(ratios)
        assert np.all(np.isnan(ratios) | (np.abs(ratios - 0.5) < 1e-6))
    assert seen.tolist() == [2, 2, 0, 2]
    assert turns([], 10) == [[]]


@pytest.mark.parametrize("engine", ENGINES)
def test_measuring_an_update_changes_no_bit(engine: Engine) -> None:
    weights = parameters()
    copies = [weight.detach().clone() for weight in weights]
    versions = [weight._version for weight in weights]
    reader = Passes(weights, engine=engine)
    for _ in range(2):
        reader.before_step()
        reader.after_step()
    assert [weight._version for weight in weights] == versions
    for weight, copy in zip(weights, copies, strict=True):
        assert torch.equal(weight.detach(), copy)


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_made_in_inference_mode(engine: Engine) -> None:
    with torch.inference_mode():
        weights = [torch.ones(4)]
        reader = Passes(weights, engine=engine)
        watched_step(reader, weights)
        weights[0].mul_(3)
        watched_step(reader, weights)
