"""Numbers of one pass over gradients, against float64 numpy: all engines, all dtypes, all magnitudes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unvanish.errors import BadInput
from unvanish.recording.statistics import HISTOGRAM_BINS, LOWEST_EXPONENT
from unvanish.watching.fused import GradientReadings, Passes
from unvanish.watching.fused.passes import Engine

ENGINES: tuple[Engine, ...] = ("numba", "torch", "device")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64)


def oracle(gradient: Tensor, scale: float = 1.0) -> tuple[dict[str, float], np.ndarray]:
    """The same numbers one entry at a time, in Python's own float64 and integers."""
    wide = gradient.detach().to(torch.complex128 if gradient.is_complex() else torch.float64)
    entries = wide.reshape(-1).tolist()
    magnitudes = [abs(entry) for entry in entries]
    finite = [entry for entry, size in zip(entries, magnitudes, strict=True) if size < math.inf]
    sizes = [abs(entry) for entry in finite]
    bins = np.zeros(HISTOGRAM_BINS, np.uint32)
    for size in sizes:
        if size:
            bins[min(max(octave(size, scale) - LOWEST_EXPONENT, 0), HISTOGRAM_BINS - 1)] += 1
    norm = math.hypot(*sizes)
    mean = math.nan
    if finite and not gradient.is_complex():
        mean = math.fsum(finite) / len(finite)
    return {
        "gradient_l2": norm / scale,
        "gradient_rms": norm / math.sqrt(max(len(entries), 1)) / scale,
        "gradient_mean": mean / scale,
        "gradient_abs_max": max(sizes, default=0.0) / scale,
        "gradient_zeros": sum(size == 0 for size in sizes),
        "gradient_nonfinite": len(entries) - len(finite),
    }, bins


def octave(size: float, scale: float) -> int:
    """The k with 2^k <= size/scale < 2^(k+1), of the exact quotient."""
    one, up = math.frexp(size)
    other, down = math.frexp(scale)
    return up - down if one >= other else up - down - 1


def check(reading: GradientReadings, gradients: list[Tensor], scale: float = 1.0) -> None:
    for column, gradient in enumerate(gradients):
        expected, bins = oracle(gradient, scale)
        for statistic, number in expected.items():
            read = float(reading.values[statistic][column])
            if math.isnan(number):
                assert math.isnan(read), statistic
                continue
            # A mean of what cancels is as good as float64 sums of what was added.
            slack = 1e-12 * expected["gradient_rms"] if statistic == "gradient_mean" else 0.0
            number = min(max(number, -3.4028234663852886e38), 3.4028234663852886e38)
            assert read == pytest.approx(number, rel=2e-7, abs=max(slack, 1.5e-45)), statistic
            assert (read == 0) == (number == 0) or statistic == "gradient_mean", statistic
        if reading.histogram is not None:
            assert reading.histogram[column].tolist() == bins.tolist()


def passes(gradients: list[Tensor], engine: Engine) -> Passes:
    return Passes([torch.zeros_like(g) for g in gradients], engine=engine)


