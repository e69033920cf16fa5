"""The lab: its nets, data, pictures and lessons against what torch and closed forms say."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from unvanish.lab.adopting import adopted
from unvanish.lab.breaking import BREAKAGES, broken
from unvanish.lab.data import BATCH, loss_of, samples
from unvanish.lab.expectation import depth_decades, time_decades
from unvanish.lab.lessons import GUIDED
from unvanish.lab.looking import hidden_weights
from unvanish.lab.measure import measure
from unvanish.lab.nets import Reader, build
from unvanish.lab.settings import CHOICES, MOST_WORK, RANGES, Settings, first_settings, read
from unvanish.lab.training import Training
from unvanish.lessons import ALL
from unvanish.recording.layout import to_json
from unvanish.surgery import Edit, Part

POINTS = Settings(data="circles", depth=8, width=16)


def by_autograd(settings: Settings) -> list[float]:
    """log10 of the gradient at every layer's output, of plain layers, by retain_grad in float64."""
    inputs, targets = samples(settings)
    net = build(settings).double()
    signal, seen = inputs[:BATCH].double(), []
    for layer in net.children():
        signal = layer(signal)
        signal.retain_grad()
        seen.append(signal)
    loss_of(settings)(signal, targets[:BATCH]).backward()
    return [math.log10(float(one.grad.norm())) for one in seen]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"activation": "relu", "initialisation": "large"},
        {"activation": "tanh", "initialisation": "small"},
        {"activation": "gelu", "norm": "batch"},
        {"activation": "silu", "norm": "layer", "skip": "sum"},
        {"activation": "prelu", "skip": "gated", "initialisation": "he"},
        {"activation": "ours", "initialisation": "orthogonal"},
    ],
    ids=str,
)
def test_the_profile_is_what_autograd_says(change: dict[str, object]) -> None:
    settings = replace(POINTS, **change)
    rows = measure(settings)["depth"]
    truth = by_autograd(settings)
    assert len(rows) == settings.depth + 1
    # Behind a skip the ledger reads the sum, which is what the block gives out.
    assert [row["level"] for row in rows] == pytest.approx(truth, abs=1e-3)


def test_the_profile_over_time_is_what_autograd_says() -> None:
    settings = Settings(cell="lstm", data="circles", width=8, steps=12)
    inputs, targets = samples(settings)
    read_from = inputs[:BATCH].clone().requires_grad_()
    loss_of(settings)(build(settings)(read_from), targets[:BATCH]).backward()
    truth = read_from.grad.norm(dim=(0, 2)).log10().tolist()
    assert measure(settings)["time"]["levels"] == pytest.approx(truth, abs=1e-3)


def test_theory_agrees_with_closed_forms() -> None:
    inputs = torch.randn(64, 400, generator=torch.Generator().manual_seed(0))
    weights = [torch.randn(400, 400, generator=torch.Generator().manual_seed(s)) for s in range(6)]
    he = [weight * math.sqrt(2 / 400) for weight in weights]
    net = replace(POINTS, activation="relu", depth=6)

    def factor(change: dict[str, str]) -> float:
        return 10 ** (2 * depth_decades(replace(net, **change), he, inputs)[-1])

    assert factor({}) == pytest.approx(1.0, abs=0.02)
    assert factor({"norm": "batch"}) == pytest.approx(math.pi / (math.pi - 1), abs=0.01)
    assert factor({"norm": "layer"}) == pytest.approx(1.0, abs=0.01)
    assert factor({"skip": "sum"}) == pytest.approx(2.0, abs=0.02)


def test_theory_of_gates_is_the_power_of_the_gate() -> None:
    settings = Settings(cell="lstm", data="circles", width=8, steps=30)
    net = build(settings)
    assert isinstance(net, Reader)
    found = time_decades(settings, net.cell, samples(settings)[0])
    assert found[0] == pytest.approx(29 * math.log10(0.5))
    assert found[-1] == 0


@pytest.mark.parametrize("cell", ["none", "rnn"])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "selu"])
def test_theory_comes_near_the_measurement(cell: str, activation: str) -> None:
    kind = "he" if activation == "relu" else "xavier"
    settings = Settings(
        data="digits", cell=cell, activation=activation, initialisation=kind, width=64, depth=20
    )
    answer = measure(settings)
    if cell == "none":
        first = answer["depth"][0]
        assert first["theory"] == pytest.approx(first["level"], abs=0.06 * settings.depth)
    else:
        assert answer["time"]["theory"][0] == pytest.approx(answer["time"]["levels"][0], abs=2.0)


