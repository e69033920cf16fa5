"""compare: the right word for arms of which it is known which one is better, and nothing disturbed."""

import copy
import json
import random
import threading
import warnings
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import unvanish
from unvanish import Verdict, compare
from unvanish.errors import BadInput, ModelFailed, NothingTrains
from unvanish.trial import Arm, prepare

CROSS_ENTROPY = nn.CrossEntropyLoss()
_PIXELS, _DIGITS = load_digits(return_X_y=True)
DIGITS = (torch.tensor(_PIXELS[:800] / 16).float(), torch.tensor(_DIGITS[:800]))
FEW = (DIGITS[0][:64], DIGITS[1][:64])


def deep(activation: type[nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(64, 24), activation()]
    for _ in range(5):
        layers += [nn.Linear(24, 24), activation()]
    return nn.Sequential(*layers, nn.Linear(24, 10))


def healthy() -> nn.Module:
    model = deep(nn.ReLU)
    for part in model:
        if isinstance(part, nn.Linear):
            nn.init.kaiming_normal_(part.weight)
            nn.init.zeros_(part.bias)
    return model


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=3e-3)


@pytest.fixture(scope="module")
def helped() -> Verdict:
    return compare(deep(nn.Sigmoid), healthy(), DIGITS, CROSS_ENTROPY, adam, steps=60)


def test_a_better_arm_is_told(helped: Verdict) -> None:
    assert helped.word == "helped"
    assert (helped.metric, helped.held_out, helped.unseen) == ("accuracy", 200, True)
    assert helped.difference is not None
    assert helped.interval is not None
    assert helped.difference > 0.5
    assert 0 < helped.interval[0] < helped.difference < helped.interval[1]
    assert helped.p == 1 / 32
    assert [pair.seed for pair in helped.pairs] == [0, 1, 2, 3, 4]
    finals = {pair.treated.losses for pair in helped.pairs}
    assert len(finals) == 5  # every seed is a run of its own
    control, treated = helped.curves
    assert treated[-1] < 1 < control[-1]


def test_a_worse_arm_is_told_by_the_same_figures(helped: Verdict) -> None:
    worse = compare(healthy(), deep(nn.Sigmoid), DIGITS, CROSS_ENTROPY, adam, steps=60)
    assert worse.word == "worse"
    assert worse.difference == pytest.approx(-(helped.difference or 0))
    assert [p.control.metric for p in worse.pairs] == [p.treated.metric for p in helped.pairs]


def test_the_interval_is_that_of_a_paired_t_test(helped: Verdict) -> None:
    stats = pytest.importorskip("scipy.stats")
    treated = [pair.treated.metric for pair in helped.pairs]
    control = [pair.control.metric for pair in helped.pairs]
    wanted = stats.ttest_rel(treated, control).confidence_interval(0.95)
    assert helped.interval == pytest.approx((wanted.low, wanted.high))


def test_the_zero_skill_is_the_majority_class(helped: Verdict) -> None:
    split = prepare(healthy(), DIGITS, CROSS_ENTROPY).split
    ((_, targets),) = split.training
    majority = torch.bincount(targets).argmax()
    ((_, held_out),) = split.held_out
    assert helped.zero_skill == float((held_out == majority).double().mean())


def test_the_same_arm_twice_differs_by_nothing() -> None:
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 10))
    verdict = compare(model, copy.deepcopy(model), DIGITS, CROSS_ENTROPY, adam, steps=15, seeds=3)
    assert verdict.word == "no effect"
    assert (verdict.difference, verdict.interval) == (0.0, (0.0, 0.0))
    for pair in verdict.pairs:
        assert pair.control.losses == pair.treated.losses
        assert pair.control.loss == pair.treated.loss


def test_two_noisy_seeds_decide_nothing() -> None:
    other = deep(nn.ReLU, seed=5)
    verdict = compare(deep(nn.ReLU), other, DIGITS, CROSS_ENTROPY, adam, steps=40, seeds=2)
    assert verdict.word == "undecided"
    assert compare(healthy(), other, FEW, CROSS_ENTROPY, steps=2, seeds=1).word == "undecided"


def test_a_text_for_the_terminal(helped: Verdict) -> None:
    lines = str(helped).splitlines()
    assert len(lines) <= 20
    assert max(len(line) for line in lines) <= 120
    assert lines[0].startswith("Helped: held-out accuracy differs by +0.")
    assert "constant guess" in str(helped)


