"""A recording's size is bounded, and what is kept of old steps is what was promised."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from unvanish.recording import Event, Recording, StepReading, TensorEntry, Writer
from unvanish.recording.thinning import FEWEST_LAST_STEPS, Sweep

TENSORS = 64
LIMIT = 3 << 20


def step_of(step: int, tensors: int = TENSORS, histogram: bool = False) -> StepReading:
    values = np.full(tensors, step, np.float32)
    counts = np.full((tensors, 64), step, np.uint32)
    return StepReading(
        step=step,
        seconds=step,
        stage="unscaled unclipped whole",
        values={"gradient_l2": values, "weight_rms": values, "update_to_weight": values},
        histogram=counts if histogram else None,
        scalars={"loss": float(step)},
    )


def event(step: int, kind: str = "alarm") -> Event:
    return Event(kind=kind, name="depth-decay", step=step, seconds=step, detail="x" * 50)


def filled(folder: Path, steps: range, every: int = 50, limit: int = LIMIT) -> Recording:
    entries = [TensorEntry(name=f"w{i}", shape=(1,), dtype="float32") for i in range(TENSORS)]
    with Writer(folder, entries, {}, limit_bytes=limit) as writer:
        for count, step in enumerate(steps):
            writer.write(step_of(step, histogram=step % 10 == 0))
            if step % 700 == 3:
                writer.event(event(step))
            if count % every == every - 1:
                writer.flush()  # faster than any training: do not let the backlog drop anything
        assert writer.failed is None
    return Recording.open(folder)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return filled(tmp_path_factory.mktemp("long"), range(12_000))


def test_the_file_stays_below_its_limit(long: Recording) -> None:
    unthinned = 12_000 * 3 * TENSORS * 4
    assert unthinned > 2.5 * LIMIT
    assert long.path.stat().st_size <= LIMIT
    assert long.lost == {}


def test_the_first_and_the_last_steps_and_those_with_events_stay(long: Recording) -> None:
    steps = set(long.values("gradient_l2", "w0")[0].tolist())
    assert 0 in steps
    assert set(range(11_000, 12_000)) <= steps
    assert set(range(3, 12_000, 700)) <= steps
    assert long.values("gradient_log2_histogram", "w0")[0].tolist()[-100:] == list(
        range(11_000, 12_000, 10)
    )


def test_old_steps_are_evenly_kept_and_what_is_kept_is_right(long: Recording) -> None:
    spacing = 1 << long.thinned["readings"]
    steps, values = long.values("gradient_l2", "w63")
    assert 2 <= spacing <= 64
    # Between the last round of thinning and the last thousand steps all may still be there.
    old = set(steps[steps < 8_000].tolist())
    assert old == {*range(0, 8_000, spacing), *range(3, 8_000, 700)}
    assert (values == steps).all()
    steps, losses = long.scalars("loss")
    assert (steps == losses).all()


def test_histograms_go_first_and_scalars_last(long: Recording) -> None:
    histograms = long.values("gradient_log2_histogram", "w0")[0]
    readings = long.values("gradient_l2", "w0")[0]
    scalars = long.scalars("loss")[0]
    assert len(histograms[histograms < 10_900]) * 10 < 3 * len(readings[readings < 10_900])
    assert len(scalars) == 12_000
    assert long.steps.tolist() == scalars.tolist()


def test_scalars_alone_are_bounded_too(tmp_path: Path) -> None:
    names = [f"scalar_{i}" for i in range(40)]
    with Writer(tmp_path, [], {}, limit_bytes=1 << 20) as writer:
        for step in range(4_000):
            one = dict.fromkeys(names, float(step))
            writer.write(StepReading(step=step, seconds=0, stage="", values={}, scalars=one))
        writer.flush()
    with Recording.open(tmp_path) as recording:
        assert recording.path.stat().st_size < 1.5 * (1 << 20)
        steps, values = recording.scalars("scalar_7")
        assert (steps == values).all()
        assert steps[0] == 0
        assert len(steps) < 4_000
        assert steps[-500:].tolist() == list(range(3_500, 4_000))


def test_steps_too_large_for_a_thousand_of_them_keep_fewer(tmp_path: Path) -> None:
    entries = [TensorEntry(name=f"w{i}", shape=(1,), dtype="float32") for i in range(3_000)]
    with Writer(tmp_path, entries, {}, limit_bytes=LIMIT) as writer:
        for step in range(600):
            writer.write(step_of(step, 3_000))
            if step % 10 == 9:
                writer.flush()
    with Recording.open(tmp_path) as recording:
        steps = recording.values("gradient_l2", "w0")[0].tolist()
        assert steps[0] == 0
        assert steps[-FEWEST_LAST_STEPS:] == list(range(600 - FEWEST_LAST_STEPS, 600))
        assert recording.path.stat().st_size <= LIMIT * 1.1
        assert len(recording.scalars("loss")[0]) == 600


def test_a_guard_that_acts_at_every_step_does_not_fill_the_disk(tmp_path: Path) -> None:
    with Writer(tmp_path, [], {}, limit_bytes=1 << 20) as writer:
        for step in range(8_000):
            writer.write(step_of(step, 1))
            writer.event(event(step, "action"))
            if step == 100:
                writer.event(event(step, "alarm"))
            if step % 100 == 0:
                writer.flush()
    with Recording.open(tmp_path) as recording:
        kinds = [one.kind for one in recording.events]
        assert kinds.count("alarm") == 1
        assert 1_000 <= kinds.count("action") < 8_000
        assert recording.path.stat().st_size < 1.5 * (1 << 20)


def test_looks_are_bounded_and_the_last_ones_stay(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    with Writer(tmp_path, [], {}, limit_bytes=1 << 20) as writer:
        for step in range(200):
            numbers = ", ".join(map(str, random.random(1_000)))
            writer.write(step_of(step, 1))
            writer.look(step, f'{{"numbers": [{numbers}]}}')
            writer.flush()
    with Recording.open(tmp_path) as recording:
        looks = recording.looks.tolist()
        assert looks[0] == 0
        assert looks[-8:] == list(range(192, 200))
        assert len(recording.look(199)["numbers"]) == 1_000
        assert recording.path.stat().st_size < 1.5 * (1 << 20)


def test_sweeping_in_pieces_is_sweeping_at_once_and_spacings_are_nested() -> None:
    random = np.random.default_rng(1)
    steps = np.unique(random.integers(0, 3_000, 800)).tolist()
    kept: dict[int, set[int]] = {}
    for spacing in (2, 4, 8, 16):
        whole = Sweep().surplus(steps, spacing, set())
        sweep = Sweep()
        pieces = [sweep.surplus(steps[i : i + 37], spacing, set()) for i in range(0, 800, 37)]
        assert list(itertools.chain(*pieces)) == whole
        kept[spacing] = set(steps) - set(whole)
        assert {step // spacing for step in kept[spacing]} == {step // spacing for step in steps}
        assert kept[spacing] <= kept.get(spacing // 2, set(steps))
