"""Residuals and coverage against scipy and against posteriors that are right by construction."""

import numpy as np
import pytest

from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics import coverage, residuals

GRID = np.linspace(12, 17, 800)


def test_residuals_have_the_mean_and_scatter_of_their_draw_and_honest_errors():
    rng = np.random.default_rng(0)
    draws = [residuals(14 + rng.normal(0.1, 0.2, 400), np.full(400, 14.0)) for _ in range(300)]
    means, scatters = ([pair[i].value for pair in draws] for i in (0, 1))
    # 300 repeats fix a standard deviation to 4 %; three of those
    assert np.std(means) == pytest.approx(draws[0][0].error, rel=0.12)
    assert np.std(scatters) == pytest.approx(np.mean([pair[1].error for pair in draws]), rel=0.12)
    assert np.mean(means) == pytest.approx(0.1, abs=0.002)  # .2 / sqrt(120 000) = .0006, three of them


@pytest.mark.parametrize("level", [0.5, 0.68, 0.95])
def test_right_posteriors_cover_as_promised_and_narrow_ones_do_not(level):
    rng = np.random.default_rng(1)
    mean = rng.uniform(14, 15, 4000)
    truth = mean + rng.normal(0, 0.2, 4000)
    right = coverage(MassPosteriors.from_normal(mean, 0.2, GRID), truth, level)
    assert abs(right.value - level) < 4 * right.error  # fails once in 16 000 seeds
    assert coverage(MassPosteriors.from_normal(mean, 0.1, GRID), truth, level).value < level - 10 * right.error
