"""Alarms: raised once and cleared once, causes before consequences, absent never taken for zero."""

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest

from unvanish.alarms import DETECTORS, Alarms, Detector, Sign
from unvanish.alarms.detector import AWAY, UNSEEN, Absence
from unvanish.alarms.moment import Moment
from unvanish.alarms.rising import Rise
from unvanish.alarms.series import Series, middle
from unvanish.causes import CAUSES
from unvanish.recording import Event, StepReading, TensorEntry

CARDS = {cause.card.name: cause.card for cause in CAUSES}


def entry(name: str, *shape: int) -> TensorEntry:
    return TensorEntry(name=name, shape=shape or (4, 4), dtype="float32")


CHAIN = [
    entry(f"{i // 2}.{'bias' if i % 2 else 'weight'}", *((4,) if i % 2 else (4, 4)))
    for i in range(8)
]


def reading(
    step: int,
    gradients: Iterable[float] = (1.0,) * 8,
    *,
    nonfinite: Iterable[float] = (),
    updates: Iterable[float] | None = None,
    weights: Iterable[float] | None = None,
    **scalars: float,
) -> StepReading:
    norms = np.array(list(gradients), dtype=np.float32)
    bad = np.zeros_like(norms)
    for place, count in enumerate(nonfinite):
        bad[place] = count
    values = {"gradient_l2": norms, "gradient_abs_max": norms / 2, "gradient_nonfinite": bad}
    if updates is not None:
        values["update_to_weight"] = np.array(list(updates), dtype=np.float32)
    if weights is not None:
        values["weight_rms"] = np.array(list(weights), dtype=np.float32)
    stage = "unscaled before-clipping whole"
    return StepReading(step=step, seconds=step / 10, stage=stage, values=values, scalars=scalars)


class Scripted:
    """A watcher that says what it is told: s sign, a away, u unseen."""

    def __init__(self, script: str, onset: int = 0) -> None:
        self.script, self.onset = itertools.chain(script, itertools.repeat("u")), onset

    def see(self, moment: Moment) -> Sign | Absence:
        said = next(self.script)
        if said == "s":
            return Sign(severity="broken", where=("here",), onset=self.onset, detail="so it is")
        return AWAY if said == "a" else UNSEEN


def scripted(name: str, script: str, onset: int = 0, explains: tuple[str, ...] = ()) -> Detector:
    return Detector(
        card=CARDS[name], watcher=lambda: Scripted(script, onset), explains=explains, always=True
    )


def told(alarms: Alarms, readings: Iterable[StepReading]) -> list[tuple[int, str, str]]:
    return [(e.step, e.kind, e.name) for r in readings for e in alarms.feed(r)]


def quiet(steps: int) -> list[StepReading]:
    return [reading(step) for step in range(steps)]


# --- one alarm for one fault ---------------------------------------------------------------------


def test_raised_once_cleared_once() -> None:
    script = "aaasss" + "s" * 40 + "a" * 49 + "s" + "a" * 50 + "a" * 100
    alarms = Alarms(CHAIN, detectors=[scripted("detached", script)])
    events = told(alarms, quiet(len(script)))
    assert events == [(3, "alarm", "detached"), (145, "cleared", "detached")]
    assert alarms.active == ()


def test_steps_that_cannot_tell_clear_nothing() -> None:
    alarms = Alarms(CHAIN, detectors=[scripted("detached", "s" + "u" * 500)])
    assert told(alarms, quiet(501)) == [(0, "alarm", "detached")]
    assert [event.name for event in alarms.active] == ["detached"]


def test_what_comes_and_goes_is_told_ever_more_rarely() -> None:
    alarms = Alarms(CHAIN, detectors=[scripted("detached", ("s" + "a" * 60) * 100)])
    raised = [step for step, kind, _ in told(alarms, quiet(6100)) if kind == "alarm"]
    # Patience is 50 steps, then 100: from then on sixty steps of absence are too few to be over.
    assert raised == [0, 61]


