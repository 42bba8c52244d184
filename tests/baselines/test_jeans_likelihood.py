"""The Jeans likelihood is that of SphericalJeans, normalised, calibrated on its draws, and says what it cannot do."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.integrate import dblquad, quad
from scipy.stats import kstest

from clustermocks import MDPL2, Catalogue, FlatMasses, HaloMassFunction, JeansGalaxies, Observation, SphericalJeans
from clustermocks.spherical_jeans.poisson import cluster_sums
from sbi_clustermass.baselines.jeans import JeansLikelihood, mean_interlopers
from sbi_clustermass.baselines.jeans_cluster import log_any_number, log_any_share
from sbi_clustermass.baselines.jeans_densities import log_mamon2010, mamon2010_number, trial_halos

OBSERVATION, ALL = Observation(), Observation(min_galaxies=0)
MODELS = {
    "mass": SphericalJeans(),
    "mass, background": SphericalJeans(background=10.0),
    "independent": SphericalJeans(richness="independent"),
    "independent, background": SphericalJeans(richness="independent", background=10.0),
    "Poisson, orbits": SphericalJeans(
        background=5.0, galaxies=JeansGalaxies(number_scatter=0.0, anisotropy="mamon_lokas")
    ),
}
SCATTER = JeansGalaxies(mass_concentration_scatter=0.16, anisotropy=-0.1, anisotropy_spread=0.3)
FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed
MASSES = np.linspace(13.4, 15.2, 7)


def draws(model, n, low=13.5, high=15.3, seed=1):
    """Clusters of a flat prior."""
    return model.simulate(FlatMasses(low, high).draw(n, seed=seed), seed=seed + 1)


@pytest.fixture(scope="module")
def contaminated():
    return draws(MODELS["mass, background"], 40)


def pit_of(prediction, log10_mass):
    """Share of each posterior below the truth."""
    assert prediction.posteriors is not None
    return prediction.posteriors.pit(log10_mass)


def halo(log10_mass, *, virial=False):
    """One halo without scatter."""
    return trial_halos(log10_mass, JeansGalaxies(), observation=OBSERVATION, cosmology=MDPL2, virial=virial)[0]


@pytest.mark.parametrize("name", MODELS)
def test_it_is_the_likelihood_of_spherical_jeans_to_rounding(name):
    model = MODELS[name]
    mocks = draws(model, 60)  # above a thousand galaxies, both sides look densities up in one table
    ring = cluster_sums(np.log(2 * np.pi * mocks.galaxy_column("R_proj").astype(float)), mocks.n_galaxies)
    ours = JeansLikelihood.from_model(model).log_likelihood(mocks, MASSES) + ring[:, None]  # theirs is a density in R
    # rounding of sums over up to 500 galaxies; float32 distances are the same on both sides
    np.testing.assert_allclose(ours, model.log_likelihood(mocks, MASSES), rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize(
    "galaxies",
    [
        JeansGalaxies(mass_concentration_scatter=0.05),
        JeansGalaxies(anisotropy=-0.1, anisotropy_spread=0.3),
        pytest.param(SCATTER, marks=pytest.mark.slow),
    ],
)
def test_scatter_in_concentration_and_orbits_is_integrated_as_spherical_jeans_does(galaxies):
    model = SphericalJeans(background=5.0, galaxies=galaxies)
    mocks = draws(model, 15)  # above a thousand galaxies, both sides look densities up in one table
    ours = JeansLikelihood.from_model(model).log_likelihood(mocks, [14.0, 14.3])
    theirs = model.log_likelihood(mocks, [14.0, 14.3])
    np.testing.assert_allclose(np.diff(ours), np.diff(theirs), atol=1e-7)  # rounding; the same nodes


@pytest.mark.parametrize("name", MODELS)
def test_posterior_is_calibrated_on_draws_of_its_model(name):
    mocks = draws(MODELS[name], 250, seed=3)
    fitted = JeansLikelihood.from_model(MODELS[name], support=(13.5, 15.3), step=0.03).fit(mocks)
    pit = pit_of(fitted.predict(mocks), mocks.log10_mass)
    assert kstest(pit, "uniform").pvalue > FAILURE_RATE


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_posterior_is_calibrated_over_2000_draws(name):
    mocks = draws(MODELS[name], 2000, seed=13)
    fitted = JeansLikelihood.from_model(MODELS[name], support=(13.5, 15.3)).fit(mocks)
    p_value = kstest(pit_of(fitted.predict(mocks), mocks.log10_mass), "uniform").pvalue
    print(f"{name}: KS p = {p_value:.3f}")
    assert p_value > FAILURE_RATE


def test_given_the_number_it_is_the_posterior_of_a_richness_that_tells_nothing():
    mocks = draws(MODELS["independent"], 10)
    given_number = JeansLikelihood(interlopers="none").log_likelihood(mocks, MASSES)
    counted = JeansLikelihood.from_model(MODELS["independent"]).log_likelihood(mocks, MASSES)
    possible = np.isfinite(given_number)
    assert (possible == np.isfinite(counted)).all()
    for one, other, where in zip(counted, given_number, possible, strict=True):  # apart by log p(N), at every mass
        np.testing.assert_allclose(np.ptp(one[where] - other[where]), 0, atol=1e-8)  # rounding


OWN = {
    "uniform, any share": JeansLikelihood(),
    "uniform, any number": JeansLikelihood(background=8.0),
    "universal, any share": JeansLikelihood(interlopers="mamon2010"),
    "universal, any number": JeansLikelihood(interlopers="mamon2010", background=8.0),
    "universal, law": JeansLikelihood(interlopers="mamon2010", background="law"),
    "universal, counted": JeansLikelihood(interlopers="mamon2010", richness=True),
}


def numbers(choice, trial, log10_mass, rng):
    """How many members and interlopers a cluster has under the choice's own prior."""
    if choice.background == 8.0:
        return rng.poisson(rng.uniform(0, 150)), rng.poisson(8.0)
    per_member = mamon2010_number(trial, OBSERVATION) / trial.inside
    share = 1 / (1 + per_member) if choice.resolved_background == "law" else rng.uniform()
    total = 60
    if choice.richness:
        expected = SphericalJeans().mean_number(log10_mass) * trial.per_virial * trial.inside
        total = rng.poisson(rng.gamma(100, expected * (1 + per_member) / 100))
    members = rng.binomial(total, share)
    return members, total - members


