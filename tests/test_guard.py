"""Each policy against calculations by hand, and that none changes a bit while it does not act."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from guarded import Batch, Loop, moment, same, state_of, updated
from torch import Tensor, nn

from unvanish import guard
from unvanish.errors import BadInput
from unvanish.guard import (
    AGC,
    POLICIES,
    AutoClip,
    LayerBalance,
    LossScaleRescue,
    RateBackOff,
    RollBack,
    SkipNonfinite,
    ZClip,
)
from unvanish.guard.policy import Moment
from unvanish.guard.reduced_rate import ReducedRate
from unvanish.guard.trend import LossTrend
from unvanish.recording import Event, StepReading


def blobs(seed: int, count: int = 32) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (count,), generator=draw)
    centres = torch.tensor([[3.0, 0, 0, 0], [0, 3.0, 0, 0], [0, 0, 3.0, 0]])
    return centres[targets] + torch.randn(count, 4, generator=draw), targets


def net(norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    middle = nn.BatchNorm1d(16) if norm else nn.Identity()
    return nn.Sequential(nn.Linear(4, 16), middle, nn.Tanh(), nn.Linear(16, 3))


def sgd(model: nn.Module, rate: float = 0.1, **more: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, **more)


def given(*gradients: Tensor | None, weights: list[Tensor] | None = None) -> dict[str, Tensor]:
    parameters: dict[str, Tensor] = {}
    for i, gradient in enumerate(gradients):
        weight = weights[i] if weights else torch.ones_like(gradient) if gradient is not None else 0
        parameter = nn.Parameter(weight if isinstance(weight, Tensor) else torch.ones(2))
        parameter.grad = gradient
        parameters[f"layer{i}.weight"] = parameter
    return parameters


def grad(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


# While nothing is wrong.

QUIET: dict[str, Any] = {
    "agc": lambda: AGC(share=1e6),  # at its defaults it acts in healthy trainings too, and says so
    "autoclip": lambda: AutoClip(percent=100),
    "zclip": lambda: ZClip(z_most=1e6),
}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_policy_that_does_not_act_changes_no_bit(name: str, kind: str) -> None:
    def trained(policies: list[guard.Policy]) -> tuple[Loop, Any]:
        model = net(norm=True)
        rate = 0.05
        optimizer = (
            sgd(model, rate) if kind == "sgd" else torch.optim.Adam(model.parameters(), 0.01)
        )
        loop = Loop(model, optimizer, policies)
        for step in range(120):
            loop.take(blobs(step))
        loop.close()
        return loop, state_of(model, optimizer)

    plain, expected = trained([])
    policy = QUIET.get(name, POLICIES[name])()
    loop, found = trained([policy])
    assert not loop.acts
    assert loop.losses == plain.losses
    assert same(found, expected)


@pytest.mark.parametrize("name", POLICIES)
def test_none_and_empty_gradients_and_no_parameters_are_nothing_to_act_on(name: str) -> None:
    policy = guard.by_name(name)
    lone = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([lone], lr=0.1)
    for step in range(30):
        parameters = given(None, torch.zeros(0), torch.zeros(3, 2))
        at = moment(parameters, torch.optim.SGD(list(parameters.values()), lr=0.1), step=step)
        policy.before_step(at)
        policy.after_step(at)
        empty = moment({}, optimizer, step=step)
        policy.before_step(empty)
        assert not at.skip
        assert not empty.skip
    policy.close()


@pytest.mark.parametrize("name", ["skip-nonfinite", "agc", "autoclip", "zclip", "layer-balance"])
def test_sharded_parameters_are_left_alone_and_it_is_said_once(name: str) -> None:
    policy = guard.by_name(name)
    said = []
    for step in range(40):
        parameters = given(torch.full((4, 4), 1e9 if step > 30 else 1.0))
        at = moment(parameters, step=step)
        at.reading = StepReading(
            step=step, seconds=0.0, stage="unscaled unclipped local-shard", values=at.reading.values
        )
        policy.before_step(at)
        said += at.acts
        assert float(grad(parameters["layer0.weight"]).max()) in (1.0, 1e9)
    assert len(said) == 1
    assert "sharded" in said[0].detail


def test_only_the_parameters_of_the_stepping_optimizer_are_touched() -> None:
    parameters = given(torch.full((3, 3), 100.0), torch.full((3, 3), 100.0), torch.ones(3, 3))
    own = torch.optim.SGD([parameters["layer0.weight"], parameters["layer2.weight"]], lr=0.1)
    AGC(share=0.1).before_step(moment(parameters, own))
    assert float(grad(parameters["layer0.weight"]).max()) < 1
    assert float(grad(parameters["layer1.weight"]).max()) == 100


# Skipping.


def test_one_nan_batch_is_skipped_and_running_statistics_come_back() -> None:
    model = net(norm=True)
    policy = SkipNonfinite()
    loop = Loop(model, sgd(model, 0.05), [policy])
    for step in range(10):
        loop.take(blobs(step))
    weights, _ = state_of(model, loop.optimizer)
    inputs, targets = blobs(99)
    loop.take((inputs * math.nan, targets))
    after, _ = state_of(model, loop.optimizer)
    assert loop.skipped == [10]
    assert all(same(after[n], weights[n]) for n in weights if "num_batches" not in n)
    loop.take(blobs(11))
    assert math.isfinite(loop.losses[-1])
    assert policy.skipped == 1
    assert loop.acts[0][1].evidence["buffers_restored"] == 2


def test_a_training_that_is_only_skipped_is_stopped() -> None:
    policy = SkipNonfinite(most=3)
    for step in range(3):
        at = moment(given(torch.tensor([1.0, math.inf])), step=step)
        policy.before_step(at)
        assert at.skip
    at = moment(given(torch.tensor([1.0, math.nan])), step=3)
    with pytest.raises(guard.TrainingStopped, match=r"4 steps in a row.*layer0\.weight"):
        policy.before_step(at)
    assert at.acts


def test_good_steps_between_start_the_count_anew_and_a_scaler_has_its_own_way() -> None:
    policy = SkipNonfinite(most=1)
    for step in range(10):
        policy.before_step(moment(given(torch.tensor([math.nan if step % 2 else 1.0])), step=step))
    assert policy.skipped == 5
    at = moment(given(torch.tensor([math.nan])), scaler=torch.amp.GradScaler("cpu"))
    SkipNonfinite().before_step(at)
    assert not at.skip
    policy = SkipNonfinite()
    off = torch.amp.GradScaler("cpu", enabled=False)
    policy.before_step(at := moment(given(torch.tensor([math.nan])), scaler=off))
    assert at.skip


# Clipping.


@pytest.mark.parametrize("scale", [1.0, 1024.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_agc_is_equation_3(dtype: torch.dtype, scale: float) -> None:
    draw = torch.Generator().manual_seed(1)
    weight = torch.randn(5, 3, 2, generator=draw)
    weight[2] = 0  # counts as 1e-3
    gradient = torch.randn(5, 3, 2, generator=draw) * torch.tensor([1, 0.01, 1, 5, 0]).view(5, 1, 1)
    w = weight.to(dtype).double().numpy()
    g = (gradient * scale).to(dtype).double().numpy() / scale
    expected = g.copy()
    for i in range(5):
        most = 0.1 * max(float(np.linalg.norm(w[i])), 1e-3)
        if np.linalg.norm(g[i]) > most:
            expected[i] *= most / np.linalg.norm(g[i])
    parameters = given((gradient * scale).to(dtype), weights=[weight.to(dtype)])
    at = moment(parameters, scale=scale)
    AGC(share=0.1, leave=[]).before_step(at)
    found = grad(parameters["layer0.weight"]).double().numpy() / scale
    close = {torch.float16: 2e-3, torch.bfloat16: 1e-2}.get(dtype, 1e-5)
    np.testing.assert_allclose(found, expected, rtol=close, atol=1e-7)
    assert at.acts[0].evidence["units"] == 3


def test_agc_leaves_the_last_layer_and_rows_that_are_not_finite() -> None:
    model = net()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 50.0)
    first = grad(model[0].weight)  # pyright: ignore[reportIndexIssue, reportArgumentType]
    first[3, 0] = math.inf
    AGC().before_step(moment(dict(model.named_parameters()), sgd(model)))
    assert float(grad(model[3].weight).min()) == 50  # pyright: ignore
    assert float(grad(model[3].bias).min()) == 50  # pyright: ignore
    assert float(grad(model[0].bias).max()) < 1  # pyright: ignore
    assert torch.equal(first[3], torch.tensor([math.inf, 50, 50, 50]))
    assert float(first[4].max()) < 1


@pytest.mark.parametrize("coalesced", [True, False])
def test_sparse_gradients_are_clipped_like_dense_ones(coalesced: bool) -> None:
    dense_model = nn.Embedding(6, 4)
    sparse_model = nn.Embedding(6, 4, sparse=True)
    sparse_model.load_state_dict(dense_model.state_dict())
    tokens = torch.tensor([1, 4, 1, 1, 5])
    for model in (dense_model, sparse_model):
        (model(tokens) * torch.arange(20.0).reshape(5, 4)).sum().backward()
    gradient = grad(sparse_model.weight)
    if coalesced:
        sparse_model.weight.grad = gradient.coalesce()
    for policy in (lambda: AGC(share=0.05, leave=[]), lambda: ready_autoclip(1.0)):
        for model in (dense_model, sparse_model):
            policy().before_step(moment({"weight": model.weight}, sgd(model)))
        torch.testing.assert_close(
            grad(sparse_model.weight).to_dense(), grad(dense_model.weight), rtol=1e-5, atol=1e-7
        )
    assert float(grad(dense_model.weight).norm()) < 1.05


def ready_autoclip(norm: float) -> AutoClip:
    policy = AutoClip(percent=50)
    for step in range(20):
        policy.before_step(moment(given(torch.tensor([norm])), step=step))
    return policy


@pytest.mark.parametrize("scale", [1.0, 64.0])
def test_autoclip_limits_to_the_percentile_of_all_norms_with_this_one(scale: float) -> None:
    policy = AutoClip(percent=80, warm_up=5)
    draw = np.random.default_rng(0)
    norms = []
    acted = 0
    for step in range(60):
        gradient = torch.from_numpy(draw.lognormal(size=(3, 2))).float()
        norms.append(float(gradient.double().norm()))
        parameters = given(gradient * scale)
        at = moment(parameters, step=step, scale=scale)
        policy.before_step(at)
        limit = float(np.percentile(norms, 80))
        wanted = min(norms[-1], limit) if step >= 5 else norms[-1]
        found = float(grad(parameters["layer0.weight"]).double().norm()) / scale
        assert found == pytest.approx(wanted, rel=1e-5)
        acted += len(at.acts)
    assert 5 < acted < 25


def test_autoclip_forgets_beyond_its_history() -> None:
    policy = AutoClip(percent=50, history=4, warm_up=0)
    for step, norm in enumerate([100.0, 100.0, 1.0, 1.0, 1.0, 1.0, 9.0]):
        at = moment(given(torch.tensor([norm])), step=step)
        policy.before_step(at)
    assert at.acts[0].evidence["limit"] == 1.0  # pyright: ignore[reportPossiblyUnboundVariable]


def test_zclip_is_the_papers_formula_and_its_spike_teaches_nothing() -> None:
    policy = ZClip()
    draw = np.random.default_rng(0)
    first = draw.normal(2.0, 0.1, 25)
    for step, norm in enumerate(first):
        policy.before_step(moment(given(torch.tensor([float(norm)])), step=step))
    mean, deviation = float(np.mean(first)), float(np.std(first))
    for step, norm in enumerate([2000.0, 2.05, 2000.0]):
        parameters = given(torch.tensor([norm]))
        at = moment(parameters, step=25 + step)
        policy.before_step(at)
        z = (norm - mean) / deviation
        wanted = mean + 2.5**2 / z * deviation if z > 2.5 else norm
        assert float(grad(parameters["layer0.weight"])) == pytest.approx(wanted, rel=1e-4)
        assert len(at.acts) == (1 if norm > 1000 else 0)
        mean = 0.97 * mean + 0.03 * wanted
        deviation = math.sqrt(0.97 * deviation**2 + 0.03 * (wanted - mean) ** 2)


@pytest.mark.parametrize("name", ["autoclip", "zclip"])
def test_nonfinite_gradients_are_neither_clipped_nor_remembered(name: str) -> None:
    policy = guard.by_name(name)
    for step in range(80):
        bad = step % 3 == 1
        parameters = given(torch.tensor([math.inf, 1.0] if bad else [1.0, 1.0]))
        at = moment(parameters, step=step)
        policy.before_step(at)
        assert not at.acts
        assert float(grad(parameters["layer0.weight"])[1]) == 1.0


def test_a_second_policy_reads_what_the_first_has_left() -> None:
    zclip = ZClip()
    for step in range(30):
        zclip.before_step(moment(given(torch.tensor([1.0 + step % 3 / 10])), step=step))
    parameters = given(torch.tensor([1000.0]))
    at = moment(parameters, step=30)
    AGC(share=1.0, leave=[]).before_step(at)
    zclip.before_step(at)
    assert float(grad(parameters["layer0.weight"])) == pytest.approx(1.0, rel=1e-5)
    assert [act.policy for act in at.acts] == ["agc"]


# Balance.


def test_layer_balance_brings_starved_and_flooded_layers_to_the_upper_quartile() -> None:
    policy = LayerBalance(band=10, warm_up=3)
    sizes = [1e-6, 0.5, 1.0, 2.0, 300.0]  # the first by no more than 1e4
    for step in range(8):
        parameters = given(*[torch.full((4, 4), size) for size in sizes])
        parameters["layer0.bias"] = nn.Parameter(torch.ones(4))
        parameters["layer0.bias"].grad = torch.full((4,), 2e-6)
        policy.before_step(at := moment(parameters, step=step))
    found = [float(grad(p).max()) for p in parameters.values()]  # pyright: ignore
    np.testing.assert_allclose(found, [0.01, 0.5, 1.0, 2.0, 2.0, 0.02], rtol=1e-5)
    assert not at.acts  # pyright: ignore  # said at the third step, and the same since


def test_layer_balance_does_not_overflow_half_precision() -> None:
    policy = LayerBalance(band=10, warm_up=1)
    sizes = [1e-4, 30.0, 30.0, 30.0]
    parameters = given(*[torch.full((4, 4), 512 * s, dtype=torch.float16) for s in sizes])
    parameters["layer0.weight"].grad[0, 0] = 20.0  # pyright: ignore
    policy.before_step(moment(parameters, scale=512.0))
    assert all(bool(torch.isfinite(grad(p)).all()) for p in parameters.values())


def test_adam_is_nearly_immune_to_layer_balance_and_sgd_is_not() -> None:
    def moved(kind: type[Any], policies: list[guard.Policy]) -> float:
        torch.manual_seed(0)
        model = nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(6)])
        with torch.no_grad():
            for part in list(model)[3:]:
                part[0].weight *= 0.02  # pyright: ignore
        start = model[0][0].weight.detach().clone()  # pyright: ignore
        loop = Loop(model, kind(model.parameters(), lr=1e-3), policies)
        for step in range(40):
            inputs, targets = blobs(step)
            loop.take((inputs, targets))
        return float((model[0][0].weight.detach() - start).norm())  # pyright: ignore

    balance = LayerBalance(band=10, warm_up=1)
    assert moved(torch.optim.SGD, [balance]) > 10 * moved(torch.optim.SGD, [])
    adam, guarded = (moved(torch.optim.Adam, p) for p in ([], [LayerBalance(band=10, warm_up=1)]))
    assert guarded == pytest.approx(adam, rel=0.25)


# Divergence.


def test_a_trend_tells_divergence_from_noise_whatever_scale_and_shift() -> None:
    draw = np.random.default_rng(0)
    falling = 2 * np.exp(-np.arange(200) / 60) + 0.1 * draw.standard_normal(200)
    falling[[50, 90, 91, 140]] += 30  # bad batches, two of them together
    for scale, shift in ((1.0, 0.0), (1e-6, 0.0), (1e4, -5e4)):
        trend = LossTrend()
        assert not any([trend.feed(scale * x + shift) for x in falling])
        up = [trend.feed(scale * (1.5 + i) + shift) for i in range(4)]
        assert up == [False, False, True, True]


def test_a_trend_of_equal_losses_and_a_jump() -> None:
    trend = LossTrend()
    assert not any(trend.feed(0.0) for _ in range(50))
    assert trend.feed(1.0) is False
    assert [trend.feed(1.0) for _ in range(2)] == [False, True]
    trend.judge_anew()
    assert not any(trend.feed(0.0) for _ in range(5))
    assert trend.outside == 0


def test_a_reduced_rate_is_held_returned_and_capped_when_it_fails_again() -> None:
    rate = ReducedRate(0.5, hold=5, back=10, lowest=1 / 256)
    rate.cut(1.0)
    assert [rate.advance(1.0) for _ in range(5)] == [0.5] * 5
    rising = [rate.advance(1.0) for _ in range(10)]
    np.testing.assert_allclose(np.diff(np.log(rising)), math.log(2) / 10)
    assert rate.advance(1.0) == 1.0
    rate.cut(1.0)
    assert rate.ceiling == 0.5
    assert max(rate.advance(1.0) for _ in range(100)) == 0.5
    # The user's own schedule goes below half of what failed: from there on it is followed.
    assert [rate.advance(0.25) for _ in range(20)][-1] == 1.0


def test_cuts_in_a_row_double_their_exponent() -> None:
    rate = ReducedRate(0.5, hold=5, back=10, lowest=1 / 256)
    factors = []
    for _ in range(4):
        rate.cut(1.0)
        factors.append(rate.advance(1.0))
    assert factors == [0.5, 0.125, 0.0078125, 1 / 256]


def test_back_off_lowers_the_rate_inside_the_step_only_and_returns_it() -> None:
    model = net()
    policy = RateBackOff(hold=10, back=20)
    loop = Loop(model, sgd(model, 0.05), [policy])
    for step in range(60):
        loop.take(blobs(step))
    with torch.no_grad():
        model[3].weight.mul_(-20)  # pyright: ignore  # the loss jumps, and comes down again
    for step in range(60):
        loop.take(blobs(100 + step))
    words = [act.detail for _, act in loop.acts]
    assert "diverges" in words[0]
    assert "user's own again" in words[-1]
    assert loop.optimizer.param_groups[0]["lr"] == 0.05
    at = loop.acts[0][0]
    assert loop.rates[at - 1] == 0.05
    assert loop.rates[at] == 0.025
    assert loop.rates[-1] == 0.05


def test_back_off_acts_on_an_alarm_and_lets_go_of_a_loss_that_stays_up() -> None:
    policy = RateBackOff(patience=30)
    alarm = Event(kind="alarm", name="step-too-large", step=3, seconds=0.0)
    at = moment(given(torch.ones(2)), alarms=(alarm,))
    policy.before_step(at)
    assert at.rate_factor == 0.5
    policy = RateBackOff(patience=30)
    said = []
    for step in range(120):
        draw = 1 + 0.01 * (step % 7) + (5.0 if step >= 50 else 0.0)
        policy.before_step(at := moment(given(torch.ones(2)), step=step, loss=draw))
        said += at.acts
    assert sum("let go" in act.detail or "usual from here" in act.detail for act in said) == 1
    assert [act.evidence.get("factor") for act in said] == [0.5, 0.125, 0.0078125, 1 / 256, None]


# Rolling back.


@pytest.mark.parametrize("where", ["memory", "disk"])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_roll_back_restores_weights_buffers_and_optimizer_bit_for_bit(
    kind: type[Any], where: str, tmp_path: Any
) -> None:
    model = net(norm=True)
    more = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    folder = tmp_path / "states" if where == "disk" else None
    policy = RollBack(every=20, folder=folder)
    kept: dict[int, Any] = {}

    def note(loop: Loop) -> None:
        kept[loop.step] = state_of(model, loop.optimizer)

    loop = Loop(model, kind(model.parameters(), lr=0.01, **more), [policy], after_backward=note)
    for step in range(50):
        loop.take(blobs(step))
    addresses = [p.data_ptr() for p in model.parameters()]
    with torch.no_grad():
        model[0].weight.fill_(math.nan)  # pyright: ignore
    loop.after_backward = None
    loop.take(blobs(50))
    assert loop.skipped == [50]
    assert loop.acts[-1][1].evidence["to_step"] == 40
    assert same(state_of(model, loop.optimizer), kept[40])
    assert [p.data_ptr() for p in model.parameters()] == addresses
    for step in range(51, 60):
        loop.take(blobs(step))
    assert math.isfinite(loop.losses[-1])
    assert loop.rates[51] == 0.005
    loop.close()
    assert folder is None or list(folder.iterdir()) == []


def test_roll_back_after_divergence_and_before_the_first_state() -> None:
    model = net()
    policy = RollBack(every=10, hold=5, back=10)
    loop = Loop(model, sgd(model, 0.02), [policy])
    for step in range(60):
        loop.take(blobs(step))
    level = max(loop.losses[-20:])
    with torch.no_grad():
        model[3].weight.mul_(-20)  # pyright: ignore
    for step in range(60, 70):
        loop.take(blobs(step))
    assert policy.returns == 1
    assert max(loop.losses[60:63]) > 20 * level
    assert max(loop.losses[63:]) < 2 * level
    lone = RollBack()
    parameters = given(torch.ones(2), weights=[torch.tensor([math.nan, 1.0])])
    lone.before_step(at := moment(parameters, loss=math.nan))
    assert not at.skip
    assert "no good state" in at.acts[-1].detail


def test_roll_back_is_bounded_in_number_and_bytes() -> None:
    policy = RollBack(every=1, most=2)
    for step in range(12):
        bad = step % 3 == 2
        weights = [torch.tensor([math.nan if bad else 1.0])]
        parameters = given(torch.tensor([1.0]), weights=weights)
        loss = math.nan if bad else 1.0
        policy.before_step(at := moment(parameters, step=step, loss=loss))
        assert at.skip == (bad and step < 6)
    assert policy.returns == 2
    small = RollBack(limit_bytes=8)
    parameters = given(torch.ones(100, 100))
    small.before_step(at := moment(parameters))
    assert "keeps nothing" in at.acts[-1].detail


def test_a_disk_that_cannot_be_written_is_said_and_nothing_breaks(tmp_path: Any) -> None:
    wall = tmp_path / "file"
    wall.write_text("")
    policy = RollBack(folder=wall)
    policy.before_step(at := moment(given(torch.ones(3))))
    assert "could not write" in at.acts[-1].detail
    assert not at.skip


def test_sparse_adam_and_two_groups_roll_back() -> None:
    model = nn.Embedding(6, 4, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.1)
    policy = RollBack(every=5)
    weights = {}
    for step in range(11):
        optimizer.zero_grad()
        model(torch.tensor([step % 6, 1])).sum().backward()
        weights[step] = model.weight.detach().clone()
        if step == 10:
            with torch.no_grad():
                model.weight[0, 0] = math.nan
        at = moment(dict(model.named_parameters()), optimizer, step=step, loss=1.0, model=model)
        if step == 10:
            at.loss = math.nan
        policy.before_step(at)
        if not at.skip:
            optimizer.step()
    assert torch.equal(model.weight, weights[5])


def test_roll_back_puts_the_loss_scale_back_after_the_step() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(torch.ones(1))
    policy = RollBack(every=1)
    policy.before_step(moment(given(torch.ones(2)), scaler=scaler))
    scaler.update(4.0)
    bad = given(torch.ones(2), weights=[torch.tensor([math.nan, 1.0])])
    policy.before_step(at := moment(bad, step=1, loss=math.nan, scaler=scaler))
    assert scaler.get_scale() == 4.0
    policy.after_step(at)
    assert scaler.get_scale() == 1024.0


# The loss scale.


def overflow(scaler: Any, finite: bool) -> None:
    """One step of a scaler, as user code has it."""
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    loss = parameter.sum() * (1.0 if finite else math.nan)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()


def test_a_collapsing_loss_scale_is_held_and_brought_back() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    policy = LossScaleRescue()
    said: list[Any] = []
    pattern = [True] * 5 + [False] * 60 + [True] * 3
    for step, finite in enumerate(pattern):
        overflow(scaler, finite)
        said += updated(policy, scaler, step)
        assert scaler.get_scale() >= 1.0
    assert scaler.get_scale() == 2.0**16
    assert len(said) == 2
    assert "upstream" in said[0].detail
    assert said[0].evidence["skipped_in_a_row"] == 17


def test_a_probing_scaler_is_left_alone() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=10)
    plain = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=10)
    policy = LossScaleRescue()
    for step in range(200):
        finite = step > 2 and step % 17 != 0
        overflow(scaler, finite)
        overflow(plain, finite)
        assert not updated(policy, scaler, step)
        assert scaler.state_dict() == plain.state_dict()


# What a user passes.


def test_names_objects_and_sequences() -> None:
    assert guard.from_argument(None) == ()
    policy = ZClip()
    assert guard.from_argument(policy) == (policy,)
    for name in POLICIES:
        (one,) = guard.from_argument(name)
        assert one.name == name
    assert [p.name for p in guard.from_argument(["skip-nonfinite", policy])] == [
        "skip-nonfinite",
        "zclip",
    ]

    class Own:
        name = "mine"

        def before_step(self, moment: Moment) -> None: ...
        def after_step(self, moment: Moment) -> None: ...
        def close(self) -> None: ...

    assert guard.from_argument((Own(),))[0].name == "mine"


@pytest.mark.parametrize(
    "wrong", ["clip", 3, [3], ZClip, ["zclip", ZClip()], {"zclip": 3}.values()]
)
def test_anything_else_is_one_sentence(wrong: Any) -> None:
    with pytest.raises(BadInput, match="guard"):
        guard.from_argument(wrong)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: SkipNonfinite(most=0), "most"),
        (lambda: AGC(share=-1), "share"),
        (lambda: AGC(leave="fc"), "leave"),
        (lambda: AutoClip(percent=101), "percent"),
        (lambda: ZClip(decay=1.0), "decay"),
        (lambda: LayerBalance(band=1), "band"),
        (lambda: RateBackOff(factor=1.5), "factor"),
        (lambda: RateBackOff(alarms="x"), "alarms"),
        (lambda: RollBack(every=True), "every"),
        (lambda: RollBack(factor=math.nan), "factor"),
        (lambda: LossScaleRescue(floor=0), "floor"),
    ],
)
def test_impossible_settings_are_refused(made: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        made()
