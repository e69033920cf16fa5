"""Paired statistics against scipy, printed tables, counted patterns and simulated experiments."""

import itertools
import math

import numpy as np
import pytest

from unvanish.trial.statistics import decide, paired_interval, sign_flip_p, student_quantile

TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 10: 2.228, 29: 2.045, 60: 2.000}


@pytest.mark.parametrize(("freedom", "printed"), TABLE.items())
def test_quantiles_are_those_of_the_printed_table(freedom: int, printed: float) -> None:
    assert student_quantile(freedom) == pytest.approx(printed, abs=6e-4)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 19, 50])
def test_quantiles_are_those_of_scipy(freedom: int, confidence: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    wanted = stats.t.ppf((1 + confidence) / 2, freedom)
    assert student_quantile(freedom, confidence) == pytest.approx(wanted, rel=1e-9)


def test_the_interval_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = [0.3, -0.1, 0.22, 0.05, 0.4]
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert paired_interval(values) == pytest.approx((wanted.low, wanted.high), rel=1e-9)


def test_the_sign_test_counts_every_pattern() -> None:
    values = [0.3, -0.1, 0.22, 0.05, 0.4, -0.02]
    sums = [
        math.fsum(s * v for s, v in zip(signs, values, strict=True))
        for signs in itertools.product((-1, 1), repeat=len(values))
    ]
    wanted = sum(total >= sum(values) - 1e-12 for total in sums) / len(sums)
    assert sign_flip_p(values) == wanted
    assert sign_flip_p([-v for v in values]) == wanted


def test_the_sign_test_by_lot_is_near_the_exact_one() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 20)
    normal = 0.5 * math.erfc(abs(values.sum()) / math.sqrt(2 * (values**2).sum()))
    assert sign_flip_p(values.tolist()) == pytest.approx(normal, abs=0.01)


@pytest.mark.parametrize(
    ("differences", "word"),
    [
        ([0.30, 0.32, 0.29, 0.31, 0.33], "helped"),
        ([-0.30, -0.32, -0.29, -0.31, -0.33], "worse"),
        ([0.8, 0.8, 0.79, 0.81, -0.01], "helped"),  # the control had luck once
        ([0.8, 0.8, 0.79, 0.0, 0.0], "undecided"),
        ([0.22, 0.05, 0.06, 0.05, 0.8], "helped"),  # all seeds gain, one of them far more
        ([-0.22, -0.05, -0.06, -0.05, -0.8], "worse"),
        ([0.22, 0.05, 0.01, 0.05, 0.8], "undecided"),  # one gains less than matters
        ([0.05, 0.06, 0.05, 0.8], "undecided"),  # four happen once in sixteen
        ([0.001, -0.002, 0.0, 0.001, 0.002], "no effect"),
        ([0.010, 0.011, 0.010, 0.011, 0.010], "no effect"),  # real, and too small to matter
        ([0.0, 0.0, 0.0, 0.0, 0.0], "no effect"),
        ([0.3, -0.3, 0.2, -0.1, 0.25], "undecided"),
        ([0.3, 0.5], "undecided"),
        ([0.30, 0.31, 0.30], "undecided"),  # three signs happen by chance
        ([0.9], "undecided"),
        ([], "undecided"),
    ],
)
def test_words(differences: list[float], word: str) -> None:
    assert decide(differences, margin=0.02).word == word


def test_every_further_look_asks_for_more_certainty() -> None:
    # Ten differences whose 95 % interval ends just above zero, and that of 97.5 % just below.
    differences = [0.17, -0.04, 0.15, -0.03, 0.16, -0.04, 0.14, 0.05, 0.12, 0.02]
    assert decide(differences, margin=0.02).word == "helped"
    assert decide(differences, margin=0.02, looks=2).word == "undecided"
    assert decide(differences, margin=0.02, looks=2).interval == decide(differences, 0.02).interval


@pytest.mark.parametrize("heavy", [False, True])
def test_asking_again_claims_help_hardly_more_often(heavy: bool) -> None:
    generator = np.random.default_rng(1)
    shape = (1000, 20)
    draws = generator.standard_cauchy(shape) if heavy else generator.standard_normal(shape)
    claims = 0
    for row in draws.tolist():
        for looks, seeds in enumerate((5, 10, 20), start=1):
            word = decide(row[:seeds], margin=0.1, looks=looks).word
            if word != "undecided":
                break
        claims += word == "helped"
    # Twice the one in 25 of a single look; three standard errors of 1000 draws are 0.025.
    assert claims / len(draws) < 0.08 + 0.025


def test_rounding_is_no_proof_of_no_spread() -> None:
    assert decide([0.0, 0.0], margin=0.02, resolution=0.02).word == "undecided"
    assert decide([0.0] * 5, margin=0.02, resolution=0.02).word == "no effect"


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_the_unit_changes_no_word(scale: float) -> None:
    for differences in ([0.3, 0.31, 0.4, 0.2, 0.25], [0.01, 0.0, -0.01, 0.0, 0.0], [0.3, -0.3]):
        scaled = [scale * value for value in differences]
        assert decide(scaled, margin=0.02 * scale).word == decide(differences, margin=0.02).word


@pytest.mark.parametrize("heavy", [False, True])
def test_without_an_effect_help_is_rarely_claimed(heavy: bool) -> None:
    generator = np.random.default_rng(0)
    shape = (2000, 5)
    draws = generator.standard_cauchy(shape) if heavy else generator.standard_normal(shape)
    words = [decide(row, margin=0.1).word for row in draws.tolist()]
    # One in 25 is promised for the normal one; three standard errors of 2000 draws are 0.013.
    assert words.count("helped") / len(words) < 0.053
    assert words.count("worse") / len(words) < 0.053
