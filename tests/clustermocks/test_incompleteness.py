"""Mocks changed after the simulation are those that would have been simulated so."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from clustermocks import FlatMasses, HaloModel
from clustermocks.incompleteness import as_observed
from clustermocks.observation import centre_velocity
from clustermocks.simulators import provenance_as_text
from sbi_clustermass.posterior.prior import fit_effective_prior

MASSES = FlatMasses(13.0, 15.0).draw(1500, 4)


@pytest.fixture(scope="module")
def mocks():
    return HaloModel().simulate(MASSES, seed=4)


def test_thinned_mocks_are_like_simulated_incomplete_ones(mocks):
    thinned = as_observed(mocks, (0.4, 0.4), (150.0, 150.0), seed=1)
    simulated = HaloModel(completeness=0.4, velocity_error=150.0).simulate(MASSES, seed=5)
    for measure in (lambda c: c.n_galaxies, lambda c: [np.mean(c.galaxies(i)[0]) for i in range(len(c))]):
        found: Any = ks_2samp(measure(thinned), measure(simulated))
        assert found.pvalue > 1e-3  # fails once in 300 by chance
    assert abs(len(thinned) - len(simulated)) < 4 * np.sqrt(2 * 0.25 * len(MASSES))  # binomial, at its widest
    assert thinned.n_galaxies.min() >= 10
    _, one, other = np.intersect1d(thinned.log10_mass, simulated.log10_mass, return_indices=True)
    dispersions = (
        [np.std(c.galaxies(i)[1]) for i in rows.tolist()] for c, rows in ((thinned, one), (simulated, other))
    )
    ratio = np.subtract(*np.log([*dispersions]))
    # what comes in from beyond the velocity cut is missing: the mean over twelve other seeds is -.024 +- .003
    assert ratio.mean() == pytest.approx(-0.024, abs=4 * ratio.std() / np.sqrt(len(ratio)))


def test_a_range_of_completeness_is_drawn_evenly(mocks):
    low, high = 0.3, 0.9
    rich = mocks.select(mocks.n_galaxies > 100)
    seen = as_observed(rich, (low, high), (0.0, 0.0), seed=2)
    order = np.searchsorted(rich.host_id, seen.host_id)
    share = seen.n_galaxies / rich.n_galaxies[order]
    # uniform: mean .6 and deviation .173, to four standard errors; thinning adds .04 in quadrature, 3 %
    assert share.mean() == pytest.approx((low + high) / 2, abs=4 * 0.18 / np.sqrt(len(share)))
    assert share.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.15)


def test_the_effective_prior_is_still_flat(mocks):
    seen = as_observed(mocks, (0.2, 0.5), (0.0, 100.0), seed=3)
    assert len(seen) < 0.9 * len(mocks)
    prior = np.exp(fit_effective_prior(seen, (13.0, 15.0)).log_density(np.linspace(13.2, 14.8, 9)))
    assert prior == pytest.approx(np.full(9, 0.5), rel=0.25)  # 1 / 2 dex; some hundred clusters a bin of .2 dex


def test_the_same_seed_gives_the_same_mocks_and_another_gives_others(mocks):
    some = mocks.select(np.arange(50))
    one, two, other = (as_observed(some, (0.5, 1.0), (0.0, 50.0), seed=seed) for seed in (1, 1, 2))
    assert one.clusters.equals(two.clusters)
    assert not one.clusters.equals(other.clusters)


def test_the_velocity_of_a_cluster_is_that_of_the_galaxies_that_are_left(mocks):
    seen = as_observed(mocks, (0.3, 0.6), (0.0, 100.0), seed=6)
    v_los = [np.asarray(seen.galaxies(i)[1], float) for i in range(len(seen))]
    centres = [centre_velocity(each, seen.observation.v_cut) for each in v_los]
    # those that the shift carries out of the window move the centre by as much as one galaxy of ten can, seldom
    assert np.quantile(np.abs(centres), 0.95) < 5.0
    exact = HaloModel(recentre=False).simulate(MASSES[:200], seed=4)
    moved = as_observed(exact, (0.3, 0.6), (0.0, 0.0), seed=6)
    assert np.isin(moved.galaxy_column("v_los"), exact.galaxy_column("v_los")).all()


def test_complete_and_exact_spectroscopy_leaves_the_mocks_as_they_were(mocks):
    seen = as_observed(mocks, (1.0, 1.0), (0.0, 0.0), seed=1)
    assert seen.clusters.equals(mocks.clusters)
    assert seen.attempts.equals(mocks.attempts)


def test_galaxies_carried_beyond_the_velocity_cut_are_lost_and_poor_clusters_are_attempts_that_failed(mocks):
    blurred = as_observed(mocks, (1.0, 1.0), (100.0, 100.0), seed=3)
    lost = mocks.n_galaxies.sum() - blurred.n_galaxies.sum()
    assert 0 < lost < 0.02 * mocks.n_galaxies.sum()  # some of the few within 100 km/s of the cut
    assert np.abs(blurred.galaxy_column("v_los")).max() < mocks.observation.v_cut
    thinned = as_observed(mocks, (0.2, 0.2), (0.0, 0.0), seed=3)
    log10_mass, passed = thinned.attempted()
    assert len(log10_mass) == mocks.attempts.num_rows
    assert passed.sum() == len(thinned) < len(mocks)


def test_mocks_tell_how_they_were_observed(mocks):
    provenance = as_observed(mocks, (0.2, 1.0), (0.0, 150.0), seed=3).provenance
    assert (provenance.completeness, provenance.velocity_error) == ((0.2, 1.0), (0.0, 150.0))
    text = provenance_as_text(provenance)
    assert (text["completeness_range"], text["velocity_error_range"]) == ("0.2 to 1", "0 to 150")