def test_a_consequence_is_a_note_after_its_cause() -> None:
    effect = scripted("dead-units", "uuus", onset=2)
    cause = scripted("step-too-large", "uuus", onset=1, explains=("dead-units",))
    alarms = Alarms(CHAIN, detectors=[effect, cause])
    events = [event for r in quiet(4) for event in alarms.feed(r)]
    assert [(e.name, e.severity) for e in events] == [
        ("step-too-large", "broken"),
        ("dead-units", "note"),
    ]
    assert events[1].detail.startswith("follows from step-too-large (step 1)")
    assert events[1].evidence["because_onset"] == 1


def test_what_began_before_is_no_consequence() -> None:
    effect = scripted("dead-units", "uuus", onset=0)
    cause = scripted("step-too-large", "uuus", onset=1, explains=("dead-units",))
    alarms = Alarms(CHAIN, detectors=[effect, cause])
    assert {e.severity for r in quiet(4) for e in alarms.feed(r)} == {"broken"}


def test_a_cause_that_was_over_lately_is_still_the_cause() -> None:
    effect = scripted("dead-units", "u" * 80 + "s", onset=75)
    cause = scripted("step-too-large", "s" + "a" * 60, onset=0, explains=("dead-units",))
    alarms = Alarms(CHAIN, detectors=[effect, cause])
    assert told(alarms, quiet(80))[-1] == (50, "cleared", "step-too-large")
    [event] = alarms.feed(reading(80))
    assert (event.name, event.severity) == ("dead-units", "note")


def test_a_cause_proven_later_takes_the_alarm_under_it() -> None:
    effect = scripted("dead-units", "us", onset=2)
    cause = scripted("step-too-large", "uuus", onset=1, explains=("dead-units",))
    alarms = Alarms(CHAIN, detectors=[effect, cause])
    told(alarms, quiet(4))
    assert [(e.name, e.severity) for e in alarms.active] == [
        ("step-too-large", "broken"),
        ("dead-units", "note"),
    ]


def test_every_detector_has_the_name_of_a_finding() -> None:
    names = [detector.card.name for detector in DETECTORS]
    assert len(set(names)) == len(names)
    assert all(CARDS[detector.card.name] is detector.card for detector in DETECTORS)
    assert all(set(detector.explains) <= set(CARDS) for detector in DETECTORS)


# --- absent is not zero --------------------------------------------------------------------------


def test_nothing_to_read_is_no_fault() -> None:
    bare = [StepReading(step=s, seconds=0.0, stage="", values={}) for s in range(200)]
    assert told(Alarms([]), bare) == []
    assert told(Alarms(CHAIN), bare) == []


def test_no_gradient_is_not_a_gradient_of_zero() -> None:
    missing = [reading(s, [math.nan] * 4 + [1.0] * 4, loss=1.0) for s in range(200)]
    assert told(Alarms(CHAIN), missing) == []


def test_zero_from_the_front_on_is() -> None:
    zero = [reading(s, [0.0] * 4 + [1.0] * 4, loss=1.0) for s in range(200)]
    assert told(Alarms(CHAIN), zero) == [(9, "alarm", "dead-units")]


def test_zero_gradients_at_rate_zero_may_still_wake_up() -> None:
    zero = [reading(s, [0.0] * 4 + [1.0] * 4, loss=1.0, learning_rate=0.0) for s in range(30)]
    assert told(Alarms(CHAIN), zero) == []