@st.composite
def gradient_lists(draw: st.DrawFn) -> list[Tensor]:
    """A few gradients of any dtype and magnitude, with zeros, NaN and infinities strewn in."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    gradients: list[Tensor] = []
    for _ in range(draw(st.integers(1, 4))):
        dtype = draw(st.sampled_from(DTYPES))
        size = draw(st.sampled_from((0, 1, 2, 7, 63, 1024, 1500, 4096, 4097, 9000)))
        limit = {torch.float64: 300, torch.float16: 5}.get(dtype, 36)
        decade = draw(st.integers(-limit, limit - 2))
        spread = draw(st.sampled_from((0.0, 1.0, 8.0)))
        values = torch.randn(size, generator=generator, dtype=torch.float64)
        values *= 10.0 ** (decade - spread * torch.rand(size, generator=generator))
        share = draw(st.sampled_from((0.0, 0.3, 1.0)))
        values[torch.rand(size, generator=generator) < share] = 0.0
        for odd in draw(st.lists(st.sampled_from((math.nan, math.inf, -math.inf)), max_size=3)):
            if size:
                values[draw(st.integers(0, size - 1))] = odd
        gradients.append(values.to(dtype))
    return gradients


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(gradients=gradient_lists(), scale=st.sampled_from((1.0, 65536.0, 3.0, 1e-3, 1.9999999)))
def test_every_number_is_that_of_float64(
    engine: Engine, gradients: list[Tensor], scale: float
) -> None:
    reading = passes(gradients, engine).gradients(gradients, histogram=True, scale=scale)
    check(reading, gradients, scale)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_half_and_bfloat16_pattern_is_read_right(engine: Engine) -> None:
    patterns = torch.arange(-(2**15), 2**15, dtype=torch.int16)
    gradients = [patterns.view(torch.float16), patterns.view(torch.bfloat16)]
    # bfloat16 reaches beyond what squares of float32 can hold; hypot in the oracle does not mind.
    check(passes(gradients, engine).gradients(gradients, histogram=True), gradients)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_subnormals_are_counted_as_numbers(engine: Engine, dtype: torch.dtype) -> None:
    tiny = torch.finfo(dtype).smallest_normal
    gradients = [torch.tensor([0.0, tiny / 2, -tiny / 1024, tiny], dtype=dtype).repeat(5000)]
    reading = passes(gradients, engine).gradients(gradients, histogram=True)
    assert reading.values["gradient_zeros"].tolist() == [5000]
    assert reading.histogram is not None
    assert reading.histogram[0, 0] == 15000
    assert reading.histogram.sum() == 15000
    assert reading.values["gradient_l2"][0] > 0


@pytest.mark.parametrize("engine", ENGINES)
def test_edges_of_bins_are_powers_of_two(engine: Engine) -> None:
    edges = torch.tensor([2.0**k for k in range(-60, 20)])
    below = torch.nextafter(edges, torch.zeros(()))
    gradients = [edges, below, edges.repeat(300), -below.repeat(300)]
    check(passes(gradients, engine).gradients(gradients, histogram=True), gradients)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [2.0**-80, 2.0**100, 1e-30])
def test_any_scale_divides_exactly(engine: Engine, scale: float) -> None:
    gradients = [torch.randn(5000), torch.randn(3000) * 1e-30, torch.randn(30).to(torch.float16)]
    check(
        passes(gradients, engine).gradients(gradients, histogram=True, scale=scale),
        gradients,
        scale,
    )


@pytest.mark.parametrize("engine", ENGINES)
def test_what_float32_cannot_hold_is_neither_zero_nor_infinite(engine: Engine) -> None:
    gradients = [torch.tensor([1e300, 1e300], dtype=torch.float64)]
    gradients.append(torch.tensor([-1e-300, -1e-300], dtype=torch.float64))
    values = passes(gradients, engine).gradients(gradients, histogram=False).values
    largest, smallest = np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal
    assert values["gradient_l2"].tolist() == [largest, smallest]
    assert values["gradient_mean"].tolist() == [largest, -smallest]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_gradient_that_is_not_there_is_nan_and_not_zero(engine: Engine) -> None:
    parameters = [torch.zeros(3), torch.zeros(4), torch.zeros(5)]
    reader = Passes(parameters, engine=engine)
    reading = reader.gradients([None, torch.zeros(4), None], histogram=True)
    for numbers in reading.values.values():
        assert np.isnan(numbers[[0, 2]]).all()
        assert not np.isnan(numbers[1])
        assert numbers.dtype == np.float32
    nothing = reader.gradients([None] * 3, histogram=False)
    assert nothing.ready()
    assert all(np.isnan(numbers).all() for numbers in nothing.values.values())
    assert nothing.histogram is None


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_is_watched(engine: Engine) -> None:
    reading = Passes([], engine=engine).gradients([], histogram=True)
    assert reading.values["gradient_l2"].shape == (0,)
    assert reading.histogram is not None
    assert reading.histogram.shape == (0, HISTOGRAM_BINS)


@pytest.mark.parametrize("engine", ENGINES)
def test_reading_changes_no_bit(engine: Engine) -> None:
    gradients = [torch.randn(5000), torch.tensor([math.nan, 0.0, -0.0, math.inf])]
    copies = [g.clone() for g in gradients]
    random_state = torch.get_rng_state()
    passes(gradients, engine).gradients(gradients, histogram=True, scale=7.0).fetch()
    for gradient, copy in zip(gradients, copies, strict=True):
        assert torch.equal(gradient.view(torch.int32), copy.view(torch.int32))
    assert torch.equal(random_state, torch.get_rng_state())


def test_engines_agree_to_the_last_bin_on_long_tensors() -> None:
    generator = torch.Generator().manual_seed(3)
    long = torch.randn(5 * 1024 * 1024 + 77, generator=generator) * 1e-4
    readings = [passes([long], e).gradients([long], histogram=True, scale=1.5) for e in ENGINES]
    for other in readings[1:]:
        assert np.array_equal(other.histogram, readings[0].histogram)
        for statistic, numbers in readings[0].values.items():
            np.testing.assert_allclose(other.values[statistic], numbers, rtol=3e-7, atol=1e-15)


@pytest.mark.parametrize("size", [63, 64, 65, 4095, 4096, 4159, 8200])
@pytest.mark.parametrize("zeros", ["none", "first", "last", "most"])
@pytest.mark.parametrize("engine", ENGINES)
def test_octaves_far_apart_and_zeros_anywhere_are_counted(
    engine: Engine, size: int, zeros: str
) -> None:
    """Octaves are counted some at a time: those below the first ones must not be missed."""
    magnitudes = 2.0 ** -torch.arange(64.0).repeat(-(-size // 64))[:size].flip(0)
    if zeros != "none":
        places = {"first": slice(40), "last": slice(-40, None), "most": slice(1, -1)}[zeros]
        magnitudes[places] = 0.0
    gradient = magnitudes * (-1.0) ** torch.arange(size)
    for scale in (1.0, 3.0):
        read = passes([gradient], engine).gradients([gradient], histogram=True, scale=scale)
        check(read, [gradient], scale)


def test_wrong_input_is_said() -> None:
    reader = Passes([torch.zeros(3)], engine="torch")
    with pytest.raises(BadInput, match="2 gradients were given for 1 watched"):
        reader.gradients([None, None], histogram=False)
    for scale in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(BadInput, match="positive number"):
            reader.gradients([None], histogram=False, scale=scale)