def test_a_verdict_survives_json(helped: Verdict) -> None:
    text = json.dumps(helped.to_json(), allow_nan=False)
    assert Verdict.from_json(json.loads(text)) == helped


def test_a_run_that_diverges_counts_as_the_worst() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    data = (inputs, inputs @ torch.randn(4, 2))
    model = nn.Linear(4, 2)

    def rate(lr: float) -> Any:
        return lambda parameters: torch.optim.SGD(parameters, lr=lr)

    def trial(control: float, treated: float) -> Verdict:
        arms = Arm(model, rate(control), label="control"), Arm(model, rate(treated))
        return compare(*arms, data, nn.MSELoss(), steps=60)

    fell = trial(0.1, 1e6)
    assert (fell.word, fell.diverged, fell.metric) == ("worse", (0, 5), "loss")
    assert all(pair.treated.metric is None for pair in fell.pairs)
    zero = fell.zero_skill
    assert zero is not None
    for pair in fell.pairs:
        assert pair.control.metric is not None
        assert pair.difference == pytest.approx(pair.control.metric - zero)
    assert "Diverged: control 0, treated 5 of 5" in str(fell)
    assert Verdict.from_json(fell.to_json()) == fell

    assert trial(1e6, 0.1).word == "helped"
    both = trial(1e6, 1e7)
    assert (both.word, both.diverged, both.difference) == ("no effect", (5, 5), 0.0)


@pytest.mark.parametrize(
    ("loss", "best"),
    [
        (nn.MSELoss(), lambda t: t.mean(0)),
        (nn.L1Loss(), lambda t: t.median(0).values),
        (nn.BCEWithLogitsLoss(), lambda t: torch.logit(t.mean(0))),
    ],
)
def test_the_best_constant_is_known_for_each_loss(loss: nn.Module, best: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = (torch.rand(81, 2, generator=generator) ** 3 > 0.2).float()
    if not isinstance(loss, nn.BCEWithLogitsLoss):
        targets = torch.rand(81, 2, generator=generator) ** 3
    task = prepare(nn.Linear(3, 2), (torch.randn(81, 3), targets), loss)
    ((_, trained),), ((_, held_out),) = task.split.training, task.split.held_out
    assert task.zero_skill is not None
    wanted = float(loss(best(trained).expand_as(held_out), held_out))
    assert task.zero_skill.loss == pytest.approx(wanted, rel=1e-4)


def test_step_sizes_are_chosen_alike_for_both_arms() -> None:
    model = healthy()
    arms = [Arm(model, lambda p, lr=lr: torch.optim.SGD(p, lr=lr)) for lr in (1e-3, 1e-1)]
    plain = compare(*arms, DIGITS, CROSS_ENTROPY, steps=30, seeds=4)
    assert plain.word == "helped"
    tuned = compare(*arms, DIGITS, CROSS_ENTROPY, steps=30, seeds=4, rates=(0.01, 1.0, 100.0))
    assert tuned.word == "no effect"  # the same net, once each has its own step size
    assert [(t.label, t.rate) for t in tuned.tuned if t.chosen] == [
        ("control", 100.0),
        ("treated", 1.0),
    ]
    assert len(tuned.tuned) == 6
    assert "control 100 times the given one, treated 1 times" in str(tuned)


def test_a_metric_of_the_users_own() -> None:
    def negative_error(outputs: Tensor, targets: Tensor) -> float:
        return -float((outputs.argmax(1) != targets).sum())

    def trial(metric: Any, **more: Any) -> Verdict:
        return compare(
            healthy(), healthy(), FEW, CROSS_ENTROPY, steps=3, seeds=2, metric=metric, **more
        )

    verdict = trial(negative_error)
    assert (verdict.metric, verdict.higher_is_better) == ("negative_error", True)
    assert all(pair.control.metric in range(-16, 1) for pair in verdict.pairs)
    with pytest.raises(BadInput, match="returned nan though every output is finite"):
        trial(lambda outputs, targets: float("nan"))
    with pytest.raises(BadInput, match="must return a number; it failed"):
        trial(lambda outputs, targets: None)


def test_nothing_of_the_users_is_disturbed() -> None:
    model = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 10))
    loss = nn.CrossEntropyLoss(weight=torch.ones(10))
    optimizer = torch.optim.Adam(model.parameters())
    loss(model(FEW[0]), FEW[1]).backward()
    optimizer.step()
    model[1].eval()
    loader = DataLoader(TensorDataset(*FEW), batch_size=8, shuffle=True)

    def state() -> Any:
        moments = [v.clone() for s in optimizer.state.values() for v in s.values()]
        return (
            [(p.detach().clone(), p.grad.clone(), p._version) for p in model.parameters()],
            [b.clone() for b in model.buffers()],
            [part.training for part in model.modules()],
            moments,
            copy.deepcopy([{**g, "params": None} for g in optimizer.param_groups]),
            torch.get_rng_state(),
            random.getstate(),
            [np.asarray(part) for part in np.random.get_state()[1:3]],
            FEW[0].clone(),
        )

    other, narrow, twin = deep(nn.Tanh), nn.Linear(63, 10), copy.deepcopy(model)
    before = state()
    compare(model, other, loader, loss, adam, steps=4, seeds=2)
    compare(model, twin, FEW, loss, optimizer, steps=4, seeds=2, rates=(1, 3))
    with pytest.raises(ModelFailed):
        compare(model, narrow, FEW, loss, adam, steps=4, seeds=2)
    torch.testing.assert_close(state(), before, rtol=0, atol=0)