def test_a_weight_without_input_beside_a_bias_with_gradient() -> None:
    def gradients(step: int) -> list[float]:
        return [1.0] * 4 + [0.0 if step >= 40 else 1.0] + [1.0] * 3

    alarms = Alarms(CHAIN)
    events = [e for s in range(100) for e in alarms.feed(reading(s, gradients(s), loss=1.0))]
    assert [(e.name, e.where, e.evidence["onset"]) for e in events] == [
        ("dead-units", ("2.weight",), 40)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_an_expert_that_is_asked_now_and_then_is_no_dead_layer(seed: int) -> None:
    draw = np.random.default_rng(seed)
    asked = draw.random(1000) < 0.05
    alarms = Alarms(CHAIN)
    readings = [
        reading(s, [float(on)] * 2 + [1.0] * 6, loss=1.0, learning_rate=0.1)
        for s, on in enumerate([True, *asked])
    ]
    assert told(alarms, readings) == []


def test_tensors_may_come_later() -> None:
    alarms = Alarms(CHAIN[:4])
    events = told(alarms, [reading(s, [1.0] * 4, loss=1.0) for s in range(20)])
    alarms.add_tensors(CHAIN[4:])
    # A reading that was taken before they came is shorter.
    events += told(alarms, [reading(20, [1.0] * 4, loss=1.0)])
    events += told(alarms, [reading(s, loss=1.0) for s in range(21, 40)])
    assert events == []
    [event] = alarms.feed(reading(40, nonfinite=[0] * 7 + [3], loss=1.0))
    assert (event.name, event.where) == ("nonfinite-backward", ("3.bias",))


# --- not finite ----------------------------------------------------------------------------------


def test_a_nonfinite_gradient_that_was_used() -> None:
    alarms = Alarms(CHAIN)
    events = told(alarms, quiet(5))
    [event] = alarms.feed(reading(5, nonfinite=[2, 0, 1], loss=1.0))
    assert events == []
    assert (event.name, event.severity) == ("nonfinite-backward", "broken")
    assert event.where == ("1.weight", "0.weight")  # nearest the loss first


def test_a_loss_that_was_infinite_and_is_a_fault_later() -> None:
    alarms = Alarms(CHAIN)
    steps = [reading(step, loss=math.inf if step == 2 else 1.0) for step in range(5)]
    assert told(alarms, steps) == [(2, "alarm", "nonfinite-forward")]
    [note] = alarms.active
    assert note.severity == "note"
    bad = [reading(step, nonfinite=[4] * 8, loss=math.nan) for step in (5, 6)]
    again = [(5, "cleared", "nonfinite-forward"), (5, "alarm", "nonfinite-forward")]
    assert told(alarms, bad) == again
    [fault] = alarms.active
    assert (fault.severity, fault.evidence["onset"]) == ("broken", 5)


def test_a_step_that_was_skipped_is_expected() -> None:
    alarms = Alarms(CHAIN)
    scaled = [
        reading(
            s, nonfinite=[s % 20 == 0], loss=1.0, loss_scale=2.0**16, skipped=float(s % 20 == 0)
        )
        for s in range(200)
    ]
    assert told(alarms, scaled) == []


def test_a_scale_that_falls_without_end() -> None:
    alarms = Alarms(CHAIN)
    scales = [2.0**16] * 30 + [2.0 ** (16 - k) for k in range(60)]
    readings = [
        reading(s, nonfinite=[s >= 30], loss=1.0, loss_scale=scale, skipped=float(s >= 30))
        for s, scale in enumerate(scales)
    ]
    events = [e for r in readings for e in alarms.feed(r)]
    assert [(e.step, e.name, e.evidence["onset"]) for e in events] == [
        (48, "loss-scale-collapse", 30)
    ]
    assert events[0].evidence["scale"] == 0.25


def test_a_scaler_that_comes_back_to_the_same_scale() -> None:
    alarms, scale, readings = Alarms(CHAIN), 4.0, []
    for step in range(300):
        bad = scale > 0.5 and step % 3 == 0
        readings.append(
            reading(step, nonfinite=[bad], loss=1.0, loss_scale=scale, skipped=float(bad))
        )
        scale = scale / 2 if bad else min(scale * 2, 1.0)
    assert sum(r.scalars["skipped"] for r in readings) > 50
    assert told(alarms, readings) == []


# --- the loss ------------------------------------------------------------------------------------


def rises(values: Iterable[float]) -> list[bool]:
    rise, series, met = Rise(), Series(128), []
    for step, value in enumerate(values):
        series.append(step, value)
        rise.see(series)
        met.append(rise.met)
    return met


def test_a_rise_does_not_depend_on_the_scale_or_sign_of_the_loss() -> None:
    draw = np.random.default_rng(3)
    values = np.concatenate(
        [draw.normal(size=60), draw.normal(loc=8, size=30), draw.normal(size=60)]
    )
    expected = rises(values)
    assert any(expected)
    assert not any(expected[:60])
    assert not expected[-1]
    for changed in (1e6 * values, values - 1e4, np.exp(values), np.arctan(values)):
        assert rises(changed) == expected


def test_noise_alike_rises_as_rarely_as_counting_says() -> None:
    # 10 last values above all but the two largest of 20 before: C(12, 10) / C(30, 10) a step.
    draw = np.random.default_rng(0)
    noise = draw.standard_cauchy(20_000)
    bound = math.comb(12, 10) / math.comb(30, 10) * len(noise)
    assert bound < 0.1
    assert not any(rises(noise)[60:])


def test_one_spike_is_no_rise() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(size=200)
    values[100:106] = 1000
    assert not any(rises(values))


def test_series_is_a_window() -> None:
    series, values = Series(7), list(range(100))
    for step, value in enumerate(values):
        series.append(step, float(value))
        assert series.last(5).tolist() == values[max(0, step - 4) : step + 1]
        assert series.last(3, 2).tolist() == values[max(0, step - 4) : max(step - 1, 0)]
        assert series.steps(2).tolist() == values[max(0, step - 1) : step + 1]


def test_middle_is_the_upper_median() -> None:
    draw = np.random.default_rng(0)
    for size in range(1, 9):
        values = draw.normal(size=size)
        assert middle(values) == sorted(values)[size // 2]


# --- what changed just before --------------------------------------------------------------------


def thrown(rate_at_60: float) -> list[Event]:
    draw, alarms = np.random.default_rng(0), Alarms(CHAIN, optimizer="SGD")
    events: list[Event] = []
    for step in range(100):
        late = step > 60
        events += alarms.feed(
            reading(
                step,
                [1000.0 if late else 1.0] * 8,
                updates=[5.0 if step >= 60 else 1e-3] * 8,
                weights=[0.5] * 8,
                loss=(50 if late else 1) + 0.1 * draw.normal(),
                learning_rate=rate_at_60 if step >= 60 else 0.1,
            )
        )
    return events


def test_a_rate_that_jumped_is_told_with_its_factor() -> None:
    [event] = thrown(100.0)
    assert (event.name, event.severity) == ("step-too-large", "broken")
    assert event.evidence["onset"] in (60, 61)
    assert event.evidence["learning_rate_factor"] == pytest.approx(1000)
    assert event.evidence["learning_rate_step"] == 60
    assert event.evidence["loss_deviations"] > 100
    assert event.evidence["gradient_factor"] == pytest.approx(1000, rel=0.01)
    assert "at step 60, the learning rate was multiplied by 1e+03" in event.detail


@pytest.mark.parametrize(("climbs", "named"), [(False, []), (True, ["step-too-large"])])
def test_a_rise_before_the_rate_jumped_is_not_its_doing(climbs: bool, named: list[str]) -> None:
    """An adversary's loss rises for reasons of its own; later the rate does, and the loss may."""
    alarms, events = Alarms(CHAIN, optimizer="Adam"), list[Event]()
    for step in range(150):
        large = step >= 100
        loss = 1.0 + (step >= 40) + 3.0 * (climbs and step > 100) + 0.1 * (step % 3)
        update = [0.6 if large else 0.01] * 8 if step in (0, 105) else None
        rate = 0.6 if large else 0.01
        told = reading(step, updates=update, weights=[0.5] * 8, loss=loss, learning_rate=rate)
        events += alarms.feed(told)
    assert [event.name for event in events] == named
    assert all(event.evidence["onset"] == 101 for event in events)


def test_a_rate_that_did_not_change_is_not_told() -> None:
    [event] = thrown(0.1)
    assert "learning_rate_factor" not in event.evidence
    assert "learning rate" not in event.detail


# --- front and back ------------------------------------------------------------------------------

DEEP = [entry(f"{i}.weight") for i in range(20)]


def falling(
    decades: float, weights: Iterable[float], updates: Iterable[float]
) -> list[StepReading]:
    gradients = 10 ** np.linspace(-decades, 0, 20)
    return [
        reading(s, gradients, weights=weights, updates=updates, loss=1.0, learning_rate=0.1)
        for s in range(30)
    ]


STARVED = list(10 ** np.linspace(-9, -3, 20))


def test_a_gradient_that_falls_over_depth_and_starves_the_front() -> None:
    alarms = Alarms(DEEP, optimizer="SGD")
    [event] = [e for r in falling(8, [1.0] * 20, STARVED) for e in alarms.feed(r)]
    assert (event.step, event.name) == (9, "depth-decay")
    assert event.where[0] == "0.weight"
    # Medians of the outer thirds: 8 decades times 14/19, the distance of their middles.
    assert event.evidence["decades"] == pytest.approx(8 * 14 / 19, abs=0.5)


def test_growth_towards_the_input_is_the_mirror_image() -> None:
    alarms = Alarms(DEEP, optimizer="SGD")
    readings = falling(-8, [1.0] * 20, STARVED[::-1])
    assert told(alarms, readings) == [(9, "alarm", "depth-growth")]


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e9])
def test_the_scale_of_the_loss_does_not_matter(scale: float) -> None:
    readings = falling(8, [1.0] * 20, STARVED)
    for one in readings:
        one.values["gradient_l2"] *= np.float32(scale)
        one.values["gradient_abs_max"] *= np.float32(scale)
    assert told(Alarms(DEEP, optimizer="SGD"), readings) == [(9, "alarm", "depth-decay")]


