"""The budget of a watch: what is read stays within its share, and the first reading is on credit."""

from hypothesis import given
from hypothesis import strategies as st

from unvanish.watching.budget import AT_LEAST_EVERY, Budget


def spend(budget: Budget, costs: dict[str, float], steps: int, step: float) -> float:
    total = 0.0
    for _ in range(steps):
        wanted = budget.wanted()
        for kind in wanted:
            budget.paid(kind, costs[kind])
        spent = sum(costs[kind] for kind in wanted)
        total += spent
        budget.stepped(step, spent)
    return total


@given(cheap=st.floats(1e-5, 1e-3), dear=st.floats(1e-5, 1e-2), share=st.floats(0.005, 0.2))
def test_the_share_is_kept_but_for_the_floor(cheap: float, dear: float, share: float) -> None:
    steps, step = 2000, 0.01
    spent = spend(
        Budget(share, ("update", "histogram")), {"update": cheap, "histogram": dear}, steps, step
    )
    floor = (cheap + dear) * (steps / AT_LEAST_EVERY + 1)
    assert spent <= share * steps * step + floor + 2 * (cheap + dear)


def test_everything_is_wanted_without_a_budget() -> None:
    budget = Budget(None, ("update", "histogram"))
    assert spend(budget, {"update": 1.0, "histogram": 1.0}, 10, 0.01) == 20.0


def test_a_cheap_reading_is_made_at_every_step_that_pays_for_it() -> None:
    assert spend(Budget(0.02, ("update",)), {"update": 0.0001}, 100, 0.01) >= 0.0099


def test_a_dear_reading_does_not_starve() -> None:
    budget = Budget(0.01, ("histogram",))
    spent = spend(budget, {"histogram": 1.0}, 10 * AT_LEAST_EVERY, 0.001)
    assert spent >= 9.0


def test_a_pause_is_not_saved_up() -> None:
    budget = Budget(0.02, ("update",))
    spend(budget, {"update": 0.01}, 1, 0.01)
    budget.stepped(3600.0, 0.0)  # a validation of an hour
    assert spend(budget, {"update": 0.01}, 100, 0.0) <= 0.02 + 0.01
