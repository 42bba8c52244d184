"""A whole validation: scores of estimators and baselines, calibration, and trust.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import final

from clustermocks import Catalogue
from sbi_clustermass.baselines.baseline import Baseline
from sbi_clustermass.diagnostics.test_sets import MassDistribution
from sbi_clustermass.diagnostics.validation.evaluate import (
    TRAINED,
    Result,
    check_disjoint,
    score_baselines,
    score_estimator,
)
from sbi_clustermass.diagnostics.validation.sections import calibration_section, inside, rivals_section, trust_section
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.report import Section


@final
@dataclass(frozen=True)
class Validation:
    """Estimators and baselines, and the clusters on which they are tested.

    Attributes:
        estimators: Estimators by name.
        test_set: Clusters of known mass, of hosts that no estimator was trained on; those outside an estimator's
            support are excluded for all.
        masses: Distribution from which the test masses were drawn; None if it is that of the training masses.
        train_set: Clusters to which the baselines are fitted; None for no baselines.
        baselines: Baselines by name.
        held_out: Mocks drawn like the training set, for alarms and robustness; None for neither.
        seed: Seed of all random numbers.
    """

    estimators: Mapping[str, MassEstimator]
    test_set: Catalogue
    masses: MassDistribution | None = None
    train_set: Catalogue | None = None
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    held_out: Catalogue | None = None
    seed: int = 1

    def clusters(self) -> Catalogue:
        """Select the test clusters inside every estimator's support.

        Raises:
            ValueError: There are none, or some are also in the training set.
        """
        clusters = self.test_set
        for estimator in self.estimators.values():
            clusters = inside(clusters, estimator.support)
        if self.train_set is not None:
            check_disjoint(self.train_set, clusters)
        return clusters

    def results(self, announce: Callable[[str], None] = lambda what: None) -> tuple[Result, ...]:
        """Score every method.

        Args:
            announce: Called with the name of each step before it starts.
        """
        return self._results(self.clusters(), announce)

    def _results(self, clusters: Catalogue, announce: Callable[[str], None]) -> tuple[Result, ...]:
        found = []
        for name, estimator in self.estimators.items():
            announce(name)
            found += score_estimator(name, estimator, clusters, masses=self.masses)
        if self.train_set is not None:
            found += score_baselines(self.baselines, self.train_set, clusters, seed=self.seed, announce=announce)
        return tuple(found)

    def sections(self, announce: Callable[[str], None] = lambda what: None) -> list[Section]:
        """Build the report: the table of methods, calibration, and trust.

        Args:
            announce: Called with the name of each step before it starts.
        """
        clusters = self.clusters()
        results = self._results(clusters, announce)
        sections = [rivals_section(results, test_set=clusters)]
        own = [each for each in results if each.prior == TRAINED][: len(self.estimators)]  # estimators come first
        for name, result in zip(self.estimators, own, strict=True):
            announce(f"calibration of {name}")
            if result.prediction is not None and result.prediction.posteriors is not None:
                posteriors = result.prediction.posteriors
                sections.append(calibration_section(name, posteriors, clusters, masses=self.masses))
        if self.held_out is not None:
            for name, estimator in self.estimators.items():
                announce(f"trust in {name}")
                held_out = inside(self.held_out, estimator.support)
                sections.append(trust_section(name, estimator, held_out, seed=self.seed))
        return sections