def test_large_weights_before_a_norm_have_small_gradients_and_are_fine() -> None:
    weights = 10 ** np.linspace(8, 0, 20)
    assert told(Alarms(DEEP), falling(8, weights, [1e-3] * 20)) == []


def test_an_optimizer_that_makes_up_for_the_fall_leaves_no_consequence() -> None:
    assert told(Alarms(DEEP, optimizer="Adam"), falling(8, [1.0] * 20, [1e-3] * 20)) == []


def test_one_step_down_is_no_slope_over_depth() -> None:
    readings = falling(8, [1.0] * 20, STARVED)
    for one in readings:
        for name in ("gradient_l2", "gradient_abs_max"):
            one.values[name] = np.float32([1e-8] * 10 + [1.0] * 10)
    assert told(Alarms(DEEP), readings) == []


# --- hints ---------------------------------------------------------------------------------------


def test_a_deep_look_makes_an_alarm_of_what_the_readings_agree_with() -> None:
    alarms = Alarms(CHAIN)
    missing = [math.nan] * 4 + [1.0] * 4
    assert told(alarms, [reading(s, missing, loss=1.0) for s in range(30)]) == []
    alarms.hint("detached", ("0", "1.weight"))
    [event] = alarms.feed(reading(30, missing, loss=1.0))
    assert (event.name, event.severity, event.where) == ("detached", "broken", ("0", "1.weight"))
    assert event.evidence["onset"] == 0
    assert event.evidence["tensors"] == 3
    assert told(alarms, [reading(s, loss=1.0) for s in range(31, 100)]) == [
        (80, "cleared", "detached")
    ]