def test_units_are_counted_where_they_stand() -> None:
    settings = replace(POINTS, activation="tanh", depth=3)
    inputs, _ = samples(settings)
    net = build(settings)
    second = net.get_submodule("layer1")(inputs[:BATCH])
    values = net.get_submodule("layer2.linear")(second).detach().double()
    units = measure(settings)["units"][1]
    assert units["mean"] == pytest.approx(float(values.mean()), abs=1e-5)
    assert units["rms"] == pytest.approx(float(values.square().mean().sqrt()), rel=1e-4)
    right = sum(units["shares"][32:])
    assert right == pytest.approx(float((values >= 0).double().mean()), abs=2e-3)


def test_update_to_weight_is_the_step_over_the_weight() -> None:
    settings = replace(POINTS, activation="tanh", depth=3, optimizer="sgd", rate=0.1)
    inputs, targets = samples(settings)
    net = build(settings)
    loss_of(settings)(net(inputs[:BATCH]), targets[:BATCH]).backward()
    weight = net.get_parameter("layer1.linear.weight")
    truth = 0.1 * float(weight.grad.norm() / weight.detach().norm())
    assert measure(settings)["depth"][0]["update"] == pytest.approx(truth, rel=1e-3)


def test_the_state_of_the_process_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for settings in (POINTS, replace(POINTS, initialisation="ours"), replace(POINTS, cell="gru")):
        measure(settings)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rule", CHOICES["initialisation"])
def test_weights_have_the_size_that_the_rule_says(rule: str) -> None:
    weight = hidden_weights(build(replace(POINTS, width=128, depth=2, initialisation=rule)))
    size = float(weight["layer2.linear.weight"].detach().std()) * math.sqrt(128)
    expected = {"small": 0.3, "large": 3.0, "xavier": 1.0, "he": math.sqrt(2), "orthogonal": 1.0}
    if rule in expected:
        assert size == pytest.approx(expected[rule], rel=0.05)


def test_the_adding_task_adds_two_marked_numbers() -> None:
    settings = Settings(cell="rnn", data="adding", steps=10)
    inputs, targets = samples(settings)
    values = inputs[:, :, 0] / math.sqrt(12) + 0.5
    marks = inputs[:, :, 1]
    assert (marks.sum(1) == 2).all()
    sums = (values * marks).sum(1)
    assert torch.allclose(targets.squeeze(1), (sums - 1) * math.sqrt(6), atol=1e-5)
    assert float(targets.mean()) == pytest.approx(0, abs=0.15)
    assert float(targets.std()) == pytest.approx(1, abs=0.1)


def test_all_of_a_picture_goes_through_time() -> None:
    flat, _ = samples(Settings(data="digits"))
    for steps in (2, 7, 64, 100):
        in_time, _ = samples(Settings(data="digits", cell="rnn", steps=steps))
        assert in_time.shape[1] == steps
        assert torch.equal(in_time.flatten(1)[:, :64], flat)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", "201"),
        ("depth", "0"),
        ("depth", "2.5"),
        ("depth", "1e400"),
        ("depth", "nan"),
        ("width", "-3"),
        ("width", "١٦"),
        ("rate", "inf"),
        ("rate", ""),
        ("clip", "__import__('os')"),
        ("activation", "<img src=x onerror=alert(1)>"),
        ("activation", "torch.nn.ReLU"),
        ("cell", "../../etc/passwd"),
        ("seed", "9" * 5000),
        ("data", "digits\x00"),
        ("norm", "none; rm -rf"),
    ],
)
def test_a_hostile_link_gives_the_default_and_one_short_sentence(name: str, value: str) -> None:
    settings, said = read({"width": "8", name: value, "unknown": "x" * 9999})
    first = first_settings()
    assert getattr(settings, name) == getattr(first, name)
    assert len(said) == 1
    assert len(said[0]) < 200


def test_a_link_restores_every_slider() -> None:
    settings = Settings(
        cell="gru",
        depth=7,
        width=9,
        steps=11,
        activation="relu",
        initialisation="large",
        norm="layer",
        skip="sum",
        optimizer="adam",
        rate=0.25,
        clip=2.5,
        data="spirals",
        seed=3,
    )
    link = {name: str(value) for name, value in settings.as_query().items()}
    assert read(link) == (settings, ())


def test_no_net_is_larger_than_a_small_machine_looks_through() -> None:
    settings, said = read({"depth": "200", "width": "128"})
    assert settings.depth * settings.width**2 <= MOST_WORK
    assert len(said) == 1


