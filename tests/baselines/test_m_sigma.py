"""The M-sigma relation recovers what was injected, and measures dispersions as other libraries do."""

import numpy as np
import pytest
from astropy.stats import biweight_scale
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import arrays

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.kinematics.dispersion import DISPERSIONS, velocity_dispersion
from clustermocks.observation import Observation
from sbi_clustermass.baselines import MSigma

SLOPE, INTERCEPT, SCATTER = 0.36, 3.03, 0.07
N_CLUSTERS, N_GALAXIES = 2000, 60
INVERSE = MSigma(direction="inverse")


def catalogue(log10_mass, sigma, seed=0):
    """Clusters whose unbiased standard deviations are exactly `sigma`: shot noise is left out."""
    v_los = np.random.default_rng(seed).normal(size=(len(sigma), N_GALAXIES))
    v_los -= v_los.mean(axis=1, keepdims=True)
    v_los *= (sigma / v_los.std(axis=1, ddof=1))[:, None]
    return Catalogue.from_arrays(
        Observation(v_cut=20_000.0),
        MDPL2,
        clusters={"log10_mass": np.asarray(log10_mass, float), "host_id": np.arange(len(sigma))},
        galaxies={"R_proj": np.full(v_los.size, 0.5), "v_los": v_los.ravel()},
        offsets=N_GALAXIES * np.arange(len(sigma) + 1),
    )


@pytest.fixture(scope="module")
def injected():
    rng = np.random.default_rng(3)
    log10_mass = rng.uniform(13.5, 15.3, N_CLUSTERS)
    log10_sigma = INTERCEPT + SLOPE * (log10_mass - 15) + rng.normal(0, SCATTER, N_CLUSTERS)
    return log10_mass, log10_sigma, catalogue(log10_mass, 10**log10_sigma)


def test_the_injected_relation_is_recovered_within_the_error_of_least_squares(injected):
    log10_mass, _, clusters = injected
    line = MSigma().fit(clusters).line
    offset = log10_mass - 15
    slope_error = SCATTER / (np.std(offset) * np.sqrt(N_CLUSTERS))
    intercept_error = slope_error * np.sqrt(np.mean(offset**2))
    # four standard errors: fails for one seed in 16000, and the seed is fixed
    assert line.slope == pytest.approx(SLOPE, abs=4 * slope_error)
    assert line(15.0) == pytest.approx(INTERCEPT, abs=4 * intercept_error)
    assert line.scatter == pytest.approx(SCATTER, abs=4 * SCATTER / np.sqrt(2 * N_CLUSTERS))


def test_masses_of_the_forward_fit_are_unbiased_at_fixed_true_mass(injected):
    log10_mass, _, clusters = injected
    prediction = MSigma().fit(clusters).predict(clusters)
    residual = prediction.log10_mass - log10_mass
    # least squares leaves residuals in sigma uncorrelated with mass: exact but for float32 velocities
    assert np.polyfit(log10_mass, residual, 1) == pytest.approx(0, abs=1e-4)
    assert prediction.std == pytest.approx(np.std(residual), rel=1e-3)  # n - 2 against n


def test_masses_of_the_inverse_fit_have_the_smaller_scatter_and_are_unbiased_at_fixed_prediction(injected):
    log10_mass, _, clusters = injected
    prediction = INVERSE.fit(clusters).predict(clusters)
    predicted = prediction.log10_mass
    assert np.polyfit(predicted, log10_mass - predicted, 1) == pytest.approx(0, abs=1e-4)  # float32 velocities
    inverted = MSigma().fit(clusters).predict(clusters).log10_mass
    assert np.std(predicted - log10_mass) < np.std(inverted - log10_mass)
    assert prediction.std == pytest.approx(np.std(predicted - log10_mass), rel=1e-3)  # n - 2 against n


def test_both_slopes_multiply_to_the_squared_correlation(injected):
    log10_mass, log10_sigma, clusters = injected
    product = MSigma().fit(clusters).line.slope * INVERSE.fit(clusters).line.slope
    assert product == pytest.approx(np.corrcoef(log10_mass, log10_sigma)[0, 1] ** 2, rel=1e-5)  # float32 velocities


