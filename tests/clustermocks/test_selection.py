"""P(selected | mass) against the probability that the flags were drawn from."""

import numpy as np
import pytest
from scipy.special import expit

from clustermocks.selection import fit_selection


@pytest.mark.parametrize(
    "truth",
    [
        lambda m: expit(4 * (m - 14.1)),
        lambda m: expit(9 * (m - 13.9)) * (0.9 + 0.09 * expit(3 * (m - 14.5))),  # a richness cut times a percolation
    ],
)
def test_the_selection_that_drew_the_flags_is_recovered(truth):
    rng = np.random.default_rng(1)
    masses = rng.uniform(13, 15.5, 40_000)
    fitted = fit_selection(masses, rng.random(masses.size) < truth(masses))
    # binomial error of 40 000 flags over 19 coefficients: .5 / sqrt(40 000 / 19) = .011; three of them
    grid = np.linspace(13, 15.5, 50)
    np.testing.assert_allclose(fitted(grid), truth(grid), atol=0.033)
    np.testing.assert_allclose(np.exp(fitted.log(grid)), fitted(grid), rtol=1e-12)


def test_a_complete_sample_is_selected_everywhere():
    masses = np.linspace(13, 15, 5000)
    assert fit_selection(masses, np.ones(5000, bool))(masses).min() > 0.995  # the ridge holds it a little below 1


def test_beyond_the_attempted_masses_the_fit_stays_monotonic():
    rng = np.random.default_rng(2)
    masses = rng.uniform(13, 15, 5000)
    fitted = fit_selection(masses, rng.random(5000) < expit(3 * (masses - 14)))
    assert np.all(np.diff(fitted(np.linspace(11, 13, 50))) > 0)
    assert fitted(11.0) < 1e-3


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="finite masses"):
        fit_selection(np.array([14.0, np.nan]), np.array([True, False]))
    with pytest.raises(ValueError, match="as many flags"):
        fit_selection(np.array([14.0, 14.1]), np.array([True]))
