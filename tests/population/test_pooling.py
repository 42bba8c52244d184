"""Fits of several networks pooled: moments of a mixture, and networks that err alike for all clusters."""

import json

import numpy as np
import pytest

from sbi_clustermass.population import Laplace, NormalMasses, Population, fit, pooled
from sbi_clustermass.posterior import MassPosteriors

POPULATION = Population(NormalMasses())
GRID, QUICK = np.linspace(13.0, 15.8, 281), Laplace(num_samples=200, seed=1)
MASSES = np.random.default_rng(1).normal(14.4, 0.2, 300)


def fitted(error, population=POPULATION, draws=400):
    posteriors = MassPosteriors.from_normal(MASSES + error, 0.1, GRID)
    return fit(population, posteriors, counts=False, sampler=Laplace(num_samples=draws, seed=1))


def test_pooled_draws_have_the_moments_of_the_mixture_and_span_the_networks_errors():
    """Three networks that are off by 0 and +-.05 dex: the population's mean is no better known than that."""
    fits = [fitted(error) for error in (-0.05, 0.0, 0.05)]
    found = pooled(fits)
    each = np.stack([one["posterior"]["mass_mean"].values for one in fits])
    draws = found["posterior"]["mass_mean"].values
    assert draws.shape == (3, 400)
    assert draws.mean() == pytest.approx(each.mean())
    assert draws.var() == pytest.approx(each.var(axis=(1, 2)).mean() + each.mean(axis=(1, 2)).var())
    assert draws.std() > 3 * each[0].std()
    shares = json.loads(found.attrs["between_networks"])
    assert shares["mass_mean"] == pytest.approx(0.05 * np.sqrt(2 / 3) / draws.std(), rel=0.1)  # 300 clusters, 400 draws
    assert found.attrs["networks"] == 3
    assert found["log_likelihood"]["clusters"].shape == (3, 400, 300)
    assert found["prior"]["mass_mean"].shape == fits[0]["prior"]["mass_mean"].shape
    assert set(found.groups()) == set(fits[0].groups())


def test_fits_of_other_models_are_not_pooled():
    with pytest.raises(ValueError, match="there are no fits"):
        pooled([])
    with pytest.raises(ValueError, match="fit 1 is of another model"):
        pooled([fitted(0.0), fitted(0.0, Population(NormalMasses(width=0.3)))])


def test_fits_of_other_clusters_are_not_pooled():
    fits = [
        fit(POPULATION, MassPosteriors.from_normal(some, 0.1, GRID), counts=False, sampler=QUICK)
        for some in (MASSES[:30], MASSES[:31])
    ]
    with pytest.raises(ValueError, match="fit 1 is of other clusters"):
        pooled(fits)