@pytest.mark.parametrize("cell", CHOICES["cell"])
@pytest.mark.parametrize("data", CHOICES["data"])
def test_every_choice_gives_a_net_and_strict_json(cell: str, data: str) -> None:
    for choice in ("norm", "skip", "activation"):
        for value in CHOICES[choice] if cell == "none" and data == "circles" else ("none", "tanh"):
            if value in CHOICES[choice]:
                settings = replace(POINTS, cell=cell, data=data, depth=2, width=4, steps=3)
                answer = measure(replace(settings, **{choice: value}))
                json.loads(to_json(answer), parse_constant=pytest.fail)


@pytest.mark.parametrize("name", ["depth", "width", "steps", "rate", "clip", "seed"])
def test_both_ends_of_every_slider_work(name: str) -> None:
    for end in RANGES[name]:
        value = end if name in ("rate", "clip") else int(end)
        base = POINTS if name != "steps" else replace(POINTS, cell="rnn", activation="tanh")
        if name == "depth" and end > 100:
            base = replace(base, width=4)
        assert measure(replace(base, **{name: value}))["parameters"] > 0


def test_the_first_thing_seen_is_a_gradient_that_vanishes() -> None:
    answer = measure(first_settings())
    assert answer["verdict"]["severity"] == "broken"
    assert answer["findings"][0]["name"] == "depth-decay"
    levels = [row["level"] for row in answer["depth"][:-1]]
    assert levels[-1] - levels[0] > 6
    assert all(low < high for low, high in pairwise(levels))


def first_level(settings: Settings) -> float:
    answer = measure(settings)
    return answer["time"]["levels"][0] if answer["time"] else answer["depth"][0]["level"]


SHOWN = {
    "update-rule": lambda before, after: abs(after - before) < 1e-6,
    "depth": lambda before, after: -7 < before < -5 and -6.8 < after - before < -5.4,
    "quarter-and-one": lambda before, after: before < -10 and after > -2,
    "initialisation": lambda before, after: before < -12 and after > -1.5,
    "explosion": lambda before, after: before < 0 and after > 1,
    "batch-norm": lambda before, after: before < 0 and 3 < after < 5,
    "skip": lambda before, after: before < -25 and after > -1.5,
    "flat-and-untrainable": lambda before, after: after - before > -2,
    "lstm-alone": lambda before, after: after < before - 5,
    "open-gates": lambda before, after: before < -10 and after > -4,
    "clipping": lambda before, after: before > 5 and after == before,
    "xavier-and-he": lambda before, after: 2.5 < after - before < 3.5,
    "critical": lambda before, after: before < -12 and after > -0.5,
    "two-hundred": lambda before, after: after - before > 1,
    "saturation": lambda before, after: before < 0 and after < 0,
    "leaky": lambda before, after: 0 < after - before < 0.7,
    "silu": lambda before, after: -3 < after - before < -1.5,
    "tailored": lambda before, after: before < after < 0,
    "norm-and-skip": lambda before, after: before > 3 and after < 1.5,
    "gated": lambda before, after: before > 20 and after < 1.5,
}


@pytest.mark.parametrize("lesson", GUIDED, ids=lambda lesson: lesson.name)
def test_a_lesson_shows_what_its_right_answer_says(lesson: object) -> None:
    assert SHOWN[lesson.name](first_level(lesson.start), first_level(lesson.after))
    assert 0 <= lesson.question.right < len(lesson.question.choices)
    assert lesson.finding in {one.page for one in ALL} | {""}


def test_large_weights_drive_the_units_to_the_flat_ends() -> None:
    page = next(one for one in GUIDED if one.name == "saturation")
    slopes = [measure(state)["depth"][1]["slope"] for state in (page.start, page.after)]
    assert slopes[1] < 0.65 * slopes[0]


@pytest.mark.parametrize("name", ["two-hundred", "tailored"])
def test_samples_that_look_alike_stay_apart_afterwards(name: str) -> None:
    page = next(one for one in GUIDED if one.name == name)
    assert measure(page.start)["findings"][0]["name"] == "collapsed-signal"
    assert "collapsed-signal" not in [one["name"] for one in measure(page.after)["findings"]]


def test_a_level_gradient_with_collapsed_samples_is_found() -> None:
    lesson = next(one for one in GUIDED if one.name == "flat-and-untrainable")
    names = [finding["name"] for finding in measure(lesson.after)["findings"]]
    assert names == ["collapsed-signal"]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.name)