def test_a_deep_look_that_the_readings_contradict_is_no_alarm() -> None:
    alarms = Alarms(CHAIN)
    told(alarms, quiet(30))
    alarms.hint("detached", ("0",))
    alarms.hint("not-in-optimizer", ("nowhere",))
    alarms.hint("no such finding", ())
    assert told(alarms, quiet(1)) == []


def test_a_deep_look_names_the_place_and_the_cause() -> None:
    alarms = Alarms(CHAIN)
    zero = [reading(s, [0.0] * 4 + [1.0] * 4, loss=1.0) for s in range(20)]
    told(alarms, zero)
    alarms.hint("dead-units", ("1.relu",))
    alarms.hint("unscaled-input", ("0",))
    told(alarms, zero[:1])
    [event] = alarms.active
    assert event.where == ("1.relu",)
    assert event.detail.startswith("because of unscaled-input")


def after(losses: list[float], update: float) -> list[Event]:
    """The updates are read at the first step alone, as in a large net with little time for it."""
    alarms = Alarms(CHAIN, optimizer="SGD")
    events: list[Event] = []
    for step, loss in enumerate(losses):
        updates = [update] * 8 if step == 0 else None
        told = reading(step, updates=updates, weights=[0.5] * 8, loss=loss, learning_rate=10.0)
        events += alarms.feed(told)
    return events