def test_an_interrupted_trial_gives_what_is_complete() -> None:
    def stop(after: int) -> Any:
        def progress(said: str, share: float) -> None:
            if round(share * 10) == after:
                raise KeyboardInterrupt

        return progress

    arms = (healthy(), deep(nn.Sigmoid), FEW, CROSS_ENTROPY, adam)
    verdict = compare(*arms, steps=2, progress=stop(5))
    assert (verdict.word, len(verdict.pairs), verdict.planned) == ("undecided", 2, 5)
    assert verdict.notes == ("interrupted after 2 of 5 seeds",)
    with pytest.raises(KeyboardInterrupt):
        compare(*arms, steps=2, progress=stop(1))


def test_time_that_is_up_gives_what_is_complete() -> None:
    verdict = compare(healthy(), healthy(), FEW, CROSS_ENTROPY, steps=5, budget_s=1e-9)
    assert (verdict.word, verdict.pairs) == ("undecided", ())
    assert verdict.notes == ("the time was up after 0 of 5 seeds",)
    assert "no seed was finished" in str(verdict)
    assert Verdict.from_json(verdict.to_json()) == verdict


def test_an_undecided_gain_asks_more_seeds() -> None:
    task = {"steps": 4, "seeds": 2, "rates": (1,)}
    first = compare(deep(nn.Sigmoid), healthy(), FEW, CROSS_ENTROPY, adam, **task)
    assert (first.word, len(first.pairs)) == ("undecided", 2)  # two seeds cannot decide
    more = compare(deep(nn.Sigmoid), healthy(), FEW, CROSS_ENTROPY, adam, most=8, **task)
    assert more.planned == len(more.pairs) == 8 or more.word != "undecided"
    assert more.planned > 2
    assert [pair.difference for pair in more.pairs[:2]] == [p.difference for p in first.pairs]
    assert any("undecided after" in note for note in more.notes)


def test_who_is_behind_is_not_asked_again() -> None:
    verdict = compare(
        healthy(), deep(nn.Sigmoid), FEW, CROSS_ENTROPY, adam, steps=4, seeds=2, most=8
    )
    assert (verdict.planned, verdict.word) == (2, "undecided")
    assert (verdict.difference or 0) < 0


def test_what_is_on_the_training_data_says_so() -> None:
    few = (DIGITS[0][:12], DIGITS[1][:12])
    verdict = compare(healthy(), healthy(), few, CROSS_ENTROPY, steps=2, seeds=2)
    assert not verdict.unseen
    assert "nothing was held out" in verdict.notes[0]
    assert "training accuracy" in str(verdict) or verdict.basis == "training"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 0}, "steps must be a whole number of 1 or more, got 0"),
        ({"seeds": 2.5}, "seeds must be a whole number"),
        ({"budget_s": 0}, "budget_s must be a number above 0"),
        ({"rates": ()}, "rates must be different factors"),
        ({"rates": (1, 1)}, "rates must be different factors"),
        ({"margin": -1}, "margin must be a number above 0"),
        ({"jobs": 0}, "jobs must be a whole number other than 0"),
        ({"workers": "cloud"}, "workers must be"),
        ({"treated": 3}, "treated must be a torch.nn.Module or an Arm"),
        ({"data": []}, "data is empty"),
        ({"loss": None}, "loss must be callable"),
        ({"optimizer": 3}, "optimizer must be"),
        ({"metric": 3}, "metric must be callable"),
    ],
)
def test_bad_input_is_said_in_a_sentence(changed: dict[str, Any], said: str) -> None:
    arguments = {"treated": healthy(), "data": FEW, "loss": CROSS_ENTROPY, "steps": 2, "seeds": 2}
    with pytest.raises(BadInput, match=said):
        compare(healthy(), **{**arguments, **changed})


