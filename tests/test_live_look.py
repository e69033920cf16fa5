"""A look at a running training changes no bit of it and leaves nothing behind."""

import pytest
import torch
from live_trainings import TRAININGS, run, switches
from torch import Tensor

# torch itself warns of what two of the trainings do on purpose.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using backward.. with create_graph", "ignore:enable_nested_tensor is True"
)


def same(left: Tensor | None, right: Tensor | None) -> bool:
    if left is None or right is None:
        return left is right
    return left.dtype == right.dtype and torch.equal(left, right)


@pytest.mark.parametrize("name", TRAININGS)
def test_bit_for_bit_as_without_it_and_nothing_is_left(name: str) -> None:
    before = switches()
    plain, _ = run(TRAININGS[name], looked_at=False)
    watched, looks = run(TRAININGS[name], looked_at=True)
    assert switches() == before
    pairs = list(zip(plain.everything(), watched.everything(), strict=True))
    assert len(pairs) > 10
    assert [i for i, (left, right) in enumerate(pairs) if not same(left, right)] == []
    assert [look.reason for look in looks] == [None] * len(looks)
    assert all(look.complete and look.seconds > 0 for look in looks)