# Of a detector at a thousand times its rate, in two trainings: it ends by finding nothing at all.
GONE = [2.019, 23.14, 67.82, 3945, 18890, 5e-5, 5e-10, 4e-6, 2e-10, 2e-9, 1e-5, 2e-11, 1e-11]
SHAKEN = [1.305, 0.03158, 0.3104, 35.45, 896.2, 917.2, 484.2, 245.1, 1353, 4.7e5, 6e-4, 1e-5, 9e-13]


@pytest.mark.parametrize("scale", [1.0, 1e-9, 1e9])
@pytest.mark.parametrize("course", [GONE, SHAKEN])
def test_a_loss_that_is_tossed_about_is_named_wherever_it_ends(
    course: list[float], scale: float
) -> None:
    [event] = after([scale * loss for loss in course], 5.0)
    assert (event.name, event.severity) == ("step-too-large", "broken")
    assert event.step <= 12
    assert "the loss is another one after every step" in event.detail


@pytest.mark.parametrize("course", [GONE, SHAKEN])
def test_tossing_begins_with_the_step_that_was_the_first_to_toss(course: list[float]) -> None:
    calm = [1.6 - 0.01 * step for step in range(60)]
    alarms, events = Alarms(CHAIN, optimizer="SGD"), list[Event]()
    for step, loss in enumerate([*calm, *course[3:]]):
        rate = 0.1 if step < 59 else 100.0
        told = reading(
            step, updates=[rate / 10] * 8, weights=[0.5] * 8, loss=loss, learning_rate=rate
        )
        events += alarms.feed(told)
    [event] = [event for event in events if event.severity == "broken"]
    assert event.evidence["onset"] == event.evidence["learning_rate_step"] == 59


# Of a net that has learned to tell five classes apart, by SGD with momentum at a brisk rate.
FITTED = [1.58, 1.62, 1.49, 1.37, 1.01, 0.61, 0.24, 0.29, 0.15, 0.27, 0.063, 0.36, 9e-3, 3e-4, 2e-5]
FITTED += [0.18, 0.01, 4e-4, 1e-5, 4e-6, 0.5, 4e-5, 0.06, 5e-4, 0.05, 0.42, 3e-3, 0.96, 1e-5, 8e-6]
FITTED += [5e-7, 1e-6, 1e-3, 2e-7, 0.5, 0.17, 0.33, 1e-4, 0.6, 0.2, 0.08, 0.01, 4e-6, 3e-4, 0.13]
FITTED += [7e-6, 1e-5, 0.52, 1.38, 0.65, 0.21, 0.3, 0.01, 0.82, 0.64, 0.12, 2e-6, 0.5, 3e-8, 0.01]
TURNS = [3e-4 if step % 2 else 5.0 / (step + 1) for step in range(19)]
SPIKES = [1e5 if step in (4, 9) else 2.0 - step / 20 for step in range(19)]


@pytest.mark.parametrize(
    ("losses", "update"),
    [
        (GONE, 1e-3),  # the weights stayed: the data, or a loss near zero, did it
        (FITTED, 5.0),  # every decade of it lies below what the net began with
        (TURNS, 5.0),
        (SPIKES, 5.0),
        ([0.5**step for step in range(19)], 5.0),  # as fast as a step of Newton's, and down
        ([1e4 if step > 8 else 1 - step / 20 for step in range(15)], 5.0),  # multiplied by somebody
    ],
)
def test_a_loss_that_only_looks_tossed_about_is_no_alarm(
    losses: list[float], update: float
) -> None:
    assert after(losses, update) == []


