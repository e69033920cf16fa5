"""Probabilities given to a distribution that takes scores: it makes probabilities of them again."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, OneHotCategorical

import unvanish

Made = Callable[[Tensor], Distribution]
CLASSES = 5


def policy(end: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, CLASSES), end)


def reinforce(made: Made) -> Callable[[nn.Module, Any], Tensor]:
    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        distribution = made(model(batch[0]))
        action = distribution.sample()
        taken = action.argmax(1) if action.dim() > 1 else action
        reward = (taken == batch[1]).float()
        return -(distribution.log_prob(action) * (reward - reward.mean())).mean()

    return forward


def found(end: nn.Module, forward: Callable[[nn.Module, Any], Tensor]) -> list[tuple[str, ...]]:
    states = torch.randn(256, 6, generator=torch.Generator().manual_seed(1))
    data = states, states[:, :CLASSES].argmax(1)
    diagnosis = unvanish.diagnose(policy(end), [data], forward=forward)
    return [
        (f.severity, f.where[-1], f.detail or "")
        for f in diagnosis.findings
        if f.name == "double-softmax"
    ]


WRITTEN = "softmax and then a log_softmax written out"


@pytest.mark.parametrize("made", [Categorical, OneHotCategorical])
def test_probabilities_taken_for_scores(made: Any) -> None:
    def of_scores(outputs: Tensor) -> Distribution:
        return made(logits=outputs)

    probabilities = F.softmax(torch.randn(3, CLASSES), 1)
    twice = of_scores(probabilities).probs  # the mechanism: nearly uniform, however sure
    torch.testing.assert_close(twice, F.softmax(probabilities, 1))
    assert found(nn.Softmax(1), reinforce(of_scores)) == [("harmful", "3", WRITTEN)]


@pytest.mark.parametrize("made", [Categorical, OneHotCategorical])
def test_probabilities_taken_as_such_and_scores_are_quiet(made: Any) -> None:
    assert found(nn.Softmax(1), reinforce(lambda outputs: made(probs=outputs))) == []
    assert found(nn.Identity(), reinforce(lambda outputs: made(logits=outputs))) == []


@pytest.mark.parametrize("end", [nn.LogSoftmax(1), nn.LogSigmoid()])
def test_logarithms_of_probabilities_may_be_normalised(end: nn.Module) -> None:
    """Of a log-softmax that changes nothing, of a log-sigmoid it makes shares of the sigmoids."""
    outputs = end(torch.randn(4, CLASSES))
    shares = outputs.exp() / outputs.exp().sum(1, keepdim=True)
    torch.testing.assert_close(Categorical(logits=outputs).probs, shares)
    assert found(end, reinforce(lambda outputs: Categorical(logits=outputs))) == []


def by_hand(outputs: Tensor) -> Tensor:
    return outputs - outputs.exp().sum(1, keepdim=True).log()


def by_logsumexp(outputs: Tensor) -> Tensor:
    return outputs - torch.logsumexp(outputs, 1).unsqueeze(1)


@pytest.mark.parametrize("logarithm", [by_hand, by_logsumexp])
def test_a_log_softmax_written_out(logarithm: Callable[[Tensor], Tensor]) -> None:
    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.nll_loss(logarithm(model(batch[0])), batch[1])

    torch.testing.assert_close(logarithm(torch.eye(3)), F.log_softmax(torch.eye(3), 1))
    assert found(nn.Softmax(1), forward) == [("harmful", "3", WRITTEN)]
    assert found(nn.Identity(), forward) == []


def test_a_margin_to_the_soft_maximum_of_other_scores_is_quiet() -> None:
    """What is taken away is of something else: no normalisation."""

    def forward(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        outputs = model(batch[0])
        others = torch.logsumexp(outputs * 3, 1, keepdim=True)
        return -(outputs - others).gather(1, batch[1][:, None]).mean()

    assert found(nn.Softmax(1), forward) == []
