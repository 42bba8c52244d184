"""Features are those of numpy and scipy, and regressions those of their closed forms."""

import numpy as np
import pytest
from scipy import stats

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.observation import Observation
from sbi_clustermass.baselines.features import (
    ARMITAGE_2019,
    CALDERON_BERLIND_2019,
    FEATURES,
    WITH_RICHNESS,
    Features,
)
from sbi_clustermass.baselines.regression import (
    BoostedTrees,
    KernelRidge,
    LinearRegression,
    NeuralNetwork,
    RandomForest,
    RidgeRegression,
)

SMALL = {
    "linear": LinearRegression(),
    "ridge": RidgeRegression(penalties=(0.1, 1.0, 10.0)),
    "kernel ridge": KernelRidge(gammas=(1e-2, 0.1), landmarks=100),
    "trees": BoostedTrees(most=60),
    "forest": RandomForest(trees=20),
    "network": NeuralNetwork(Features(ARMITAGE_2019), hidden=(50, 50)),
}


def error_of(prediction):
    """The errors, which these methods all have."""
    assert prediction.std is not None
    return prediction.std


def catalogue(samples, log10_mass=None, host_id=None):
    """Clusters of these (R_proj, v_los)."""
    counts = [len(R) for R, _ in samples]
    mass = np.full(len(samples), 14.0) if log10_mass is None else np.asarray(log10_mass, float)
    return Catalogue.from_arrays(
        Observation(min_galaxies=1),
        MDPL2,
        clusters={"log10_mass": mass, "host_id": np.arange(len(samples)) if host_id is None else host_id},
        galaxies={
            "R_proj": np.concatenate([R for R, _ in samples]),
            "v_los": np.concatenate([v for _, v in samples]),
        },
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def galaxies(clusters, sign=1, times=1):
    """The clusters anew, velocities multiplied by a sign and every galaxy repeated."""
    pairs = (clusters.galaxies(i) for i in range(len(clusters)))
    return catalogue([(np.repeat(R, times), sign * np.repeat(v, times)) for R, v in pairs], clusters.log10_mass)


@pytest.fixture(scope="module")
def some(mocks):
    return mocks.select(np.arange(60))


@pytest.fixture(scope="module")
def halves(mocks):
    return mocks.select(np.arange(900)).split(0.7, seed=1)


def test_the_features_of_armitage_are_scipys_and_numpys(some):
    table = Features(ARMITAGE_2019)(some)
    for i, row in enumerate(table):
        R, v = (part.astype(float) for part in some.galaxies(i))
        expected = [
            abs(v.mean()) / np.sqrt(np.mean(v**2)),
            np.log10(np.std(v)),
            abs(stats.skew(v)),
            np.log10(stats.kurtosis(v, fisher=False)),
            R.mean() / 1.6,
            np.std(R) / 1.6,
            stats.skew(R),
            stats.kurtosis(R),
            np.log10(len(R)),
            np.log10(np.std(v) / np.sqrt(len(v))),
            np.log10(np.std(R) / np.sqrt(len(R))),
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-6, atol=1e-6)  # galaxies are float32


def test_the_features_of_calderon_and_berlind_are_those_of_sorted_galaxies(some):
    table = Features(CALDERON_BERLIND_2019)(some)
    for i, row in enumerate(table):
        R, v = (part.astype(float) for part in some.galaxies(i))
        inner, rms = np.std(v[np.median(R) >= R]), np.sqrt(np.mean(R**2))
        masses = inner**2 * np.median(R), np.var(v) * rms
        radii = np.median(R) / 1.6, R.max() / 1.6
        logs = np.log10(np.array([inner, rms, *masses, len(R)]))
        np.testing.assert_allclose(row, [np.log10(np.std(v)), *radii, *logs], rtol=1e-6, atol=1e-6)  # float32


def test_to_reverse_velocities_changes_no_feature(some):
    # rounding of sums in another sign
    np.testing.assert_allclose(Features()(galaxies(some, sign=-1)), Features()(some), rtol=1e-6, atol=1e-6)


def test_without_richness_a_cluster_of_every_galaxy_twice_is_the_same(some):
    without = Features(richness=False)
    assert not set(WITH_RICHNESS) & set(without.columns)
    # a 90 % value is that of one galaxy, and stays; float64 sums over twice as many
    np.testing.assert_allclose(without(galaxies(some, times=2)), without(some), rtol=1e-6, atol=1e-6)
    assert np.all(Features(("log10 N",))(galaxies(some, times=2)) > Features(("log10 N",))(some))


def test_a_cluster_of_one_galaxy_has_no_features_and_no_mass(halves):
    lonely = catalogue([(np.array([0.5]), np.array([100.0])), halves[1].galaxies(0)])
    assert np.isnan(Features()(lonely)[0]).all()
    prediction = LinearRegression().fit(halves[0]).predict(lonely)
    for values in (prediction.log10_mass, error_of(prediction)):
        np.testing.assert_array_equal(np.isnan(values), [True, False])


def test_degenerate_clusters_have_finite_features():
    equal = np.full(12, 0.3)
    clusters = catalogue([(equal, np.full(12, 80.0)), (equal, np.zeros(12)), (np.zeros(12), np.arange(12.0))])
    assert np.isfinite(Features()(clusters)).all()


def test_linear_regression_is_numpys_least_squares(halves):
    train, test = halves
    design, other = (np.column_stack([np.ones(len(part)), Features(ARMITAGE_2019)(part)]) for part in halves)
    slopes = np.linalg.lstsq(design, train.log10_mass)[0]
    predicted = LinearRegression(Features(ARMITAGE_2019)).fit(train).predict(test).log10_mass
    np.testing.assert_allclose(predicted, other @ slopes, atol=1e-8)  # conditioning of 11 features times rounding


def test_the_error_is_the_rms_residual_of_hosts_left_out(halves):
    train, features = halves[0], Features(CALDERON_BERLIND_2019)
    design, host = (
        np.column_stack([np.ones(len(train)), features(train)]),
        np.unique(train.host_id, return_inverse=True)[1],
    )
    fold = np.random.default_rng(0).integers(5, size=len(train))[host]
    residual = np.concatenate(
        [
            design[fold == i] @ np.linalg.lstsq(design[fold != i], train.log10_mass[fold != i])[0]
            - train.log10_mass[fold == i]
            for i in range(5)
        ]
    )
    # other folds of the same clusters: fits differ by their own error, some per cent of the scatter
    assert LinearRegression(features).fit(train).scatter == pytest.approx(np.sqrt(np.mean(residual**2)), rel=0.02)


def test_kernel_ridge_on_all_landmarks_is_its_closed_form(halves):
    train, test = (part.select(np.arange(120)) for part in halves)
    gamma, penalty, features = 0.05, 0.1, Features(ARMITAGE_2019)
    predicted = KernelRidge(features, (penalty,), (gamma,), landmarks=200).fit(train).predict(test).log10_mass
    low, middle, high = np.percentile(features(train), [25, 50, 75], axis=0)
    x, z = ((features(part) - middle) / (high - low) for part in (train, test))
    kernel, other = (np.exp(-gamma * ((a[:, None] - x) ** 2).sum(2)) for a in (x, z))
    n, y = len(train), train.log10_mass
    bordered = np.block([[kernel + penalty * np.eye(n), np.ones((n, 1))], [np.ones((1, n)), np.zeros((1, 1))]])
    solved = np.linalg.solve(bordered, np.append(y, 0))  # kernel ridge with an intercept that is not penalised
    np.testing.assert_allclose(predicted, other @ solved[:-1] + solved[-1], atol=1e-5)  # small eigenvalues inverted


@pytest.mark.parametrize("name", SMALL)
def test_every_regression_beats_a_constant_by_far_and_knows_its_error(name, halves):
    train, test = halves
    prediction = SMALL[name].fit(train, seed=3).predict(test)
    rms = np.sqrt(np.mean((prediction.log10_mass - test.log10_mass) ** 2))
    assert rms < 0.5 * np.std(test.log10_mass)
    # rms of 270 clusters: 4 % for Gaussian residuals, twice that for their tails; folds are a fifth smaller; 3 sigma
    assert error_of(prediction) == pytest.approx(rms, rel=0.25)


def test_two_lines_of_sight_of_one_host_are_left_out_together(some):
    twice = Catalogue.concatenate([some, some])
    once = RandomForest(trees=30, leaf=1).fit(some).scatter
    # with the same cluster on both sides of a fold the forest would know the answer: less than half of the scatter
    assert RandomForest(trees=30, leaf=1).fit(twice).scatter > 0.8 * once


def test_clusters_of_unknown_mass_are_not_fitted(halves):
    train, test = halves
    unknown = galaxies(train.select(np.arange(50)))
    mass = np.concatenate([train.log10_mass, np.full(50, np.nan)])
    both = [train.galaxies(i) for i in range(len(train))] + [unknown.galaxies(i) for i in range(50)]
    hosts = np.concatenate([train.host_id, np.arange(50) + train.host_id.max() + 1])
    fitted = LinearRegression().fit(catalogue(both, mass, hosts))
    # rounding: the same clusters in sums of another order
    np.testing.assert_allclose(
        fitted.predict(test).log10_mass, LinearRegression().fit(train).predict(test).log10_mass, atol=1e-6
    )


def test_too_few_or_equal_masses_are_refused(some):
    with pytest.raises(ValueError, match=r"RidgeRegression: found 10 clusters of known mass\. Train on at least 20"):
        RidgeRegression().fit(some.select(np.arange(10)))
    with pytest.raises(ValueError, match="LinearRegression: all 60 clusters have the same mass"):
        LinearRegression().fit(catalogue([some.galaxies(i) for i in range(60)]))


def test_an_unknown_feature_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown feature 'median r'\. Did you mean 'median R'"):
        Features(("median r",))
    with pytest.raises(ValueError, match="no name is left"):
        Features(("log10 N",), richness=False)


def test_published_sets_are_among_the_features():
    assert {*ARMITAGE_2019, *CALDERON_BERLIND_2019} < set(FEATURES)
