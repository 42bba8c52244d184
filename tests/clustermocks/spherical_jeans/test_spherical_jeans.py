"""The twin with a known likelihood: normalised, what the mocks follow, calibrated, and invariant where it must be."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.integrate import simpson
from scipy.stats import chi2, kstest, nbinom, norm, poisson

from clustermocks import Catalogue, FlatMasses, JeansGalaxies, Observation, SphericalJeans
from clustermocks.haloes.jeans import Tracers, fraction_inside
from clustermocks.spherical_jeans.galaxies import hosts

ALL = Observation(min_galaxies=0)
MODELS = {
    "mass": SphericalJeans(),
    "mass, background": SphericalJeans(background=10.0),
    "independent": SphericalJeans(richness="independent"),
    "independent, background": SphericalJeans(richness="independent", background=10.0),
}
SCATTER = JeansGalaxies(mass_concentration_scatter=0.16, anisotropy=-0.1, anisotropy_spread=0.3)
FREE = SphericalJeans(background=5.0, free=("log10_c200c", "beta"))
FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed
GRID = np.linspace(13.5, 15.3, 181)


def _halo(model, log10_mass):
    """R_vir [h^-1 Mpc], and the fraction of galaxies in the cylinder, of a halo without scatter."""
    columns = {"log10_mass": np.array([log10_mass])}
    halo = hosts(columns, model.galaxies, offsets=(0.0, 0.0), redshift=0.117, cosmology=model.cosmology)
    R_vir = float(halo.edge[0] * halo.r_200c[0])
    tracers = Tracers(float(halo.c_200c[0]), 2.6, float(halo.edge[0]), halo.anisotropy_of(0))
    return R_vir, fraction_inside(tracers, 1.6 / R_vir, 2500 / float(halo.v_200[0]))


def _cylinder(R_vir, nodes):
    """R, v and weights of a quadrature over the cylinder, v > 0 counting twice; for members, which end at R_vir."""
    reach = np.arccosh(max(R_vir / 1.6, 1.0))
    x, w = np.polynomial.legendre.leggauss(nodes)
    depth = reach + (9 - reach) * (x + 1) / 2  # beyond 9 lies a part in 10^7
    R, v = R_vir / np.cosh(depth), 1250 * (x + 1)
    w_R, w_v = (9 - reach) / 2 * w * R * np.tanh(depth), 2500 * w
    return (*(a.ravel() for a in np.meshgrid(R, v, indexing="ij")), np.outer(w_R, w_v).ravel())


def _posterior_pit(log_like, grid, truth):
    """Share of each posterior, flat in the parameter, below the truth; the density is linear between grid points."""
    prob = np.exp(log_like - log_like.max(axis=1, keepdims=True))
    cdf = np.concatenate([np.zeros((len(prob), 1)), np.cumsum((prob[:, 1:] + prob[:, :-1]) / 2, axis=1)], axis=1)
    return np.array([np.interp(t, grid, row / row[-1]) for t, row in zip(truth, cdf, strict=True)])


@pytest.mark.parametrize("log10_mass", [13.2, 14.0, 15.3])
@pytest.mark.parametrize("richness", ["mass", "independent"])
def test_density_of_few_members_integrates_to_the_probability_of_their_number(richness, log10_mass):
    galaxies = JeansGalaxies(number=2.0, number_slope=0.1, anisotropy="mamon_lokas")
    model = SphericalJeans(observation=ALL, richness=richness, galaxies=galaxies)
    R_vir, inside = _halo(model, log10_mass)
    expected = 2 * 10 ** (0.1 * (log10_mass - 14)) * inside if richness == "mass" else 2.0
    law = nbinom(100, 100 / (100 + expected))
    assert np.exp(model.log_likelihood(np.zeros((1, 4, 3)), [log10_mass]))[0, 0] == pytest.approx(law.pmf(0), rel=1e-9)
    R, v, weight = _cylinder(R_vir, 40)
    one = np.stack([R, v, np.ones_like(R)], axis=-1)[:, None]
    density = np.exp(model.log_likelihood(one, [log10_mass])[:, 0])
    assert density @ weight == pytest.approx(law.pmf(1), rel=1e-4)  # the table's error
    R, v, weight = _cylinder(R_vir, 18)
    first, second = (a.ravel() for a in np.meshgrid(np.arange(len(R)), np.arange(len(R))))
    one = np.stack([R, v, np.ones_like(R)], axis=-1)
    density = np.exp(model.log_likelihood(np.stack([one[first], one[second]], axis=1), [log10_mass])[:, 0])
    assert density @ (weight[first] * weight[second]) == pytest.approx(law.pmf(2), rel=2e-3)  # 18 nodes


@pytest.mark.parametrize("richness", ["mass", "independent"])
def test_density_over_a_background_integrates_to_the_probability_of_the_number(richness):
    """Members end at R_vir but the background does not: two integrals, from 0 to R_vir and on to the aperture."""
    model = SphericalJeans(observation=ALL, richness=richness, background=3.0, galaxies=JeansGalaxies(number=2.0))
    R_vir, inside = _halo(model, 13.6)
    expected = 2 * 10 ** (0.91 * -0.4) * inside if richness == "mass" else 2.0
    members, background = nbinom(100, 100 / (100 + expected)), poisson(3.0)
    R, v, weight = _cylinder(R_vir, 40)
    x, w = np.polynomial.legendre.leggauss(10)
    outside = R_vir + (1.6 - R_vir) * (x + 1) / 2
    R, v = np.append(R, outside), np.append(v, np.zeros(10))
    weight = np.append(weight, (1.6 - R_vir) / 2 * w * 5000)  # uniform in v there
    one = np.stack([R, v, np.ones_like(R)], axis=-1)[:, None]
    density = np.exp(model.log_likelihood(one, [13.6])[:, 0])
    expected = members.pmf(0) * background.pmf(1) + members.pmf(1) * background.pmf(0)
    assert density @ weight == pytest.approx(expected, rel=1e-4)  # the table's error


@pytest.mark.parametrize("anisotropy", [-0.5, 0.4, "mamon_lokas"])
def test_mocks_fill_projected_phase_space_as_the_likelihood_says(anisotropy):
    """With a Poisson number, p(one galaxy at R, v) / p(none) is the mean density of galaxies there."""
    galaxies = JeansGalaxies(number_scatter=0.0, anisotropy=anisotropy)
    model, clusters = SphericalJeans(observation=ALL, background=10.0, galaxies=galaxies), 3000
    mocks = model.simulate(np.full(clusters, 14.2), seed=1)
    R_edges, v_edges = np.array([0, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 1.6]), np.linspace(0, 2500, 15)
    speed = np.abs(mocks.galaxy_column("v_los"))
    found = np.histogram2d(mocks.galaxy_column("R_proj"), speed, (R_edges, v_edges))[0]
    fine_R, fine_v = (
        np.concatenate([np.linspace(a, b, 41)[:-1] + (b - a) / 80 for a, b in pairwise(e)]) for e in (R_edges, v_edges)
    )
    R, v = (a.ravel() for a in np.meshgrid(fine_R, fine_v, indexing="ij"))
    log_one = model.log_likelihood(np.stack([R, v, np.ones_like(R)], axis=-1)[:, None], [14.2])[:, 0]
    density = np.exp(log_one - model.log_likelihood(np.zeros((1, 1, 3)), [14.2])[0, 0])
    area = np.outer(np.diff(R_edges) / 40, np.diff(v_edges) / 40 * 2)
    expected = clusters * area * density.reshape(7, 40, 14, 40).sum(axis=(1, 3))  # midpoints: to 1e-3, counts to 1e-2
    pull = ((found - expected) ** 2 / expected)[expected > 10]
    assert chi2(pull.size).sf(pull.sum()) > FAILURE_RATE


def test_selection_is_the_share_of_mocks_that_pass():
    for model in (*MODELS.values(), SphericalJeans(background=2.0, galaxies=SCATTER)):
        mocks = model.simulate(np.full(3000, 13.5), seed=5)
        share = np.exp(model.log_selected([13.5]))[0]
        assert len(mocks) / 3000 == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 3000) + 1e-9)  # 4 sigma


def test_independent_richness_tells_nothing_of_mass():
    model = SphericalJeans(observation=ALL, richness="independent")
    low, high = (model.simulate(np.full(2000, m), seed=s).n_galaxies for m, s in ((12.6, 1), (15.5, 2)))
    assert low.mean() == pytest.approx(high.mean(), abs=4 * np.hypot(low.std(), high.std()) / np.sqrt(2000))  # 4 sigma
    variance = 28.2 + (0.1 * 28.2) ** 2
    assert high.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 2000))


@pytest.mark.parametrize("name", MODELS)
def test_posterior_is_calibrated(name):
    mocks = MODELS[name].simulate(FlatMasses(13.5, 15.3).draw(120, seed=1), seed=2)
    pit = _posterior_pit(MODELS[name].log_likelihood(mocks, GRID), GRID, mocks.log10_mass)
    assert kstest(pit, "uniform").pvalue > FAILURE_RATE


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_posterior_is_calibrated_over_1000_draws(name):
    masses = FlatMasses(13.5, 15.3).draw(1200, seed=3)
    mocks = MODELS[name].simulate(masses, seed=4).select(np.arange(1000))
    pit = _posterior_pit(MODELS[name].log_likelihood(mocks, GRID), GRID, mocks.log10_mass)
    p_value = kstest(pit, "uniform").pvalue
    counts = np.histogram(pit, 20, (0, 1))[0]
    p_ranks = chi2(19).sf(((counts - 50) ** 2 / 50).sum())
    print(f"{name}: KS p = {p_value:.3f}, chi2 of 20 rank bins p = {p_ranks:.3f}")
    assert min(p_value, p_ranks) > FAILURE_RATE


@pytest.mark.slow
def test_posterior_is_calibrated_with_concentration_and_anisotropy_integrated_out():
    model = SphericalJeans(background=5.0, galaxies=SCATTER)
    grid = np.linspace(13.8, 15.0, 61)
    mocks = model.simulate(FlatMasses(13.8, 15.0).draw(400, seed=3), seed=4)
    pit = _posterior_pit(model.log_likelihood(mocks, grid), grid, mocks.log10_mass)
    assert kstest(pit, "uniform").pvalue > FAILURE_RATE


@pytest.mark.slow
def test_posteriors_of_free_concentration_and_anisotropy_are_calibrated():
    low, high = np.array([14.2, 0.4, -0.8]), np.array([15.0, 1.1, 0.5])
    truth = np.random.default_rng(1).uniform(low, high, (300, 3))
    mocks = FREE.simulate(truth, seed=2)
    axes = [np.linspace(a, b, n) for a, b, n in zip(low, high, (33, 12, 12), strict=True)]
    rows = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    log_like = FREE.log_likelihood(mocks, rows).reshape(-1, 33, 12, 12)
    for i, grid in enumerate(axes):
        others = tuple(j + 1 for j in range(3) if j != i)
        prob = np.exp(log_like - log_like.max(axis=(1, 2, 3), keepdims=True))
        for axis in reversed(others):
            prob = np.trapezoid(prob, axis=axis)
        pit = _posterior_pit(np.log(prob), grid, truth[mocks.host_id % 2**32][:, i])
        assert kstest(pit, "uniform").pvalue > FAILURE_RATE, FREE.parameters[i]


@pytest.mark.slow
def test_scatter_integrated_out_is_the_mean_over_the_free_parameters():
    scattered, free = SphericalJeans(background=3.0, galaxies=SCATTER), replace(FREE, background=3.0)
    mocks = scattered.simulate([14.0, 14.6], seed=1)
    halo = hosts(
        {"log10_mass": np.array([14.3])}, SCATTER, offsets=(0.0, 0.0), redshift=0.117, cosmology=scattered.cosmology
    )
    dex, beta = np.linspace(-0.6, 0.6, 17), np.linspace(-0.4, 0.2, 5)
    rows = [(14.3, np.log10(halo.c_200c[0]) + d, b) for d in dex for b in beta]
    found = scattered.log_likelihood(mocks, [14.3])
    each = np.exp(free.log_likelihood(mocks, rows) - found).reshape(2, 17, 5)
    mean = simpson(simpson(each, x=beta) / 0.6 * norm(0, 0.16).pdf(dex), x=dex)
    np.testing.assert_allclose(np.log(mean), 0, atol=2e-3)  # Simpson's rule in steps of half a sigma, to 3.75 sigma


def _clusters():
    galaxy = st.tuples(st.floats(1e-4, 1.599), st.floats(-2499, 2499))
    return st.lists(galaxy, min_size=1, max_size=20).map(lambda g: np.array(g))


@settings(max_examples=25)
@given(cluster=_clusters(), background=st.sampled_from([0.0, 5.0]), seed=st.integers(0, 99))
def test_likelihood_knows_neither_order_nor_sign_nor_padding(cluster, background, seed):
    model = SphericalJeans(observation=ALL, background=background)
    x = np.concatenate([cluster, np.ones((len(cluster), 1))], axis=1)[None]
    masses = [13.5, 14.7, 15.6]
    expected = model.log_likelihood(x, masses)
    shuffled = x[:, np.random.default_rng(seed).permutation(len(cluster))]
    padded = np.concatenate([np.zeros((1, 3, 3)), x, np.zeros((1, 2, 3))], axis=1)
    for same in (shuffled, padded, x * [1, -1, 1]):
        np.testing.assert_allclose(model.log_likelihood(same, masses), expected, rtol=1e-12)  # order of a sum


def test_catalogue_and_padded_array_are_the_same_data_and_clusters_do_not_mix():
    model = MODELS["mass, background"]
    mocks = model.simulate([13.8, 14.5, 15.0], seed=1)
    both = model.log_likelihood(mocks, GRID[::20])
    np.testing.assert_allclose(model.log_likelihood(mocks.padded(), GRID[::20]), both, rtol=1e-12)
    np.testing.assert_allclose(model.log_likelihood(mocks.select([1]), GRID[::20]), both[1:2], rtol=1e-12)


def test_a_galaxy_outside_r_vir_needs_a_background_or_a_larger_mass():
    x = np.array([[[0.3, 100.0, 1], [1.2, -200.0, 1]]])
    alone, over = (SphericalJeans(background=b).log_likelihood(x, [13.5, 15.0])[0] for b in (0.0, 1.0))
    assert np.isneginf(alone[0])
    assert np.isfinite(alone[1])
    assert np.isfinite(over).all()


def test_a_galaxy_at_the_very_centre_does_not_spoil_the_posterior():
    x = np.array([[[0.0, 0.0, 1], [0.4, -200.0, 1]]])
    assert np.isfinite(SphericalJeans().log_likelihood(x, GRID)).all()


def test_mocks_remember_every_attempt_and_what_they_were_made_of(tmp_path):
    model, done = SphericalJeans(background=4.0, galaxies=JeansGalaxies(anisotropy_spread=0.3)), []
    masses = FlatMasses(13.0, 15.3).draw(260, seed=5)
    alone = model.simulate(masses, seed=3, progress=done.append)
    assert done == [250, 260]
    assert len(alone.attempts) == 260 > len(alone)
    assert not alone.clusters.equals(model.simulate(masses, seed=4).clusters)
    np.testing.assert_array_equal(alone.log10_mass, masses[alone.host_id % 2**32])
    alone.to_parquet(tmp_path / "mocks.parquet")
    back = Catalogue.from_parquet(tmp_path / "mocks.parquet")
    assert back.provenance.simulator == "SphericalJeans"
    np.testing.assert_array_equal(back.column("anisotropy"), alone.column("anisotropy"))
    np.testing.assert_allclose(model.log_likelihood(back, [14.0]), model.log_likelihood(alone, [14.0]), rtol=1e-12)
