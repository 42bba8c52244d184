"""Evaluation of every method on the same clusters: estimators as trained, baselines fitted to the training mocks.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import final

import numpy as np

from clustermocks import Catalogue
from sbi_clustermass.baselines.baseline import Baseline, Prediction
from sbi_clustermass.diagnostics.test_sets import MassDistribution, reweighted
from sbi_clustermass.diagnostics.validation.scores import Scores
from sbi_clustermass.estimator.mass_estimator import MassEstimator

TRAINED, TEST_SET = "as trained", "test set's"  # priors under which masses are inferred


@final
@dataclass(frozen=True)
class Result:
    """Result of one method.

    Attributes:
        name: Name of the method.
        prior: Prior of its masses: `TRAINED` or `TEST_SET`.
        scores: Scores on the test clusters; None if it failed.
        prediction: Predicted masses; None if it failed.
        failure: Reason for the failure.
    """

    name: str
    prior: str
    scores: Scores | None
    prediction: Prediction | None = None
    failure: str = ""


def score_estimator(
    name: str, estimator: MassEstimator, test_set: Catalogue, *, masses: MassDistribution | None = None
) -> tuple[Result, ...]:
    """Score an estimator under its own prior and, if the test set was drawn from another, under that, too.

    Args:
        name: Name of the estimator.
        estimator: A trained one.
        test_set: Clusters of known mass inside the estimator's support, of hosts that it was not trained on.
        masses: Distribution from which the test masses were drawn; None if it is that of the training masses.
    """
    start = perf_counter()
    posteriors = estimator.posterior(test_set)
    elapsed = perf_counter() - start
    found = [_result(name, TRAINED, Prediction.from_posteriors(posteriors), test_set, elapsed)]
    if masses is not None:
        own = Prediction.from_posteriors(reweighted(posteriors, masses))
        found.append(_result(name, TEST_SET, own, test_set, elapsed))
    return tuple(found)


def score_baselines(
    baselines: Mapping[str, Baseline],
    train_set: Catalogue,
    test_set: Catalogue,
    *,
    seed: int = 1,
    announce: Callable[[str], None] = lambda name: None,
) -> tuple[Result, ...]:
    """Fit and score baselines; a failure is reported in its row and does not stop the others.

    Args:
        baselines: Baselines by name.
        train_set: Clusters of known mass to fit them on.
        test_set: Clusters of known mass.
        seed: Seed of the fits.
        announce: Called with the name of each baseline before its fit.
    """
    found = []
    for name, baseline in baselines.items():
        announce(name)
        prior = TEST_SET if getattr(baseline, "prior", "flat") == "mass-function" else TRAINED
        try:
            fitted = baseline.fit(train_set, seed=seed)
            start = perf_counter()
            prediction = fitted.predict(test_set)
            elapsed = perf_counter() - start
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            found.append(Result(name, prior, None, failure=str(error)))
        else:
            found.append(_result(name, prior, prediction, test_set, elapsed))
    return tuple(found)


def _result(name: str, prior: str, prediction: Prediction, test_set: Catalogue, elapsed: float) -> Result:
    return Result(name, prior, Scores.from_prediction(prediction, test_set.log10_mass, seconds=elapsed), prediction)


def check_disjoint(train_set: Catalogue, test_set: Catalogue) -> None:
    """Refuse a test set that shares clusters with the training set: the same host and the same mass in both.

    Raises:
        ValueError: It does.
    """
    pairs = [set(zip(each.host_id.tolist(), each.log10_mass.tolist(), strict=True)) for each in (train_set, test_set)]
    shared = pairs[0] & pairs[1]
    if shared:
        raise ValueError(
            f"{len(shared)} clusters are in the training and in the test set.\n"
            "  try:    simulate the test set with another --seed, or divide one catalogue by Catalogue.split"
        )
