"""How sure figures are: known values, and what must hold of them in simulated experiments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineal.data.estimates import bootstrapped, compared, mcnemar, mean, ratio, unpaired, wilson

EXPERIMENTS = 1000
TOLERANCE = 0.025
"""Over three standard errors of a coverage of 95% in so many experiments."""


@pytest.mark.parametrize(
    ("right", "count", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611), (29, 29, 0.8830, 1)]
)
def test_wilson_has_the_published_values(right, count, low, high):
    """Newcombe (1998), table I, method 3."""
    found = mean([1.0] * right + [0.0] * (count - right)).estimate
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert found == wilson(right / count, count) or found.low == pytest.approx(
        wilson(right / count, count).low
    )


def coverage(random, truth, draw):
    hits = sum(
        low <= truth <= high
        for low, high in ((e.low, e.high) for e in (draw().estimate for _ in range(EXPERIMENTS)))
    )
    return hits / EXPERIMENTS


@pytest.mark.parametrize(("truth", "prompts"), [(0.3, 100), (0.9, 300)])
def test_intervals_cover_the_truth_in_95_of_100_experiments(truth, prompts):
    """One verdict per prompt; four samples of prompts that differ; different numbers of samples."""
    random = np.random.default_rng(7)
    for draws in (
        lambda: np.full(prompts, 1),
        lambda: np.full(prompts, 4),
        lambda: random.integers(1, 9, prompts),
    ):

        def drawn(draws=draws):
            sizes = draws()
            right = random.binomial(sizes, random.beta(2 * truth, 2 * (1 - truth), prompts))
            return ratio(right.tolist(), sizes.tolist())

        assert coverage(random, truth, drawn) == pytest.approx(0.95, abs=TOLERANCE)


def test_samples_of_one_prompt_are_no_independent_observations():
    alike, apart = ratio([4, 0] * 50, [4] * 100).estimate, ratio([2] * 100, [4] * 100).estimate
    assert alike.high - alike.low > 1.8 * (apart.high - apart.low)
    assert alike.low == pytest.approx(mean([1.0, 0.0] * 50).estimate.low, abs=0.002)


@pytest.mark.parametrize("samples", [1, 4])
def test_a_fall_is_told_of_one_in_forty_unchanged_models_and_of_most_that_fell(samples):
    random = np.random.default_rng(3)
    told = {0.0: 0, 0.15: 0}
    for fall in told:
        for _ in range(200):
            rates = random.beta(1, 0.6, 100)
            before = random.binomial(samples, rates) / samples
            now = random.binomial(samples, np.maximum(0, rates - fall)) / samples
            told[fall] += compared(dict(enumerate(before.tolist())), dict(enumerate(now.tolist()))).fell
    assert told[0.0] / 200 <= 0.025 + 3 * (0.025 * 0.975 / 200) ** 0.5 and told[0.15] / 200 > 0.4


def test_differences_cover_the_truth_in_95_of_100_experiments():
    random = np.random.default_rng(5)
    for samples, experiments in (
        (1, 1500),
        (4, 200),
    ):  # a comparison of several samples is a bootstrap, 30 times slower
        hits = 0
        for _ in range(experiments):
            rates = random.beta(2, 1, 120)
            before, now = (
                random.binomial(samples, rates) / samples,
                random.binomial(samples, rates**2) / samples,
            )
            found = compared(dict(enumerate(before.tolist())), dict(enumerate(now.tolist()))).difference
            hits += found.low <= 1 / 2 - 2 / 3 <= found.high
        assert hits / experiments >= 0.95 - 3 * (0.0475 / experiments) ** 0.5


@pytest.mark.parametrize(
    ("lost", "gained", "p_value"),
    [(0, 0, 1), (5, 0, 0.0625), (0, 6, 0.03125), (9, 1, 0.021484375), (4, 4, 1)],
)
def test_mcnemar_is_the_exact_binomial_test(lost, gained, p_value):
    found = mcnemar(lost, gained, 50)
    assert found.p_value == p_value and found.difference.value == (gained - lost) / 50
    assert found.fell == (p_value < 0.05 and lost > gained) and found.rose == (
        p_value < 0.05 and gained > lost
    )


def test_comparisons_are_paired_by_prompt_and_the_same_each_time():
    before = {f"p{number}": number % 5 / 4 for number in range(80)}
    now = {
        name: min(1.0, value + (number % 3 == 0) / 4) for number, (name, value) in enumerate(before.items())
    } | {"new": 0.0}
    first = compared(before, now)
    assert first.prompts == 80 and first.rose and first == compared(dict(reversed(before.items())), now)
    assert (
        first.difference.low
        > unpaired(mean(list(before.values())).estimate, mean(list(now.values())).estimate).difference.low
    )
    assert compared(before, {"other": 1.0}) is None


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_a_bootstrap_holds_its_mean_and_says_nothing_of_very_few_prompts(differences):
    found = bootstrapped(differences)
    assert (
        found.difference.low <= found.difference.value + 1e-9
        and found.difference.value - 1e-9 <= found.difference.high
    )
    assert found.is_noise or len(differences) >= 5