@pytest.mark.parametrize("relation", [MSigma(), INVERSE])
def test_clusters_of_unknown_mass_are_not_fitted_but_get_one(relation, injected):
    log10_mass, log10_sigma, clusters = injected
    some = np.where(np.arange(N_CLUSTERS) < 100, np.nan, log10_mass)
    partly = relation.fit(catalogue(some, 10**log10_sigma))
    known = clusters.select(np.arange(100, N_CLUSTERS))
    assert partly.line.slope == pytest.approx(relation.fit(known).line.slope, rel=1e-9)
    assert np.isfinite(partly.predict(clusters).log10_mass).all()


def test_a_prior_wants_the_mass_of_all_that_were_attempted(injected):
    log10_mass, log10_sigma, _ = injected
    some = np.where(np.arange(N_CLUSTERS) < 100, np.nan, log10_mass)
    with pytest.raises(ValueError, match="2000 clusters and 100 unknown masses"):
        MSigma(prior="mass-function").fit(catalogue(some, 10**log10_sigma))


@pytest.mark.parametrize("prior", ["flat", "mass-function"])
@pytest.mark.parametrize("direction", ["inverted", "inverse"])
@pytest.mark.parametrize(
    ("masses", "found"), [([14.0, 15.0], "2 clusters"), ([np.nan] * 5, "0 clusters"), ([14.0] * 5, "all of them equal")]
)
def test_too_few_or_equal_clusters_are_refused(direction, prior, masses, found):
    with pytest.raises(ValueError, match=found):
        MSigma(direction=direction, prior=prior).fit(catalogue(masses, np.full(len(masses), 512.0)))


@pytest.mark.parametrize("field", ["method", "interlopers", "direction", "prior"])
def test_a_choice_that_is_none_is_refused_where_it_is_made(field):
    with pytest.raises(ValueError, match=r"unknown .* 'sgima'"):
        MSigma(**{field: "sgima"})


velocities = arrays(float, st.integers(2, 60), elements=st.integers(-30_000, 30_000).map(lambda v: v / 10))


@given(velocities)
def test_std_is_numpys(v_los):
    # rtol: float64 sums of up to 60 values
    assert velocity_dispersion([v_los])[0] == pytest.approx(np.sqrt(np.var(v_los, ddof=1)), rel=1e-9, abs=1e-9)


@given(velocities)
def test_the_gapper_is_the_mean_difference_of_all_pairs(v_los):
    """Gini's mean difference, which for a Gaussian is 2 sigma / sqrt(pi), counted pair by pair."""
    n = len(v_los)
    pairs = np.abs(v_los[:, None] - v_los).sum() / (n * (n - 1))
    expected = np.sqrt(np.pi) / 2 * pairs
    # atol: differences of values up to 3000 keep 1e-12 of them
    assert velocity_dispersion([v_los], method="gapper")[0] == pytest.approx(expected, rel=1e-9, abs=1e-8)


@given(velocities)
def test_the_biweight_is_astropys(v_los):
    assert velocity_dispersion([v_los], method="biweight")[0] == biweight_scale(v_los)


def test_clipping_is_repeated_about_the_median_until_nothing_is_left_to_clip():
    rng = np.random.default_rng(5)
    v_los = np.concatenate([rng.normal(0, 300, 60), rng.uniform(-2500, 2500, 12)])
    kept = v_los
    while not np.all(near := np.abs(kept - np.median(kept)) <= 3 * np.std(kept)):
        kept = kept[near]
    assert len(kept) < len(v_los)
    expected = np.std(kept, ddof=1)
    assert velocity_dispersion([v_los], method="clipped")[0] == pytest.approx(expected, rel=1e-12)  # rounding


@pytest.mark.parametrize("method", DISPERSIONS)
def test_every_dispersion_is_that_of_a_large_gaussian_sample_and_ignores_padding(method):
    v_los = np.random.default_rng(4).normal(100, 700, (2, 20_000))
    padded = np.concatenate([v_los, np.full((2, 5), np.nan)], axis=1)
    # 20000 galaxies: half a per cent for std, no estimator here is less than .8 efficient; five sigma
    assert velocity_dispersion(padded, method=method) == pytest.approx(700, rel=5 * 0.0056)
    np.testing.assert_array_equal(velocity_dispersion(padded, method=method), velocity_dispersion(v_los, method=method))


@pytest.mark.parametrize("method", DISPERSIONS)
def test_one_galaxy_has_no_dispersion(method):
    assert np.isnan(velocity_dispersion([np.array([3.0])], method=method)).all()


def test_an_unknown_dispersion_is_refused():
    with pytest.raises(ValueError, match="Choose from: biweight, clipped, gapper, std"):
        velocity_dispersion([np.array([1.0, 2.0])], method="mad")
