"""Where nothing can be known of unseen samples, the training loss decides: against one measure for both."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unvanish import Verdict, compare
from unvanish.report.html.trial import trial_parts

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(120, 6, generator=GENERATOR)
NOISE = torch.randn(120, 1, generator=GENERATOR)  # nothing about the inputs


def net(width: int, bias: float) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 1))
    with torch.no_grad():
        model[2].weight.mul_(0.1)
        model[2].bias.fill_(bias)
    return model


def judged(treated: nn.Module, rate: float, steps: int = 100) -> Verdict:
    def optimizer(parameters: object) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, rate)  # type: ignore[arg-type]

    make: Callable[..., Verdict] = compare
    return make(net(8, 0.0), treated, (INPUTS, NOISE), F.mse_loss, optimizer, steps=steps)


def test_who_only_begins_higher_has_learned_nothing() -> None:
    control, far = net(8, 0.0), net(8, 5.0)
    with torch.no_grad():
        first = [float(F.mse_loss(model(INPUTS), NOISE)) for model in (control, far)]
    assert first[1] > 10 * first[0]
    verdict = judged(far, rate=0.03)
    assert verdict.basis == "training"
    assert verdict.word != "helped"
    assert (verdict.difference or 0) < (verdict.margin or 0)


def test_who_learns_by_heart_has_done_more_than_who_does_not() -> None:
    verdict = judged(net(256, 0.0), rate=0.03, steps=200)
    assert verdict.basis == "training"
    assert verdict.word == "helped"
    # The mean square of what a constant leaves is the measure; both arms' last losses are on record.
    for pair in verdict.pairs:
        late = [sum(run.losses[-12:]) / 12 for run in (pair.control, pair.treated)]
        assert abs(pair.difference * (verdict.zero_skill or 0) - (late[0] - late[1])) < 0.15


def test_the_table_holds_what_is_compared_and_its_rows_add_up() -> None:
    verdict = judged(net(256, 0.0), rate=0.03, steps=200)
    lines = str(verdict).splitlines()
    table = [line.split() for line in lines if line.split()[:1] in (["seed"], ["mean"])]
    assert len(table) == len(verdict.pairs) + 1
    for row in table:
        control, treated, difference = map(float, row[-3:])
        assert treated - control == pytest.approx(difference, abs=2e-3)
    for pair in verdict.pairs:
        assert pair.gone is not None
        assert 0 <= min(pair.gone) <= max(pair.gone) <= 1
        assert pair.gone[1] - pair.gone[0] == pair.difference
    assert Verdict.from_json(verdict.to_json()) == verdict
    page = "".join(trial_parts(verdict))
    for value in (v for pair in verdict.pairs for v in pair.compared):
        assert f"<td>{value:.4g}</td>" in page
