"""Eddington bias: what mass errors do to naive numbers, and that the hierarchical fit undoes it."""

import runpy
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, norm

from sbi_clustermass.population import Laplace
from tests.paths import ROOT

EXAMPLE = runpy.run_path(str(ROOT / "examples" / "eddington.py"))
VOLUME = 4e8  # some 9000 clusters


@pytest.fixture(scope="module")
def mock():
    return EXAMPLE["observe"](VOLUME, seed=1)


def test_histogram_of_estimates_is_the_mass_function_smeared_by_the_errors(mock):
    """The integral of phi(m) P(estimate in a bin | m), by quadrature."""
    edges, haloes, error = EXAMPLE["EDGES"], EXAMPLE["HALOES"], EXAMPLE["mass_error"]

    def smeared(m, low, high):
        return float(haloes.density(m) * np.diff(norm.cdf((np.array([low, high]) - m) / error(m)))[0])

    def expected(low, high):
        return VOLUME * quad(smeared, 12.8, 15.8, args=(low, high), points=[low, high], epsrel=1e-4, limit=100)[0]

    counts, _ = np.histogram(mock.estimate, edges)
    bins = [(low, high) for low, high in pairwise(edges) if high < 15.05]  # 20 clusters and more in each
    means = np.array([expected(*each) for each in bins])
    distance = ((counts[: len(bins)] - means) ** 2 / means).sum()
    assert distance < chi2.isf(1e-3, len(bins))  # fails for 1 in 1000 seeds


def test_naive_numbers_of_true_masses_are_right():
    """The ways are sound: it is the errors that make them fail."""
    haloes, truth = EXAMPLE["HALOES"], EXAMPLE["truth"]()
    rng = np.random.default_rng(2)
    masses = haloes.draw(rng.poisson(VOLUME * haloes.number_density()), seed=3)
    masses = masses[masses > EXAMPLE["CUT"]]
    spread = np.hypot(EXAMPLE["SCATTER"], EXAMPLE["ERROR"]) * rng.standard_normal(masses.size)
    log_sigma = truth["intercept_log_sigma"] + truth["slope_log_sigma"] * (masses - EXAMPLE["PIVOT"]) + spread
    pulls = EXAMPLE["pulls"](EXAMPLE["naive"](EXAMPLE["Mock"](masses, log_sigma, VOLUME)))
    # five unit normals: one is beyond 3.3 for 1 in 200 seeds; the cubic adds half a sigma
    assert max(abs(pull) for pull in pulls.values()) < 3.3


@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_naive_slopes_fail_where_hierarchical_ones_do_not(mock):
    naive = EXAMPLE["pulls"](EXAMPLE["naive"](mock))
    fitted = EXAMPLE["hierarchical"](mock, Laplace(num_samples=40, rounds=1))  # means to a fifth of a sigma
    hierarchical = EXAMPLE["pulls"](EXAMPLE["summary"](fitted))
    # -5.8 ± 1.0 and 12.3 ± .9 sigma over 200 seeds, none of which was within 3 of the truth
    assert naive["slope"] < -3
    assert naive["slope_log_sigma"] > 3
    assert naive["log10_density"] > 10
    assert naive["intercept_log_sigma"] < -10
    assert naive["scatter_log_sigma"] > 10
    assert max(abs(pull) for pull in hierarchical.values()) < 3.3  # five unit normals: fails for 1 in 200 seeds


@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_example_prints_pulls_and_makes_its_picture(tmp_path, capsys):
    sampler = Laplace(num_samples=20, rounds=1)
    EXAMPLE["main"](surveys=2, volume=5e7, out=tmp_path / "runs" / "picture.png", sampler=sampler)
    printed = capsys.readouterr().out
    assert printed.count("clusters estimated above 10^14") == 2
    assert "pulls over 2 surveys" in printed
    assert (tmp_path / "runs" / "picture.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:population fit")  # few draws on purpose
def test_hierarchical_numbers_are_unbiased_over_many_surveys():
    """40 surveys: the first 12 alone have intercepts low by one sigma on average, the 80 from seed 100 on by .2."""
    found = [EXAMPLE["hierarchical"](EXAMPLE["observe"](5e7, seed), Laplace(num_samples=200)) for seed in range(40)]
    pulls = [EXAMPLE["pulls"](EXAMPLE["summary"](idata)) for idata in found]
    for name in EXAMPLE["truth"]():
        each = np.array([pull[name] for pull in pulls])
        assert abs(each.mean()) < 3.3 / np.sqrt(40), name  # five means: one is beyond for 1 in 200 sets of seeds
        assert np.sum(each**2) < chi2.isf(1e-3, 40), name
