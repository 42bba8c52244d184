"""Lines between an observable and mass, and what the mass function makes of them."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import linregress, norm
from sklearn.linear_model import LinearRegression

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, Observation
from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.baselines import Constant, Richness
from sbi_clustermass.baselines.linear_relation import Line, LinearRelation
from sbi_clustermass.baselines.mass_function_prior import MassFunctionPrior, training_weights

LOW, HIGH = 13.5, 15.3


def rich(log10_mass, number):
    """Clusters of given numbers of galaxies; those under 10 are attempts only."""
    number = np.asarray(number)
    total = int(number.sum())
    return Catalogue.from_arrays(
        Observation(),
        MDPL2,
        clusters={"log10_mass": np.asarray(log10_mass, float), "host_id": np.arange(len(number))},
        galaxies={"R_proj": np.full(total, 0.5), "v_los": np.zeros(total)},
        offsets=np.concatenate([[0], np.cumsum(number)]),
    )


@pytest.fixture(scope="module")
def cut():
    """Flat masses, of which a known share is selected: P = (M - 13.4) / 2."""
    rng, mass = np.random.default_rng(1), FlatMasses(LOW, HIGH).draw(6000, seed=2)
    return rich(mass, np.where(rng.random(6000) < selected(mass), 20, 5))


def selected(mass):
    return (mass - 13.4) / 2


@pytest.fixture(scope="module")
def nature():
    """Mean and standard deviation of the masses of selected clusters, by quadrature."""
    density = HaloMassFunction(low=LOW, high=HIGH).density
    moments = [quad(lambda m, k=k: m**k * density(m) * selected(m), LOW, HIGH)[0] for k in (0, 1, 2)]
    mean = moments[1] / moments[0]
    return mean, np.sqrt(moments[2] / moments[0] - mean**2)


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(3)
    x = rng.uniform(13, 15, 200)
    return x, 0.4 * x + rng.normal(0, 0.1, 200), rng.integers(1, 5, 200).astype(float)


def test_an_unweighted_line_is_scipys(pairs):
    x, y, _ = pairs
    line, truth = Line.fit(x, y, weights=np.ones(200)), linregress(x, y)
    assert line.slope == pytest.approx(truth.slope, rel=1e-9)  # rounding
    assert line(0.0) == pytest.approx(truth.intercept, abs=1e-9)
    # the standard error of the slope is scatter / sqrt(sum (x - mean)^2)
    assert line.scatter == pytest.approx(truth.stderr * np.sqrt(200) * np.std(x), rel=1e-9)


def test_a_weighted_line_is_sklearns(pairs):
    x, y, weights = pairs
    line = Line.fit(x, y, weights=7 * weights)  # whose scale does not matter
    truth = LinearRegression().fit(x[:, None], y, sample_weight=weights)
    assert line(x) == pytest.approx(truth.predict(x[:, None]), rel=1e-9)  # rounding
    squares = (y - truth.predict(x[:, None])) ** 2
    # n / (n - 2) of 160 clusters of equal weight: half a per cent
    assert line.scatter == pytest.approx(np.sqrt(np.average(squares, weights=weights)), rel=0.01)


def test_a_line_read_backwards_gives_back_what_was_put_in(pairs):
    line = Line.fit(*pairs[:2], weights=np.ones(200))
    assert line.inverse(line(pairs[0])) == pytest.approx(pairs[0], rel=1e-12)  # rounding


def test_weighted_training_clusters_are_distributed_as_those_that_nature_selects(cut, nature):
    weights, (mean, std) = training_weights(cut, "mass-function"), nature
    number = weights.sum() ** 2 / (weights**2).sum()
    # four standard errors; P(selected) is fitted, from the same clusters
    assert np.average(cut.log10_mass, weights=weights) == pytest.approx(mean, abs=4 * std / np.sqrt(number))


def test_flat_weights_are_equal(cut):
    assert set(training_weights(cut, "flat")) == {1.0}


def test_the_prior_without_data_has_the_moments_of_selected_clusters(cut, nature):
    prediction = Constant(prior="mass-function").fit(cut).predict(cut.select(np.arange(3)))
    # P(selected) is fitted to 6000 attempts, a few hundred where most clusters are: a per cent or two of slope
    assert prediction.log10_mass == pytest.approx(nature[0], abs=0.02)
    assert prediction.std == pytest.approx(nature[1], abs=0.02)


def test_a_constant_without_prior_is_mean_and_deviation_of_the_training_masses(cut):
    prediction = Constant().fit(cut).predict(cut.select(np.arange(3)))
    assert prediction.log10_mass == pytest.approx([np.mean(cut.log10_mass)] * 3)
    assert prediction.std == pytest.approx([np.std(cut.log10_mass, ddof=1)] * 3)


@pytest.fixture(scope="module")
def power_law():
    """Numbers that follow the mass with Gaussian scatter, all selected."""
    rng, mass = np.random.default_rng(4), FlatMasses(LOW, HIGH).draw(3000, seed=5)
    return rich(mass, np.round(10 ** (2 + 0.9 * (mass - 14) + rng.normal(0, 0.1, 3000))).astype(int))


@pytest.fixture(scope="module")
def survey():
    rng, mass = np.random.default_rng(6), HaloMassFunction(low=LOW, high=HIGH).draw(2000, seed=7)
    return rich(mass, np.round(10 ** (2 + 0.9 * (mass - 14) + rng.normal(0, 0.1, 2000))).astype(int))


def test_posteriors_are_gaussian_likelihood_times_mass_function_by_quadrature(power_law):
    fitted = Richness(direction="inverted", prior="mass-function").fit(power_law)
    three = power_law.select(np.array([5, 50, 500]))
    prediction = fitted.predict(three)
    abundance = HaloMassFunction(low=LOW, high=HIGH).density
    for i, x in enumerate(np.log10(three.n_galaxies)):

        def density(m, x=x):
            return norm.pdf(x, fitted.line(m), fitted.line.scatter) * abundance(m)

        area, first = (quad(lambda m, k=k: m**k * density(m), LOW, HIGH, limit=200)[0] for k in (0, 1))
        # P(selected) is 1 but for the ridge that keeps its odds finite
        assert prediction.log10_mass[i] == pytest.approx(first / area, abs=2e-3)


@pytest.mark.parametrize("direction", ["inverted", "inverse"])
def test_with_the_right_prior_masses_are_unbiased_at_fixed_prediction(direction, power_law, survey):
    predicted = Richness(direction=direction, prior="mass-function").fit(power_law).predict(survey)
    residual = survey.log10_mass - predicted.log10_mass
    scatter = np.std(residual)
    assert np.mean(residual) == pytest.approx(0, abs=4 * scatter / np.sqrt(2000))  # four standard errors
    # the errors tell the scatter, to four standard errors of a standard deviation and a bend at the lowest masses
    assert np.sqrt(np.mean(predicted.std**2)) == pytest.approx(scatter, rel=4 / np.sqrt(4000))


def test_a_flat_prior_on_a_survey_is_biased_and_has_more_scatter(power_law, survey):
    """Eddington: there are more light clusters that scatter up than heavy ones that scatter down."""
    flat, fair = (
        Richness(prior=prior).fit(power_law).predict(survey).log10_mass for prior in ("flat", "mass-function")
    )
    assert np.mean(flat - survey.log10_mass) > 4 * np.std(flat - survey.log10_mass) / np.sqrt(2000)
    assert np.std(fair - survey.log10_mass) < np.std(flat - survey.log10_mass)


def test_a_cluster_without_the_observable_keeps_the_prior_and_gets_no_mass(power_law):
    def unseen(clusters):
        return np.where(np.arange(len(clusters)) % 2, np.log10(clusters.n_galaxies), np.nan)

    two = power_law.select(np.arange(2))
    prediction = LinearRelation("inverted", "mass-function").fit(unseen, power_law).predict(two)
    np.testing.assert_array_equal(np.isnan(prediction.log10_mass), [True, False])
    np.testing.assert_array_equal(np.isnan(prediction.std), [True, False])
    prior = MassFunctionPrior.from_mocks(power_law).log_prior
    log_prob = prediction.posteriors.log_prob[0]
    # up to P(selected), which is 1 to a per mille
    assert log_prob - log_prob[0] == pytest.approx(prior - prior[0], abs=5e-3)


def test_no_clusters_have_no_masses(power_law):
    none = power_law.select(np.zeros(0, int))
    for direction in ("inverted", "inverse"):
        fitted = Richness(direction=direction, prior="mass-function").fit(power_law)
        assert fitted.predict(none).log10_mass.shape == (0,)
