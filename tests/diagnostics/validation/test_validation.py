"""Scores of methods whose errors are known by construction, and the runs that make them."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel
from sbi_clustermass import MassPosteriors
from sbi_clustermass.baselines.baseline import Prediction
from sbi_clustermass.diagnostics.validation import (
    Scores,
    check_disjoint,
    score_baselines,
    score_estimator,
    validation_table,
)


@pytest.fixture(scope="module")
def gaussian():
    """A method with errors of .2 dex about the truth, shifted by .05, and 8000 flat masses."""
    rng = np.random.default_rng(3)
    truth = rng.uniform(13.5, 15.5, 8000)
    return truth + 0.05 + rng.normal(0, 0.2, truth.size), truth


def test_scores_of_gaussian_errors_are_their_closed_forms(gaussian):
    point, truth = gaussian
    scores = Scores.from_prediction(Prediction(point, np.full(point.size, 0.2)), truth, seconds=4.0)
    beyond = norm.sf(0.3, 0.05, 0.2) + norm.cdf(-0.3, 0.05, 0.2)
    inside = norm.cdf(norm.ppf(0.84), -0.25, 1) - norm.cdf(-norm.ppf(0.84), -0.25, 1)
    entropy = -0.5 * np.log(2 * np.pi * 0.2**2) - 0.5 * (1 + 0.25**2)
    massive = 0.2 * (2 * norm.pdf(0.25) + 0.25 * (1 - 2 * norm.cdf(-0.25)))  # mean of |N(.05, .2)|
    expected = {"mean": 0.05, "scatter": 0.2, "middle": 0.2, "outliers": beyond, "massive": massive}
    for name, value in {**expected, "coverage": inside, "log_prob": entropy}.items():
        found = getattr(scores, name)
        assert abs(found.value - value) < 4 * found.error, name  # one of 16 000 seeds fails, for each of seven numbers
    assert scores.seconds == 4.0 / 8000
    assert scores.answered == 1


def test_whole_posteriors_and_their_gaussians_score_alike(gaussian):
    point, truth = (each[:1500] for each in gaussian)
    posteriors = MassPosteriors.from_normal(point, 0.2, np.linspace(11, 18, 1401))
    whole = Scores.from_prediction(Prediction.from_posteriors(posteriors), truth, seconds=1.0)
    plain = Scores.from_prediction(Prediction(point, np.full(point.size, 0.2)), truth, seconds=1.0)
    assert whole.log_prob.value == pytest.approx(plain.log_prob.value, abs=1e-4)  # densities are tabulated every .005
    assert whole.coverage.value == pytest.approx(plain.coverage.value, abs=1e-3)


def test_clusters_without_an_answer_are_counted_and_left_out(gaussian):
    point, truth = gaussian
    some = point.copy()
    some[: point.size // 4] = np.nan
    scores = Scores.from_prediction(Prediction(some), truth, seconds=1.0)
    rest = Scores.from_prediction(Prediction(point[point.size // 4 :]), truth[point.size // 4 :], seconds=1.0)
    assert scores.answered == 0.75
    assert (scores.mean, scores.scatter, scores.middle) == (rest.mean, rest.scatter, rest.middle)
    assert scores.log_prob is None
    assert Scores.from_prediction(Prediction(np.full(20, np.nan)), truth[:20], seconds=1.0).scatter is None


def test_unknown_true_masses_are_refused():
    with pytest.raises(ValueError, match="known mass"):
        Scores.from_prediction(Prediction(np.full(20, 14.0)), np.full(20, np.nan), seconds=1.0)


def test_reweighting_to_a_steep_test_set_takes_away_the_mean_residual(estimator):
    masses = HaloMassFunction(low=13.0, high=15.6)
    test_set = HaloModel().simulate(masses.draw(3000, seed=4), seed=44)
    trained, own = score_estimator("flow", estimator, test_set, masses=masses)
    assert (trained.prior, own.prior) == ("as trained", "test set's")
    assert own.scores.log_prob.value > trained.scores.log_prob.value + 0.3  # a flat prior costs more than that here
    assert abs(own.scores.mean.value) < 0.5 * abs(trained.scores.mean.value)
    only = score_estimator("flow", estimator, test_set)
    assert [each.prior for each in only] == ["as trained"]


@dataclass(frozen=True)
class _Answer:
    """Predicts one number, or refuses."""

    value: float | None
    prior: str = "flat"

    def fit(self, mocks: Catalogue, *, seed: int = 1) -> "_Answer":
        return self

    def predict(self, clusters: Catalogue) -> Prediction:
        if self.value is None:
            raise ValueError("nothing to say")
        return Prediction(np.full(len(clusters), self.value))


def test_the_table_ranks_by_scatter_and_says_why_a_method_failed(mocks):
    train_set, test_set = mocks.split(0.5, seed=1)
    baselines = {"m_sigma": _Answer(14.0), "silent": _Answer(None), "other": _Answer(14.5, "mass-function")}
    told = []
    results = score_baselines(baselines, train_set, test_set, announce=told.append)
    assert told == [*baselines]
    table = validation_table(results, title="on mocks")
    assert [row[0] for row in table.rows] == ["m_sigma", "other"]  # equal scatters keep their order
    assert [row[1] for row in table.rows] == ["as trained", "test set's"]
    assert "silent failed: nothing to say" in table.note
    assert {row[7] for row in table.rows} == {"1.00"}  # a constant is as scattered as the other


def test_a_test_set_that_shares_clusters_with_the_training_set_is_refused(mocks):
    train_set, test_set = mocks.split(0.5, seed=1)
    check_disjoint(train_set, test_set)
    with pytest.raises(ValueError, match="in the training and in the test set"):
        check_disjoint(mocks, test_set)
    other = HaloModel().simulate(FlatMasses(13.0, 15.6).draw(200, seed=9), seed=9)
    check_disjoint(mocks, other)  # the same host numbers, other masses
