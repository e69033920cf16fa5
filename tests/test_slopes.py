"""The robust slope against closed forms and a brute-force reference."""

import statistics

from hypothesis import given
from hypothesis import strategies as st

from unvanish.slopes import theil_sen

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=3, max_size=30))
def test_value_is_the_median_of_all_pair_slopes(values: list[float]) -> None:
    slopes = [
        (values[j] - values[i]) / (j - i)
        for i in range(len(values))
        for j in range(i + 1, len(values))
    ]
    found = theil_sen(values)
    assert found is not None
    assert found.value == statistics.median(slopes)
    assert found.low <= found.value <= found.high


@given(numbers, st.floats(-100, 100), st.integers(8, 600))
def test_a_line_gives_its_slope(start: float, slope: float, count: int) -> None:
    found = theil_sen([start + slope * x for x in range(count)])
    assert found is not None
    assert abs(found.value - slope) <= 1e-9 * (abs(start) + abs(slope) * count + 1)


def test_a_quarter_of_outliers_does_not_move_it() -> None:
    values = [float(x) if x % 4 else 1e6 for x in range(40)]
    found = theil_sen(values)
    assert found is not None
    assert abs(found.value - 1) < 0.2


def test_noise_without_trend_has_an_interval_around_zero() -> None:
    import random

    generator = random.Random(0)
    covered = 0
    for _ in range(200):
        found = theil_sen([generator.gauss(0, 1) for _ in range(20)])
        assert found is not None
        covered += found.low <= 0 <= found.high
    # 95 % nominal; three standard deviations of a binomial of 200 below it.
    assert covered >= 200 * 0.95 - 3 * (200 * 0.95 * 0.05) ** 0.5


def test_two_points_are_no_slope() -> None:
    assert theil_sen([1.0, 2.0]) is None