# Of a net of three layers at a thousand times its rate: it comes back to where it began, with nothing.
THROWN = [1.15, 169.7, 34.4, 117.2, 48.2, 33.6, 11.3, 12.2, 2.1, 3.6, 1.5, 24.0, 1.7, 5.4, 2.1]
BACK = [1.2, 3.2, 1.3, 2.4, 1.3, 1.5, 7.5, 1.16, 1.5, 1.4, 1.3, 1.4, 1.2, 1.19, 1.4, 1.6, 2.0, 1.19]


def test_a_loss_that_was_thrown_up_and_came_back_to_the_start_alone() -> None:
    [event] = after([*THROWN, *BACK], 5.0)
    assert (event.name, event.severity) == ("step-too-large", "broken")
    assert "stands above the one it began with" in event.detail


@pytest.mark.parametrize(
    ("losses", "update"),
    [
        ([*THROWN, *BACK], 1e-3),  # the weights stayed
        ([*THROWN, *(0.9 * loss for loss in BACK[:1] * 18)], 5.0),  # it learns after all
        ([1.15, *(1.15 + 0.1 * (step % 3 - 1) for step in range(30))], 5.0),  # noise
    ],
)
def test_a_loss_that_came_back_below_the_start_or_never_left_it(
    losses: list[float], update: float
) -> None:
    assert after(losses, update) == []


def dying(losses: list[float], update: float, alive: int = 8) -> dict[str, Event]:
    """All gradients but the last one end after so many steps."""
    alarms = Alarms(CHAIN, optimizer="Adam")
    for step, loss in enumerate(losses):
        gradients = [1.0 if step < alive else 0.0] * 7 + [1.0]
        updates = [update] * 8 if step == 0 else None
        told = reading(step, gradients, updates=updates, loss=loss, learning_rate=1.0)
        alarms.feed(told)
    return {event.name: event for event in alarms.active}


def test_layers_that_died_of_the_steps_before() -> None:
    named = dying([1.1] * 30, update=5.0)
    assert named["step-too-large"].severity == "broken"
    assert "no gradient any more since step 8" in named["step-too-large"].detail
    assert named["dead-units"].detail.startswith("follows from step-too-large")


def test_layers_that_died_of_something_else() -> None:
    assert set(dying([1.1] * 30, update=1e-3)) == {"dead-units"}
    # The loss has fallen all the same: large steps were not what stopped it.
    assert "step-too-large" not in dying([1.1 * 0.9**step for step in range(30)], update=5.0)


# --- a NaN after large steps ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "updates", "blamed"),
    [
        # The first steps are large, as they may be; the loss falls over them; then a batch of NaN.
        ([1.0, 0.6, 0.4, 0.3, 0.2, 0.15], [0.5, 0.3, 0.2, 0.1, 0.1, 0.1], False),
        # The loss runs away before it overflows.
        ([1.0, 3.0, 50.0, 900.0, 3e4, 1e7], [0.5] * 6, True),
        # One step that is larger than all before.
        ([1.0, 0.9, 0.8, 0.7, 0.6, 0.5], [0.3, 0.3, 0.3, 0.3, 0.3, 300.0], True),
    ],
)
def test_who_is_blamed_for_a_nan(losses: list[float], updates: list[float], blamed: bool) -> None:
    alarms = Alarms(CHAIN, optimizer="SGD")
    for step, (loss, update) in enumerate(zip(losses, updates, strict=True)):
        fed = reading(step, updates=[update] * 8, weights=[0.5] * 8, loss=loss, learning_rate=0.1)
        assert not [event for event in alarms.feed(fed) if event.severity == "broken"]
    bad = reading(len(losses), nonfinite=[4] * 8, loss=float("nan"), learning_rate=0.1)
    named = [event.name for event in alarms.feed(bad) if event.severity != "note"]
    assert named == ["step-too-large" if blamed else "nonfinite-forward"]