def test_every_breakage_breaks_a_healthy_net(breakage: object) -> None:
    recurrent = breakage.change.get("cell") != "none"
    healthy = Settings(
        activation="tanh",
        depth=5,
        steps=8,
        data="digits",
        initialisation="ours" if recurrent else "xavier",
        cell="rnn" if recurrent else "none",
    )
    assert measure(healthy)["verdict"]["severity"] == "good"
    assert measure(breakage.made(healthy))["verdict"]["severity"] in ("broken", "harmful")


def test_breaking_goes_around() -> None:
    settings, seen = replace(POINTS, activation="tanh"), []
    name = ""
    for _ in range(7):
        settings, breakage = broken(settings, name)
        name = breakage.name
        seen.append(name)
    assert len(set(seen)) == 5
    assert not settings.recurrent


def test_a_cure_moves_the_sliders_that_stand_for_it() -> None:
    places = ["layer1.activation", "layer2.activation"]
    edits = [
        Edit(action="initialise", options={"method": "critical_"}),
        Edit(action="optimizer", options={"lr_factor": 0.1}),
        Edit(action="step", options={"clip_norm": 1.0}),
    ]
    after, left = adopted(POINTS, edits, places)
    assert (after.initialisation, after.clip, left) == ("ours", 1.0, ())
    assert after.rate == pytest.approx(POINTS.rate / 10)
    relu = Part(type="torch.nn.ReLU")
    swapped = [Edit(action="replace", where=(place,), part=relu) for place in places]
    assert adopted(POINTS, swapped, places) == (replace(POINTS, activation="relu"), ())


def test_a_cure_that_no_slider_stands_for_is_kept_whole() -> None:
    edits = [
        Edit(action="initialise", options={"method": "critical_"}),
        Edit(action="wrap", where=("layer2", "layer3"), options={"kind": "rezero"}),
        Edit(action="optimizer", options={"lr": 0.5}),
    ]
    after, left = adopted(POINTS, edits, [])
    assert after == replace(POINTS, rate=0.5)
    assert left == (edits[0], edits[1])
    plain, cured = measure(POINTS), measure(after, left)
    assert cured["parameters"] == plain["parameters"] + 1  # the gate
    assert cured["rate"] == 0.5


def test_a_training_learns_and_says_how_far_each_layer_moved() -> None:
    settings = Settings(data="circles", depth=2, width=16, activation="tanh", rate=0.1)
    training = Training(settings)
    before = {name: w.detach().clone() for name, w in training.weights.items()}
    messages = list(training.run())
    first, told, last = messages[0], messages[1:-1], messages[-1]
    assert first["guess"] == pytest.approx(math.log(2), abs=0.01)
    assert last["done"] == "finished"
    assert last["score"] > 0.9
    assert told[-1]["loss"] < 0.3 < told[0]["loss"]
    again = Training(settings)
    batch = again._batch(0)
    again.net.zero_grad()
    again.loss(again.net(batch[0]), batch[1]).backward()
    for moved, (name, weight) in zip(told[0]["layers"], again.weights.items(), strict=True):
        assert torch.equal(weight, before[name])
        truth = settings.rate * float(weight.grad.norm() / weight.detach().norm())
        assert moved == pytest.approx(truth, rel=1e-4)


def test_a_training_without_gradient_stays_at_the_guess() -> None:
    messages = list(Training(replace(first_settings(), depth=12, width=12)).run())
    assert messages[-2]["loss"] > 0.9 * messages[0]["guess"]
    assert messages[5]["layers"][0] < 1e-6 < messages[5]["layers"][-1]


def test_a_training_that_diverges_says_so_and_ends() -> None:
    settings = Settings(
        data="adding",
        depth=6,
        width=8,
        steps=4,
        activation="relu",
        initialisation="large",
        rate=10.0,
    )
    messages = list(Training(settings).run())
    assert messages[-1]["done"] == "diverged"
    for message in messages:
        json.loads(to_json(message), parse_constant=pytest.fail)


def test_clipping_bounds_the_step() -> None:
    settings = Settings(
        cell="rnn", data="circles", activation="tanh", initialisation="large", steps=40, width=16
    )
    clipped = replace(settings, clip=0.1, optimizer="sgd", rate=1.0)
    training = Training(clipped)
    before = [p.detach().clone() for p in training.net.parameters()]
    training._step(training._batch(0), told=True)
    moved = nn.utils.get_total_norm(
        [p.detach() - old for p, old in zip(training.net.parameters(), before, strict=True)]
    )
    assert float(moved) == pytest.approx(0.1, rel=1e-3)
