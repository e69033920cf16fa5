"""One arm in training: resumable to the bit, on batches that are the same for every arm."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unvanish.surgery import Controls, Edit, Part, apply
from unvanish.trial import Arm, Running, prepare, train
from unvanish.trial.redraw import redraw
from unvanish.trial.split import split_data

DATA = (torch.linspace(-3, 3, 96 * 4).reshape(96, 4).sin(), torch.arange(96) % 3)
CROSS_ENTROPY = nn.CrossEntropyLoss()


def noisy() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 3)
    )


def bits(model: nn.Module) -> list[bytes]:
    return [value.detach().numpy().tobytes() for value in model.state_dict().values()]


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def test_in_pieces_is_bit_for_bit_as_at_once() -> None:
    task = prepare(noisy(), DATA, CROSS_ENTROPY, steps=20)
    arm = Arm(noisy(), sgd)
    once = Running(arm, task, seed=3).advance(12)
    pieces = Running(arm, task, seed=3).advance(5)
    pieces.score()  # asking in between changes nothing
    torch.rand(7)
    continued = copy.deepcopy(pieces).advance(7)
    pieces.advance(3).advance(4)
    for other in (pieces, continued):
        assert other.losses == once.losses
        assert bits(other.model) == bits(once.model)
        assert other.score() == once.score()
    assert len(once.losses) == 12
    assert once.losses != Running(arm, task, seed=4).advance(12).losses


def test_a_step_is_a_plain_training_step() -> None:
    data = [(DATA[0][i : i + 12], DATA[1][i : i + 12]) for i in range(0, 96, 12)]
    model = nn.Linear(4, 3)
    running = Running(Arm(model, sgd), task := prepare(model, data, CROSS_ENTROPY, steps=9))
    running.advance(9)
    twin = copy.deepcopy(model)
    optimizer = sgd(twin.parameters())
    for step, seen in enumerate(running.losses):
        inputs, targets = task.split.batch(0, step)
        optimizer.zero_grad()
        loss = F.cross_entropy(twin(inputs), targets)
        loss.backward()
        optimizer.step()
        assert seen == float(loss.detach())
    assert bits(twin) == bits(running.model)
    with torch.no_grad():
        inputs = torch.cat([x for x, _ in data[6:]])
        targets = torch.cat([y for _, y in data[6:]])
        right = (twin(inputs).argmax(1) == targets).double().mean()
    assert running.score() == float(right)


def test_controls_see_the_gradients_before_the_step() -> None:
    class Clip:
        norms: list[float]

        def __init__(self) -> None:
            self.norms = []

        def __call__(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
            self.norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), 1e-12)))

    clip, model = Clip(), noisy()
    task = prepare(model, DATA, CROSS_ENTROPY, steps=5)
    plain = Arm(model, lambda p: torch.optim.SGD(p, lr=0.1))
    clipped = Running(Arm(model, plain.optimizer, controls=clip), task).advance(5)
    moved = [
        float((p - q).detach().abs().max())
        for p, q in zip(clipped.model.parameters(), model.parameters(), strict=True)
    ]
    assert max(moved) < 1e-7
    assert clip.norms == []  # the run has a copy that remembers for itself
    assert Running(plain, task).advance(5).losses != clipped.losses


def test_divergence_stops_and_has_no_metric() -> None:
    model = nn.Linear(4, 3)
    data = DATA[0], torch.randn(96, 3)
    task = prepare(model, data, nn.MSELoss(), steps=400)
    run = Running(Arm(model, lambda p: torch.optim.SGD(p, lr=1e9)), task).advance(300)
    assert run.diverged
    assert not math.isfinite(run.losses[-1])
    assert all(math.isfinite(loss) for loss in run.losses[:-1])
    assert run.score() == -math.inf
    count = len(run.losses)
    assert len(run.advance(5).losses) == count < 300
    record = run.run()
    assert (record.metric, record.loss, record.diverged) == (None, None, True)


def test_a_loss_that_refuses_nan_is_a_divergence_too() -> None:
    model = nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
    data = DATA[0], (DATA[1][:, None] > 0).float()
    task = prepare(model, data, nn.BCELoss(), steps=50)
    run = train(Arm(model, lambda p: torch.optim.SGD(p, lr=1e38, weight_decay=1.0)), task, steps=50)
    assert run.diverged
    assert len(run.losses) < 50
    assert (run.metric, run.loss) == (None, None)


def test_lbfgs_takes_its_own_many_looks() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    data = (inputs, inputs @ torch.randn(4, 2) + 1)
    model = nn.Linear(4, 2)
    task = prepare(model, data, nn.MSELoss(), steps=8, size=48)
    run = train(Arm(model, torch.optim.LBFGS(model.parameters())), task, steps=8)
    assert run.loss is not None
    assert run.loss < 1e-6  # a linear problem that it solves
    assert len(run.losses) == 8


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.out(first + second)


def test_inputs_by_name_and_a_forward_of_the_users_own() -> None:
    data = ({"first": DATA[0], "second": DATA[0]}, DATA[1])
    model = Named()
    task = prepare(model, data, CROSS_ENTROPY, steps=10)
    assert (task.name, task.split.samples, task.split.size) == ("accuracy", 24, 36)
    by_loss = train(Arm(model, sgd), task, steps=10)

    def forward(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(**batch[0]), batch[1])

    own = prepare(model, data, None, forward, steps=10)
    assert own.name == "loss"
    by_forward = train(Arm(model, sgd), own, steps=10)
    assert by_forward.losses == by_loss.losses
    assert by_forward.metric == by_forward.loss == by_loss.loss


def test_what_is_held_out_is_never_trained_on() -> None:
    batches = [(torch.full((5, 1), float(i)), torch.full((5, 1), float(i))) for i in range(9)]
    seen: set[float] = set()

    def forward(model: nn.Module, batch: Any) -> Tensor:
        if model.training:
            seen.update(batch[0].flatten().tolist())
        return model(batch[0]).square().mean()

    model = nn.Linear(1, 1)
    task = prepare(model, batches, None, forward, steps=30)
    Running(Arm(model), task).advance(30)
    assert seen == set(range(7))
    assert {float(x[0]) for x, _ in task.split.held_out} == {7.0, 8.0}

    rows = torch.arange(40.0).reshape(40, 1)
    split = split_data((rows, rows), 30, validation=True)
    parts = [
        {float(v) for x, _ in part for v in x}
        for part in (split.training, split.validation, split.held_out)
    ]
    assert [len(part) for part in parts] == [22, 8, 10]
    assert set.union(*parts) == set(rows.flatten().tolist())
    drawn = {float(v) for step in range(10) for v in split.batch(0, step)[0]}
    assert drawn == parts[0]


@pytest.mark.parametrize(("parts", "size"), [(1, 40), (3, 40), (20, 2), (9, 7)])
def test_each_turn_sets_other_samples_aside_and_keeps_those_held_out(parts: int, size: int) -> None:
    rows = torch.arange(float(parts * size)).reshape(-1, 1)
    batches = [(x, x) for x in rows.split(size)]
    split = split_data(batches[0] if parts == 1 else batches, 30, validation=True)

    def seen(batches: Any) -> set[float]:
        return {float(v) for x, y in batches for v in x if torch.equal(x, y)}

    aside: list[set[float]] = []
    for turn in range(10):
        turned = split.turned(turn)
        if turned is None:
            break
        assert turned.held_out == split.held_out
        assert len(turned.training) == len(split.training)
        assert seen(turned.training) == seen((*split.training, *split.validation)) - seen(
            turned.validation
        )
        aside.append(seen(turned.validation))
    assert len(aside) >= 3
    assert len(set.union(*aside)) == sum(map(len, aside))
    assert split.turned(0) is split


def test_where_nothing_is_set_aside_there_is_no_other_turn() -> None:
    rows = torch.arange(8.0).reshape(8, 1)
    assert split_data((rows, rows), 10, validation=True).turned(1) is None
    assert split_data((rows, rows), 10).turned(1) is None


def test_an_epoch_sees_every_sample_once_and_seeds_differ() -> None:
    rows = torch.arange(160.0).reshape(160, 1)
    split = split_data((rows, rows), 30, size=30)
    epoch = [v for step in range(4) for v in split.batch(1, step)[0].flatten().tolist()]
    assert len(set(epoch)) == 120
    assert epoch != [v for step in range(4) for v in split.batch(2, step)[0].flatten().tolist()]
    assert epoch[:30] == split.batch(1, 0)[0].flatten().tolist()


@pytest.mark.parametrize(
    "data",
    [
        (DATA[0][:12], DATA[1][:12]),
        ((DATA[0], torch.ones(4)), DATA[1]),
        [(DATA[0], DATA[1]), (DATA[0][:3], DATA[1][:3])],
    ],
    ids=["few", "mask", "short"],
)
def test_samples_that_cannot_be_parted_are_not(data: Any) -> None:
    assert not split_data(data, 10).unseen


def test_a_fresh_draw_is_drawn_again_and_a_trained_one_stays() -> None:
    torch.manual_seed(0)
    fresh = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.LSTM(64, 16))
    twin = copy.deepcopy(fresh)
    other = nn.Sequential(*copy.deepcopy(fresh), nn.Linear(16, 16))
    assert redraw(twin, 1) == 3
    redraw(other, 1)
    assert torch.equal(twin[0].weight, other[0].weight)  # two arms share what they can
    assert not torch.equal(twin[0].weight, fresh[0].weight)
    assert torch.equal(twin[0].weight.flatten().sort()[0], fresh[0].weight.flatten().sort()[0])
    for before, after in zip(
        fresh[2].weight_ih_l0.chunk(4), twin[2].weight_ih_l0.chunk(4), strict=True
    ):
        assert torch.equal(before.flatten().sort()[0], after.flatten().sort()[0])
    redraw(once_more := copy.deepcopy(fresh), 2)
    assert not torch.equal(once_more[0].weight, twin[0].weight)

    trained = nn.Linear(64, 64)
    with torch.no_grad():
        trained.weight += 2 * torch.outer(torch.randn(64), torch.randn(64)) / 8
    before = trained.weight.clone()
    assert redraw(trained, 1) == 0
    assert torch.equal(trained.weight, before)


def test_a_draw_whose_entries_belong_together_stays_one() -> None:
    orthogonal = nn.Linear(32, 32)
    nn.init.orthogonal_(orthogonal.weight)
    before = orthogonal.weight.clone()
    redraw(orthogonal, 1)
    assert not torch.equal(orthogonal.weight, before)
    assert torch.allclose(orthogonal.weight @ orthogonal.weight.T, torch.eye(32), atol=1e-5)

    half = torch.randn(16, 16) / 4
    for made in (
        torch.cat([torch.cat([half, -half], 1), torch.cat([-half, half], 1)]),
        torch.cat([half, -half]),
        torch.cat([half, -half], 1),
        torch.eye(32),
        torch.ones(8, 8),
    ):
        layer = nn.Linear(made.shape[1], made.shape[0])
        layer.weight.data = made.clone()
        assert redraw(layer, 1) == 0
        assert torch.equal(layer.weight, made)


def test_the_controls_of_surgery_act_in_the_step() -> None:
    model = nn.Linear(4, 3)
    task = prepare(model, DATA, CROSS_ENTROPY, steps=6)
    arm = Arm(model, lambda p: torch.optim.SGD(p, lr=0.5))
    plain = Running(arm, task).advance(6)
    scaled = Arm(model, arm.optimizer, Controls({"loss_scale": 1024.0}))
    assert Running(scaled, task).advance(6).losses == plain.losses  # a power of two is exact
    clipped = Running(Arm(model, arm.optimizer, Controls({"clip_norm": 1e-3})), task).advance(6)
    moved = torch.cat(
        [
            (p - q).flatten()
            for p, q in zip(clipped.model.parameters(), model.parameters(), strict=True)
        ]
    )
    assert 0 < float(moved.detach().norm()) <= 6 * 0.5 * 1e-3 * (1 + 1e-4)


def test_momentum_goes_with_values_that_were_drawn_again() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    model(torch.randn(2, 64)).sum().backward()
    optimizer.step()
    assert len(optimizer.state) == 4
    _, same = Arm(model, optimizer).draw(0)
    _, other = Arm(model, optimizer).draw(1)
    assert len(same.state) == 4
    assert len(other.state) == 2  # the biases stayed
    assert len(optimizer.state) == 4


def test_edits_are_made_again_on_another_draw_of_the_control() -> None:
    torch.manual_seed(0)
    sick = nn.Sequential(nn.Linear(16, 16), nn.Sigmoid(), nn.Linear(16, 3))
    edits = (
        Edit(action="replace", where=("1",), part=Part(type="torch.nn.ReLU")),
        Edit(action="scale", where=("0.weight",), options={"factor": 3.0}),
    )
    cured = Arm(apply(sick, edits), sgd, edits=edits)
    data = torch.randn(96, 16), DATA[1]
    task = prepare(sick, data, CROSS_ENTROPY)
    control = Running(Arm(sick, sgd), task, seed=2)
    treated = Running(cured, task, seed=2, control=Arm(sick, sgd))
    assert isinstance(treated.model[1], nn.ReLU)
    assert not torch.equal(control.model[0].weight, sick[0].weight)
    assert torch.equal(treated.model[0].weight, control.model[0].weight * 3)
    assert torch.equal(treated.model[2].weight, control.model[2].weight)


class Hidden(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(4, 3)]  # a plain list registers nothing
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers[0](x) * self.scale


def test_an_optimizer_over_unregistered_parameters_moves_the_copys() -> None:
    model = Hidden()
    before = model.layers[0].weight.clone()
    optimizer = torch.optim.SGD([*model.parameters(), *model.layers[0].parameters()], lr=0.1)
    running = Running(Arm(model, optimizer), prepare(model, DATA, CROSS_ENTROPY)).advance(3)
    assert not torch.equal(running.model.layers[0].weight, before)
    assert torch.equal(model.layers[0].weight, before)


def test_an_arm_that_cannot_train_stands_still() -> None:
    task = prepare(noisy(), DATA, CROSS_ENTROPY)
    stranger = torch.optim.SGD(noisy().parameters(), lr=0.1)
    other = Running(Arm(noisy(), stranger), task).advance(3)
    assert not other.run().idle
    frozen = noisy().requires_grad_(False)
    for optimizer in (None, sgd, torch.optim.SGD(frozen.parameters(), lr=0.1)):
        still = Running(Arm(frozen, optimizer), task).advance(3)
        assert still.run().idle
        assert len(still.losses) == 3
        weights = zip(still.model.parameters(), frozen.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in weights)
    for a, b in zip(other.model.parameters(), noisy().parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_model_that_knows_its_batch_size_gets_it_whole() -> None:
    class Rigid(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(96, 4))

    task = prepare(Rigid(4, 3), DATA, CROSS_ENTROPY)
    assert (task.split.unseen, task.split.size, task.split.samples) == (False, None, 96)
    assert len(train(Arm(Rigid(4, 3), sgd), task, 2).losses) == 2