ROOT, SPEED = 200, 80  # cells of equal R^1/2 and |v|


def cells(log_density):
    """Cumulated weights of the cells, for a density that need not be normalised."""
    R = OBSERVATION.aperture * ((np.arange(ROOT) + 0.5) / ROOT) ** 2
    v = OBSERVATION.v_cut * (np.arange(SPEED) + 0.5) / SPEED
    R, v = (a.ravel() for a in np.meshgrid(R, v, indexing="ij"))
    return (np.exp(log_density(R, v)) * R**1.5).cumsum()


def thrown(cumulated, n, rng):
    """R_proj and |v_los| of n galaxies, uniform in their cells."""
    root, speed = np.divmod(np.searchsorted(cumulated, rng.uniform(0, cumulated[-1], n)), SPEED)
    R_proj = OBSERVATION.aperture * ((root + rng.uniform(size=n)) / ROOT) ** 2
    return np.array([R_proj, OBSERVATION.v_cut * (speed + rng.uniform(size=n)) / SPEED])


def log_others(uniform, trial, R, v):
    """Density of interlopers."""
    return np.zeros_like(R) if uniform else log_mamon2010(trial, R, v, observation=OBSERVATION)


def own_draws(choice, n, seed):
    """Clusters of the choice's own model, thrown from densities that are not normalised: 3 of each of n masses."""
    rng, galaxies = np.random.default_rng(seed), []
    uniform = choice.interlopers == "uniform"
    masses = np.repeat(rng.uniform(13.5, 15.3, n), 3)
    for log10_mass in masses[::3]:
        trial = halo(log10_mass, virial=uniform)
        inside, outside = cells(trial.log_members), cells(partial(log_others, uniform, trial))
        for _ in range(3):
            members, others = numbers(choice, trial, log10_mass, rng)
            galaxies.append(np.hstack([thrown(inside, members, rng), thrown(outside, others, rng)]))
    R_proj, v_los = np.hstack(galaxies)
    return Catalogue.from_arrays(
        ALL,
        MDPL2,
        clusters={"log10_mass": masses, "host_id": np.arange(len(masses))},
        galaxies={"R_proj": R_proj, "v_los": v_los},
        offsets=np.cumsum([0, *(g.shape[1] for g in galaxies)]),
    )


@pytest.mark.parametrize("name", OWN)
def test_posterior_among_interlopers_is_calibrated_on_its_own_model(name):
    """Norms and numbers of both populations depend on the mass: a wrong one would show."""
    choice = replace(OWN[name], support=(13.5, 15.3), step=0.03)
    clusters = own_draws(choice, 100, seed=8)
    pit = pit_of(choice.fit(clusters).predict(clusters), clusters.log10_mass)
    assert kstest(pit, "uniform").pvalue > FAILURE_RATE


excesses = st.lists(st.floats(0, 1e3), min_size=1, max_size=40)


