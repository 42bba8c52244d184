"""Masses whose scale depends on the cosmology of the mocks: the cosmology that is found again is the true one."""

import warnings
from dataclasses import replace

import arviz
import numpy as np
import pytest
import torch
from scipy.stats import norm

from clustermocks import MDPL2
from sbi_clustermass.population import (
    CosmologyMassFunction,
    KnownSelection,
    Laplace,
    ObservedClusters,
    Population,
    ScalingRelation,
    Survey,
    fit,
    fit_self_consistently,
)
from sbi_clustermass.population.self_consistent import _Found
from sbi_clustermass.posterior import MassPosteriors

MASSES = CosmologyMassFunction(Om0=(0.15, 0.5), sigma8=(0.55, 1.1))
TRUE = replace(MDPL2, Om0=0.35, sigma8=0.78)
SHIFT, ERROR, CUT = 1.5, 0.15, 14.0  # of the mass by Om0 [dex], of a mass [dex], of the mass that is observed
GRID = np.linspace(13.0, 15.8, 200)
VOLUME = 1e8  # h^-3 Mpc^3: some 2900 clusters
QUICK = Laplace(num_samples=300, rounds=3)


def scale(cosmology):
    """What an observed mass is off by in a universe [dex]."""
    return SHIFT * (cosmology.Om0 - 0.3)


@pytest.fixture(scope="module")
def observed():
    """Masses of a survey of the true universe, cut by what is observed."""
    rng, grid = np.random.default_rng(1), np.linspace(12.8, 15.8, 3001)
    parameters = {name: torch.tensor(getattr(TRUE, name), dtype=torch.float64) for name in ("Om0", "sigma8")}
    log_density = MASSES.log_density(torch.as_tensor(grid), parameters, torch.tensor([0.117], dtype=torch.float64))
    rate = np.exp(log_density[0].numpy()) * VOLUME
    below = np.append(0, np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(grid)))
    true = np.interp(rng.uniform(0, below[-1], rng.poisson(below[-1])), below, grid)
    seen = true + scale(TRUE) + ERROR * rng.standard_normal(len(true))
    return seen[seen > CUT]


@pytest.fixture(scope="module")
def in_cosmology(observed):
    def parts(cosmology):
        def selection(log10_mass):
            return norm.cdf((log10_mass + scale(cosmology) - CUT) / ERROR)

        masses = observed - scale(cosmology)
        posteriors = MassPosteriors.from_normal(masses, np.full(len(masses), ERROR), GRID)
        population = Population(MASSES, selection=KnownSelection(selection, of_data=True), mass_range=(12.8, 15.8))
        return population, ObservedClusters(posteriors)

    return parts


def summary(idata):
    draws = np.stack([idata["posterior"][name].values.ravel() for name in ("Om0", "sigma8")], 1)
    return draws.mean(0), draws.std(0)


@pytest.fixture(scope="module")
def found(in_cosmology):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of Pareto k
        return fit_self_consistently(in_cosmology, Survey.of_volume(VOLUME), sampler=QUICK)


@pytest.mark.slow
def test_the_true_cosmology_is_found_again_where_a_fit_in_another_is_off(in_cosmology, found):
    truth = np.array([TRUE.Om0, TRUE.sigma8])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        fixed = fit(*in_cosmology(replace(MDPL2, Om0=0.24)), Survey.of_volume(VOLUME), sampler=QUICK)
    mean, std = summary(fixed)
    assert np.abs((mean - truth) / std).max() > 4
    mean, std = summary(found)
    assert np.abs((mean - truth) / std).max() < 3  # one survey, two numbers: one in 200 by chance
    np.testing.assert_allclose(
        found["posterior"]["S8"], found["posterior"]["sigma8"] * np.sqrt(found["posterior"]["Om0"] / 0.3), rtol=1e-12
    )


@pytest.mark.slow
def test_where_it_starts_does_not_matter(in_cosmology, found):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        other = fit_self_consistently(
            in_cosmology, Survey.of_volume(VOLUME), start=replace(MDPL2, Om0=0.4, sigma8=0.72), sampler=QUICK
        )
    (mean, std), (again, _) = summary(found), summary(other)
    assert np.abs((mean - again) / std).max() < 0.3  # draws of 300: .06 each, amplified


def test_the_noise_of_the_fixed_point_is_that_of_the_fit_amplified_by_the_feedback():
    """Against the fixed point of each draw by itself, where what is found is linear in what is assumed."""
    rng, feedback, of_other = np.random.default_rng(2), np.array([[-0.4, 0.1], [0.7, -0.2]]), np.array([2.0, -1.0])
    relation = ScalingRelation("x", intercept=(0.0, 1.0), slope=(0.0, 1.0), scatter=0.1)
    population, slope = Population(MASSES, (relation,)), relation.site("slope")
    assumed = np.array([0.31, 0.8])
    noise = rng.multivariate_normal([0, 0, 0], [[4e-5, -8e-5, 0], [-8e-5, 3e-4, 1e-5], [0, 1e-5, 1e-2]], size=(1, 400))
    draws = {"Om0": assumed[0] + noise[..., 0], "sigma8": assumed[1] + noise[..., 1], slope: noise[..., 2]}
    slopes = {"Om0": feedback[0], "sigma8": feedback[1], slope: of_other}
    posterior = {**draws, "S8": np.zeros((1, 400))}
    moved = _Found(population, arviz.from_dict(posterior=posterior)).of_fixed_point(assumed, slopes)["posterior"]
    cosmology = np.stack([moved[name].values for name in ("Om0", "sigma8")], -1) - assumed
    # what is found with this noise in the cosmology at which one stands is where one stands
    np.testing.assert_allclose(noise[..., :2] + cosmology @ feedback.T, cosmology, atol=1e-12)
    np.testing.assert_allclose(moved[slope], noise[..., 2] + cosmology @ of_other, atol=1e-12)


def test_a_fit_that_runs_away_is_refused(in_cosmology):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with pytest.raises(ValueError, match="no cosmology is found again in 1 rounds"):
            fit_self_consistently(in_cosmology, Survey.of_volume(VOLUME), sampler=QUICK, rounds=1)
