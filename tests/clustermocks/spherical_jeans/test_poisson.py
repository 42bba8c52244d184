"""The marked point process against brute-force quadrature over the scatter, and against Monte Carlo."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import gamma, nbinom, poisson

from clustermocks.spherical_jeans.poisson import cluster_sums, log_at_least, log_process


def _by_quadrature(rates, expected, shape, background):
    """The formula as written: mean over G of the Poisson process' density; every mark has background density B."""

    def integrand(G):
        log_terms = np.log(G * rates + background).sum() - G * expected - background
        return gamma.pdf(G, shape, scale=1 / shape) * np.exp(log_terms - scale)

    scale = max(np.log(G * rates + background).sum() - G * expected for G in np.geomspace(0.1, 40, 200))
    value = quad(integrand, 0, 40, limit=800, epsabs=0, epsrel=1e-10, points=[0.5, 1, 2, 4, 8, 16])[0]
    return np.log(value) + scale - np.log(np.arange(1, len(rates) + 1)).sum()


@pytest.mark.parametrize(("shape", "tolerance"), [(100.0, 1e-6), (25.0, 1e-5), (4.0, 1e-3)])  # as promised
@pytest.mark.parametrize("expected", [3.0, 40.0])
@pytest.mark.parametrize("n", [0, 1, 12, 90])
def test_process_over_a_background_agrees_with_quadrature(n, expected, shape, tolerance):
    rates = expected * np.exp(np.random.default_rng(n).normal(0, 2, n))
    for background in (0.5, 10.0):
        exact = _by_quadrature(rates, expected, shape, background)
        density = (background, background)  # marks in [0, 1]
        found = log_process(np.log(rates), np.array([n]), expected=expected, shape=shape, background=density)
        assert found[0] == pytest.approx(exact, abs=tolerance)


@pytest.mark.parametrize("shape", [4.0, 100.0, np.inf])
def test_a_vanishing_background_is_none(shape):
    log_member, n = np.random.default_rng(1).normal(2, 1, 30), np.array([30])
    none, faint = (log_process(log_member, n, expected=20.0, shape=shape, background=(b, b))[0] for b in (0.0, 1e-9))
    assert faint == pytest.approx(none, abs=1e-3)  # Gauss-Hermite at k = 4


@pytest.mark.parametrize(("shape", "law"), [(100.0, nbinom(100, 100 / 130)), (np.inf, poisson(30))])
def test_number_follows_its_law_and_gets_the_background_added(shape, law):
    drawn = law.rvs(200_000, random_state=1) + poisson(8).rvs(200_000, random_state=2)
    for minimum in (0, 1, 30, 50):
        share = np.exp(log_at_least(minimum, expected=np.array([30.0]), shape=shape, background=8.0))[0]
        assert share == pytest.approx((drawn >= minimum).mean(), abs=4 * 0.5 / np.sqrt(200_000))  # 4 sigma


@pytest.mark.parametrize("shape", [100.0, np.inf])
def test_densities_of_unmarked_galaxies_sum_to_one_over_their_number(shape):
    n = np.arange(160)
    total = 0.0
    for number in n:  # the density of a mark uniform in [0, 1] is mu, of the background B
        marks = np.full(number, np.log(30.0))
        total += np.exp(log_process(marks, np.array([number]), expected=30.0, shape=shape, background=(8.0, 8.0))[0])
    assert total == pytest.approx(1, abs=1e-6)  # the tail beyond 160 is under 1e-12, the integral over G good to 1e-7


def test_sums_over_clusters_leave_empty_ones_at_zero():
    values = np.array([1.0, 2.0, 3.0, -np.inf])
    np.testing.assert_array_equal(cluster_sums(values, np.array([0, 2, 0, 1, 1, 0])), [0, 3, 0, 3, -np.inf, 0])
    np.testing.assert_array_equal(cluster_sums(np.zeros(0), np.array([0, 0])), [0, 0])
