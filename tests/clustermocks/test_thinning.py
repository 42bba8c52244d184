"""Thinned training sets: richness and mass are independent, galaxies are the cluster's own, the prior is flat."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare, kstest

from clustermocks import MDPL2, Catalogue, FlatMasses, Observation, SphericalJeans, without_richness
from clustermocks.catalogue.provenance import Provenance
from sbi_clustermass.posterior.prior import fit_effective_prior

FAILURE_RATE = 1e-3  # of each test, had the seed not been fixed
RANGE = {"fewest": 5, "most": 20, "low": 14.0, "high": 15.2}


@pytest.fixture(scope="module")
def rich() -> Catalogue:
    """Galaxy i of a cluster has R = i / 1000 and the cluster's number for a velocity; N rises with the mass."""
    masses = FlatMasses(13.8, 15.2).draw(6000, seed=1)
    rng = np.random.default_rng(1)
    n = rng.poisson(25 * 10 ** (0.9 * (masses - 14)))
    position = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return Catalogue.from_arrays(
        Observation(min_galaxies=10),
        MDPL2,
        clusters={"log10_mass": masses, "host_id": np.arange(len(n)), "name": np.arange(len(n)).astype(str)},
        galaxies={
            "R_proj": position / 1000,
            "v_los": np.repeat(np.arange(len(n)), n),
            "is_member": position % 2 == 0,
            "in_cylinder": rng.random(n.sum()) < 0.9,
        },
        offsets=np.concatenate([[0], np.cumsum(n)]),
        provenance=Provenance("test"),
    )


@pytest.fixture(scope="module")
def thinned(rich) -> Catalogue:
    return without_richness(rich, **RANGE, seed=2)


def test_richness_predicts_mass_before_and_not_after(rich, thinned):
    """R^2 of a straight line: .5 and more before, as small as for independent numbers after."""
    assert np.corrcoef(np.log(rich.n_galaxies), rich.log10_mass)[0, 1] ** 2 > 0.5
    r2 = np.corrcoef(np.log(thinned.n_galaxies), thinned.log10_mass)[0, 1] ** 2
    assert len(thinned) > 1500
    assert r2 < 11 / len(thinned)  # chi^2 of 1 degree of freedom exceeds 10.8 once in 1000
    edges = [np.unique([*thinned.n_galaxies, 99]), np.linspace(14.0, 15.2, 13)]
    table = np.histogram2d(thinned.n_galaxies, thinned.log10_mass, edges)[0]
    assert chi2_contingency(table).pvalue > FAILURE_RATE


def test_masses_are_flat_at_every_richness_and_levels_as_likely_as_their_clusters_allow(thinned):
    for n in np.unique(thinned.n_galaxies):
        masses = thinned.log10_mass[thinned.n_galaxies == n]
        assert kstest(masses, "uniform", args=(14.0, 1.2)).pvalue > FAILURE_RATE
    poor = np.bincount(thinned.n_galaxies)[[5, 6, 7, 8]]  # all clusters have so many
    assert chisquare(poor).pvalue > FAILURE_RATE


def test_the_effective_prior_is_flat_and_all_attempts_are_selected(thinned):
    masses, selected = thinned.attempted()
    assert selected.all()
    np.testing.assert_array_equal(np.sort(masses), np.sort(thinned.log10_mass))
    prior = fit_effective_prior(thinned, (14.0, 15.2))
    density = prior.log_density(np.linspace(14.0, 15.2, 50))
    # the slope of a flat density from 1500 masses is known to sqrt(12 / 1500) / 1.2: .07 a dex
    np.testing.assert_allclose(density, -np.log(1.2), atol=0.1)


def test_clusters_keep_galaxies_of_their_own_each_once_and_any_of_them(rich, thinned):
    for i in range(0, len(thinned), 50):
        R, v = thinned.galaxies(i)
        source = int(thinned.names[i])
        assert thinned.host_id[i] == source
        assert set(v) == {source}
        assert len(np.unique(R)) == len(R) == thinned.n_galaxies[i]
        original = int(np.flatnonzero(rich.host_id == source)[0])
        assert set(R) <= set(rich.galaxies(original)[0])
        np.testing.assert_array_equal(thinned.is_member(i), np.round(R * 1000) % 2 == 0)
    share = thinned.n_galaxies / rich.n_galaxies[np.searchsorted(rich.host_id, thinned.host_id)]
    kept_first = np.isclose([thinned.galaxies(i)[0].min() for i in range(len(thinned))], 0)
    visible_first = np.isclose([rich.galaxies(i)[0].min() for i in np.searchsorted(rich.host_id, thinned.host_id)], 0)
    expected = share[visible_first]
    # the first galaxy is kept as often as any: 3.3 sigma of the sum of Bernoulli draws
    error = np.sqrt((expected * (1 - expected)).sum())
    assert abs(kept_first.sum() - expected.sum()) < 3.3 * error


def test_the_result_is_a_catalogue_like_any_other(rich, thinned, tmp_path):
    thinned.to_parquet(tmp_path / "thin.parquet")
    again = Catalogue.from_parquet(tmp_path / "thin.parquet")
    np.testing.assert_array_equal(again.padded(), thinned.padded())
    assert again.provenance.thinned_to == (5, 20)
    assert again.observation == replace(rich.observation, min_galaxies=5)
    np.testing.assert_array_equal(without_richness(rich, **RANGE, seed=2).padded(), thinned.padded())
    assert not np.array_equal(without_richness(rich, **RANGE, seed=3).host_id, thinned.host_id)


def test_thinned_clusters_have_the_likelihood_of_their_galaxies_alone():
    """In SphericalJeans galaxies are independent: thinned ones are distributed as those of a poorer cluster."""
    model = SphericalJeans(observation=Observation(min_galaxies=10))
    full = model.simulate(FlatMasses(14.4, 14.6).draw(600, seed=3), seed=3)
    few = without_richness(full, fewest=8, most=8, low=14.4, high=14.6, seed=1)
    everything, kept = (np.abs(c.galaxy_column("v_los")) for c in (full, few))
    assert kstest(kept, everything).pvalue > FAILURE_RATE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fewest": 0}, "1 <= fewest"),
        ({"most": 4}, "1 <= fewest"),
        ({"fewest": 5.5}, "whole numbers"),
        ({"most": 200}, "thinned to n = .*no cluster between 14.00 and 14.10"),
        ({"low": 13.0}, "no cluster between 13"),
        ({"low": 15.5}, "low < high"),
    ],
)
def test_impossible_requests_are_refused(rich, change, message):
    with pytest.raises(ValueError, match=message):
        without_richness(rich, **{**RANGE, **change}, seed=1)