def test_an_optimizer_of_another_model_is_said() -> None:
    stranger = torch.optim.SGD(healthy().parameters(), lr=0.1)
    with pytest.raises(BadInput, match="none of its 14 tensors is a parameter of control"):
        compare(healthy(), healthy(), FEW, CROSS_ENTROPY, stranger, steps=2)


def test_a_control_in_which_nothing_trains_is_an_arm_too() -> None:
    frozen = healthy().requires_grad_(False)
    verdict = compare(frozen, healthy(), DIGITS, CROSS_ENTROPY, adam, steps=60)
    assert verdict.word == "helped"
    assert verdict.notes == ("control: the loss requires no grad, nothing was trained",)
    with pytest.raises(NothingTrains):
        compare(frozen, frozen, FEW, CROSS_ENTROPY, adam, steps=2, seeds=2)


def test_arms_that_are_not_a_number_alike_do_not_differ() -> None:
    def forward(model: nn.Module, batch: Any) -> Tensor:
        return model(batch[0]).sum() * float("nan")

    verdict = compare(healthy(), healthy(), FEW, forward=forward, steps=2)
    assert (verdict.word, verdict.diverged) == ("no effect", (5, 5))


def test_a_model_that_cannot_be_copied_is_said() -> None:
    model = healthy()
    model.kept = threading.Lock()
    with pytest.raises(BadInput, match="cannot be copied"):
        compare(model, healthy(), FEW, CROSS_ENTROPY, steps=2)


def figures(verdict: Verdict) -> list[float]:
    return [loss for p in verdict.pairs for run in (p.control, p.treated) for loss in run.losses]


def test_processes_give_the_same_figures() -> None:
    arms = (deep(nn.Tanh), healthy(), FEW, CROSS_ENTROPY, torch.optim.Adam)
    one = compare(*arms, steps=5, seeds=2)
    two = compare(*arms, steps=5, seeds=2, jobs=2)
    assert figures(two) == pytest.approx(figures(one), rel=1e-4)
    assert not any("other processes" in note for note in two.notes)
    turns = compare(*arms, steps=5, seeds=2, jobs=2, workers="threads")
    assert figures(turns) == figures(one)


class Tied:
    """Goes along in a copy, and to no other process."""

    def __deepcopy__(self, memo: Any) -> "Tied":
        return self

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle a thing that is tied to this process")


def test_what_cannot_travel_stays_here_and_says_so() -> None:
    model = healthy()
    model.tied = Tied()
    verdict = compare(model, healthy(), FEW, CROSS_ENTROPY, steps=2, seeds=2, jobs=2)
    assert len(verdict.pairs) == 2
    assert "could not be sent to other processes" in verdict.notes[0]


def test_a_cluster_is_one_setting_away() -> None:
    distributed = pytest.importorskip("distributed")
    arms = (deep(nn.Tanh), healthy(), FEW, CROSS_ENTROPY, adam)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a cluster has to say about ports and sockets
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster),
            joblib.parallel_config(backend="dask"),
        ):
            there = compare(*arms, steps=5, seeds=2)
    assert figures(there) == pytest.approx(figures(compare(*arms, steps=5, seeds=2, jobs=1)))


def test_the_same_run_twice_is_one_measurement() -> None:
    torch.manual_seed(0)
    control, treated = nn.Linear(64, 10), nn.Linear(64, 10)
    nn.init.eye_(control.weight)  # nothing to draw again, and one batch has one order
    nn.init.eye_(treated.weight)
    arms = Arm(control, lambda p: torch.optim.SGD(p, lr=1e-6)), Arm(treated, adam)
    verdict = compare(*arms, [DIGITS], CROSS_ENTROPY, steps=20)
    assert len({pair.difference for pair in verdict.pairs}) == 1
    assert (verdict.word, verdict.interval) == ("undecided", None)
    assert verdict.notes[0].startswith("5 seeds gave 1 different pairs of runs")


def test_names_are_public() -> None:
    assert unvanish.compare is compare
    assert unvanish.Verdict is Verdict