@settings(max_examples=25)
@given(excesses)
def test_any_share_is_the_integral_of_quadpack(values):
    x = np.array(values)
    peak = max(np.log(np.maximum(1 - w + w * x, 1e-300)).sum() for w in np.linspace(0, 1, 201))
    area = quad(lambda w: np.exp(np.log(1 - w + w * x).sum() - peak), 0, 1, limit=200, points=[0.5])[0]
    # quad is good to 1e-8; the rule is exact up to 31 galaxies and good to 1e-5 beyond
    assert log_any_share(x, np.array([len(x)]))[0] == pytest.approx(np.log(area) + peak, abs=1e-4)


@settings(max_examples=25)
@given(excesses, st.floats(0.5, 50))
def test_any_number_is_the_integral_of_quadpack(values, background):
    x = np.array(values)

    def log_term(mu):
        return np.log1p(mu * x / background).sum() - mu

    peak = max(log_term(mu) for mu in np.linspace(0, 60, 601))
    area = quad(lambda mu: np.exp(log_term(mu) - peak), 0, 120, limit=400, points=list(np.linspace(5, 55, 11)))[0]
    ours = log_any_number(x, np.array([len(x)]), background=background)[0]
    assert ours == pytest.approx(np.log(area) + peak, abs=1e-4)  # its own claim is 1e-5; quad's is better


def test_a_rich_cluster_among_poor_ones_changes_no_integral():
    rng = np.random.default_rng(2)
    x, n = np.exp(rng.normal(0, 2, 420)), np.array([20, 400])
    together = log_any_share(x, n), log_any_number(x, n, background=8.0)
    alone = log_any_share(x[:20], n[:1]), log_any_number(x[:20], n[:1], background=8.0)
    for many, one in zip(together, alone, strict=True):
        assert many[0] == pytest.approx(one[0], abs=1e-5)  # 20 galaxies are exact or nearly so with either rule


@pytest.mark.parametrize("log10_mass", [13.5, 15.2])  # r200c inside and outside the aperture
def test_universal_interlopers_integrate_to_one_over_the_cylinder(log10_mass):
    trial = halo(log10_mass)

    def density(v, R):
        return 2 * 2 * np.pi * R * np.exp(log_mamon2010(trial, np.array(R), np.array(v), observation=OBSERVATION))

    kink = min(trial.r_200c, OBSERVATION.aperture)  # where the law is held
    total = sum(
        dblquad(density, a, b, 0, OBSERVATION.v_cut, epsabs=1e-6)[0]
        for a, b in ((0, kink), (kink, OBSERVATION.aperture))
        if b > a
    )
    assert total == pytest.approx(1, abs=1e-5)  # dblquad's error


def test_members_integrate_to_one_over_the_cylinder():
    trial = halo(14.3)

    def density(v, depth):  # R = edge / cosh(depth): the density is smooth in depth
        R = trial.edge / np.cosh(depth)
        return 4 * np.pi * R**2 * np.tanh(depth) * np.exp(trial.log_members(np.array([R]), np.array([v]))[0])

    reach = np.arccosh(max(trial.edge / OBSERVATION.aperture, 1.0))
    total = dblquad(density, reach, 9, 0, OBSERVATION.v_cut, epsabs=1e-6)[0]
    assert total == pytest.approx(1, abs=2e-4)  # of the table's densities


def test_universal_interlopers_are_23_percent_within_2_7_sigma_of_a_virial_cone():
    """Mamon, Biviano & Murante 2010, abstract: 23 +- 1 % of particles in the cone. The cut is near 1.75 V200."""
    trial, edge = halo(14.5), 1.75
    cone = Observation(aperture=trial.r_200c, v_cut=edge * trial.v_200)
    number = mamon2010_number(trial, cone)
    assert number / (1 + number) == pytest.approx(0.23, abs=0.015)  # a percent of theirs, half a one for the cut
    everything = mamon2010_number(trial, Observation(aperture=trial.r_200c, v_cut=4 * trial.v_200))
    assert number < everything


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_order_of_galaxies_and_sign_of_velocities_do_not_matter(contaminated, seed):
    rng = np.random.default_rng(seed)
    R_proj, v_los = contaminated.galaxies(3)
    order = rng.permutation(len(R_proj))
    clusters = Catalogue.from_arrays(
        OBSERVATION,
        MDPL2,
        clusters={"log10_mass": np.full(2, np.nan), "host_id": np.arange(2)},
        galaxies={
            "R_proj": np.tile(R_proj, 2)[np.r_[: len(order), len(order) + order]],
            "v_los": np.r_[v_los, -v_los[order]],
        },
        offsets=len(order) * np.arange(3),
    )
    one, other = JeansLikelihood(interlopers="mamon2010").log_likelihood(clusters, MASSES)
    np.testing.assert_allclose(one, other, atol=1e-8)  # rounding of sums in another order


