"""All results of the paper from one experiment, a section for each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Self, final

import numpy as np
from jaxtyping import Float

from kodi_ramanah_2020.experiment import FACTORS, MASSES, PAPERS_RULE, Experiment, observed
from kodi_ramanah_2020.individual import individuals
from kodi_ramanah_2020.mass_functions import Sets, mass_functions
from kodi_ramanah_2020.numbers import CLASSICAL, CNN_2D, Evidence
from kodi_ramanah_2020.phase_space import phase_space
from kodi_ramanah_2020.predictions import predictions
from kodi_ramanah_2020.published import Kind
from kodi_ramanah_2020.real_clusters import RealClusters, real_clusters
from kodi_ramanah_2020.richness_scaling import richness_scaling
from kodi_ramanah_2020.robustness import robustness
from kodi_ramanah_2020.saliency import saliency_maps
from kodi_ramanah_2020.sample import Sample, nearest
from kodi_ramanah_2020.steps import steps
from sbi_clustermass import MassEstimator, Training, TrialMasses, baselines
from sbi_clustermass.cli.progress import stage
from sbi_clustermass.diagnostics.test_sets import reweighted
from sbi_clustermass.flows import Flow, Tabulated
from sbi_clustermass.report import Section
from sbi_clustermass.training.defaults import default_training

RIVALS = {
    CLASSICAL: "m_sigma",
    "M-sigma": "m_sigma_inverse_prior",
    "M-sigma, shifting gapper": "m_sigma_shifting_gapper",
    "virial theorem": "virial",
    "projected mass": "projected_mass",
    "number of galaxies": "richness_prior",
    CNN_2D: "cnn_2d",
}
TRIALS = TrialMasses(14.4, 1.8, trials=73)


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """The paper's flow by the paper's rule, on both kinds of clusters and with both kernel widths."""

    estimators: Mapping[tuple[Kind, float], MassEstimator]
    samples: Mapping[tuple[Kind, float], Sample]

    @classmethod
    def by_the_papers_rule(cls, experiment: Experiment, pairs: tuple[Sets, ...]) -> Self:
        """Train, or read what was trained."""
        estimators, samples = {}, {}
        for pair, factor in product(pairs, FACTORS):
            name, key = f"{pair.kind}-{factor:.3g}", (pair.kind, factor)
            estimators[key] = experiment.network(name, pair.training, experiment.papers_flow(factor), PAPERS_RULE)
            samples[key] = experiment.sample(name, pair.kind, estimators[key], pair.test)
        return cls(estimators, samples)

    @property
    def paper(self) -> MassEstimator:
        """Network of clusters with interlopers, of the kernel width as it is printed."""
        return self.estimators["contaminated", FACTORS[0]]

    @property
    def first(self) -> Sample:
        """Test clusters with interlopers and the posteriors of that network."""
        return self.samples["contaminated", FACTORS[0]]


def all_sections(experiment: Experiment, clusters: Path | None) -> Iterator[Section]:
    """Yield all sections, and save the first estimator in the experiment's folder.

    Args:
        experiment: Sizes, seed and folder.
        clusters: Folder with tables of observed galaxies.
    """
    pairs = experiment.sets()
    trained = Trained.by_the_papers_rule(experiment, pairs)
    trained.paper.save(experiment.folder)
    first, samples = trained.first, [*trained.samples.values()]
    rivals, three = _rivals(experiment, pairs[0]), nearest(first.clusters)
    scaling = richness_scaling(samples, rivals)
    with stage("taking galaxies away, adding velocity errors", None, experiment.console):
        shaken = robustness(trained.paper, first.clusters, three, seed=experiment.seed)
    seen = None if clusters is None else _observed(experiment, trained, clusters)
    yield Evidence(
        sets={pair.kind: pair for pair in pairs},
        estimators={pair.kind: trained.estimators[pair.kind, FACTORS[0]] for pair in pairs},
        samples={pair.kind: trained.samples[pair.kind, FACTORS[0]] for pair in pairs},
        rivals=rivals,
        scaling=scaling,
        robustness=shaken,
        observed=seen,
    ).section()
    yield steps([*_step_samples(experiment, trained, pairs[0])]).section()
    yield phase_space(pairs[0].test, nearest(pairs[0].test)[1]).section()
    yield mass_functions(pairs, MASSES).section()
    yield individuals([samples[2], first]).section()
    weighed = _with_mass_function(first, f"{first.name}, mass-function prior")
    yield predictions([*samples[:2], weighed, *samples[2:]]).section()
    for found in (scaling, shaken, *([] if seen is None else [seen])):
        yield found.section()
    yield saliency_maps(trained.paper, first.clusters, three).section()


def _step_samples(experiment: Experiment, trained: Trained, pair: Sets) -> Iterator[Sample]:
    """Yield the test clusters with interlopers by networks that lead from the paper's scatter to our best."""
    yield replace(trained.first, name="the paper's network and stopping rule, our mocks")
    ours = experiment.papers_flow(), "trained to the end, with truncated loss and mirror images"
    best = Tabulated(embedding=TRIALS), "tabulated on trial_masses in place of the image"
    yield _by_our_rule(experiment, "our-rule", pair, *ours)
    last = _by_our_rule(experiment, "our-network", pair, *best)
    yield last
    yield _with_mass_function(last, "the mass function as the prior, as the test clusters have it")


def _by_our_rule(experiment: Experiment, folder: str, pair: Sets, flow: Flow, name: str) -> Sample:
    estimator = experiment.network(folder, pair.training, flow, default_training(flow.embedding))
    return replace(experiment.sample(folder, "contaminated", estimator, pair.test), name=name)


def _with_mass_function(sample: Sample, name: str) -> Sample:
    return replace(sample, name=name, posteriors=reweighted(sample.posteriors, MASSES))


def _rivals(experiment: Experiment, pair: Sets) -> dict[str, Float[np.ndarray, "cluster"]]:
    """Point estimates of other methods for the test clusters with interlopers [dex]."""
    with stage("fitting rivals", None, experiment.console):
        fitted = {name: baselines.RIVALS[key].fit(pair.training, seed=experiment.seed) for name, key in RIVALS.items()}
        return {name: method.predict(pair.test).log10_mass for name, method in fitted.items()}


def _observed(experiment: Experiment, trained: Trained, clusters: Path) -> RealClusters:
    """Masses of observed clusters by the paper's networks and by one trained on the realistic sample."""
    papers = {f"factor {factor:.3g}": trained.estimators["contaminated", factor] for factor in FACTORS}
    realistic = experiment.network("realistic", experiment.realistic(), experiment.papers_flow(), Training())
    return real_clusters({**papers, "realistic mocks": realistic}, observed(clusters))