def test_clusters_come_back_in_their_order(contaminated):
    choice = JeansLikelihood()
    together = choice.log_likelihood(contaminated, [14.0, 14.5])
    one_by_one = [choice.log_likelihood(contaminated.select(np.array([i])), [14.0, 14.5])[0] for i in range(5)]
    np.testing.assert_allclose(np.diff(together[:5]), np.diff(one_by_one), atol=1e-4)  # the rule's own error


def test_observed_clusters_are_evaluated_at_their_own_redshift(contaminated):
    pair = contaminated.select(np.array([4, 9]))
    table = pair.clusters.append_column("redshift", [np.array([0.3, np.nan])])
    observed = JeansLikelihood().log_likelihood(replace(pair, clusters=table), [14.0, 14.5])
    elsewhere = replace(pair, observation=replace(pair.observation, redshift=0.3))
    np.testing.assert_array_equal(observed[0], JeansLikelihood().log_likelihood(elsewhere, [14.0, 14.5])[0])
    # the other one's rule may have another number of nodes: its own error
    np.testing.assert_allclose(observed[1], JeansLikelihood().log_likelihood(pair, [14.0, 14.5])[1], atol=1e-4)


def test_interlopers_are_counted_in_the_mocks(contaminated):
    assert mean_interlopers(contaminated) == pytest.approx(10, abs=4 * np.sqrt(10 / len(contaminated)))  # four sigma
    fitted = JeansLikelihood(background="fitted").fit(contaminated)
    assert fitted.background == mean_interlopers(contaminated)


def test_under_the_mass_function_the_posterior_is_the_flat_one_times_the_mass_function(contaminated):
    flat = JeansLikelihood(support=(13.5, 15.3)).fit(contaminated).predict(contaminated).posteriors
    steep = JeansLikelihood(support=(13.5, 15.3), prior="mass-function").fit(contaminated).predict(contaminated)
    assert flat is not None
    density = HaloMassFunction(low=13.5, high=15.3).density(flat.grid)
    weighted = flat.with_prior(np.log(density))
    np.testing.assert_allclose(steep.log10_mass, weighted.mean, atol=1e-6)  # rounding of normalisations
    assert (steep.log10_mass < flat.mean).all()


def test_the_support_is_the_range_of_the_mocks(contaminated):
    fitted = JeansLikelihood().fit(contaminated)
    ends = contaminated.log10_mass.min(), contaminated.log10_mass.max()
    assert (fitted.grid[0], fitted.grid[-1]) == pytest.approx(ends)
    assert np.diff(fitted.grid).max() <= 0.02 + 1e-12


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"interlopers": "some"}, "interlopers must be one of"),
        ({"interlopers": "none", "background": 3.0}, "leave it out"),
        ({"background": "law"}, "only mamon2010"),
        ({"background": "marginalised", "richness": True}, "must be a number or 'fitted'"),
        ({"background": -1.0}, "above 0"),
        ({"background": "many"}, "it is a number"),
        ({"step": 0.0}, "step must be"),
        ({"support": (15.0, 14.0)}, "must rise"),
        ({"support": (11.0, 14.0)}, "12.5 to 15.7"),
        ({"prior": "steep"}, "prior must be"),
    ],
)
def test_choices_that_make_no_sense_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        JeansLikelihood(**choice)


def test_what_the_clusters_do_not_allow_is_said(contaminated):
    far = draws(MODELS["mass, background"], 30, low=13.5, high=13.8)
    with pytest.raises(ValueError, match="beyond R_vir"):
        JeansLikelihood(interlopers="none", support=(13.0, 14.0)).fit(far).predict(far)
    unknown = replace(contaminated, clusters=contaminated.clusters.drop_columns(["is_member"]))
    with pytest.raises(ValueError, match="no is_member"):
        JeansLikelihood(background="fitted").fit(unknown)
    with pytest.raises(ValueError, match="give background"):
        JeansLikelihood(background="fitted").log_likelihood(contaminated, MASSES)
    with pytest.raises(ValueError, match="mass alone"):
        JeansLikelihood.from_model(SphericalJeans(free=("beta",)))
    with pytest.raises(ValueError, match="no interlopers to count"):
        JeansLikelihood(background="fitted").fit(draws(MODELS["mass"], 20))
    with pytest.raises(ValueError, match="2 clusters of known mass tell no range"):
        JeansLikelihood().fit(contaminated.select(np.arange(2)))
