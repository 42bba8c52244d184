"""A small demonstration of the whole chain: mocks, a trained flow, held-out masses, and the mass function of a survey.

The clusters are realistic mocks, each the heaviest halo in its cylinder: a survey counts a cluster once, not once
more for every group in front of it, and the clusters that pass a richness cut then lie in the training range.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from clustermocks import Catalogue, FlatMasses, HaloMassFunction, HaloModel
from clustermocks.io.atomic import replacing
from clustermocks.io.lock import claimed
from clustermocks.io.paths import as_path
from clustermocks.io.progress import Stage, silent
from clustermocks.selection import fit_selection
from sbi_clustermass.baselines import MSigma
from sbi_clustermass.diagnostics import Measured, coverage, residuals
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.misspecification.feature_distance import MIN_MOCKS
from sbi_clustermass.estimator.train import train
from sbi_clustermass.population import (
    NUTS,
    MassFunction,
    MeasuredSelection,
    Population,
    Survey,
    fit,
    mass_function_band,
)
from sbi_clustermass.population.plots import mass_function
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.posterior.plots import clusters, masses
from sbi_clustermass.report import Table
from sbi_clustermass.report.style import save
from sbi_clustermass.training import Training
from sbi_clustermass.training.plots import history

if TYPE_CHECKING:
    from arviz import InferenceData

_FILES = {
    "estimator.json, estimator.safetensors, alarm.safetensors": "the trained estimator, and what mocks look like; this "
    "folder is a valid `--model`",
    "masses.parquet": "posteriors of the held-out test clusters (`MassPosteriors.from_parquet`)",
    "clusters.png": "three test clusters: phase space (members, interlopers, kernel density) and mass posterior",
    "masses.png": "inferred against true mass for all test clusters",
    "survey/": "the estimator of the survey, trained on clusters that pass its richness cut; also a valid `--model`",
    "population.png": "the survey's mass function: fitted, put in, and the naive histogram",
    "training.png": "loss against weight updates",
}


@final
@dataclass(frozen=True)
class Demo:
    """Sizes of the demonstration.

    Attributes:
        n_clusters: Number of mocks, flat in log10 mass between 10^13.0 and 10^15.6, for training and test.
        n_survey: Number of haloes above 10^12.5 in the survey's volume, drawn from the mass function.
        survey_min_galaxies: Richness cut of the survey, high enough that under 1 % of the selected clusters lie below
            10^13.0.
        max_updates: Largest number of weight updates of each training.
        draws: Posterior draws of the population fit, after half as many for warm-up.
        seed: Seed of the run.
        n_jobs: Number of processes for the simulator.
    """

    n_clusters: int = 20_000
    n_survey: int = 20_000
    survey_min_galaxies: int = 55
    max_updates: int = 2000
    draws: int = 400
    seed: int = 1
    n_jobs: int = 2


@final
@dataclass(frozen=True)
class Summary:
    """Results of the demonstration."""

    residual_mean: Measured
    residual_scatter: Measured
    inverse_scatter: Measured
    inverted_scatter: Measured
    coverage_68: Measured
    coverage_95: Measured
    slope: Measured
    slope_put_in: float
    n_test: int
    n_survey: int

    def table(self) -> Table:
        """Return the results beside the numbers to compare with."""
        rows = (
            ("residual mean (dex)", str(self.residual_mean), "0"),
            ("residual scatter (dex)", str(self.residual_scatter), "the two rows below"),
            ("  M-sigma, inverse regression (dex)", str(self.inverse_scatter), "same clusters"),
            ("  M-sigma, relation inverted (dex)", str(self.inverted_scatter), "same clusters"),
            ("coverage of the 68 % interval", str(self.coverage_68), "0.680"),
            ("coverage of the 95 % interval", str(self.coverage_95), "0.950"),
            ("slope of the mass function", str(self.slope), f"{self.slope_put_in:.3f} put in"),
        )
        title = f"{self.n_test} held-out mock clusters, and a survey of {self.n_survey}"
        return Table(title, ("", "found", "to compare with"), rows)


def run(folder: Path, demo: Demo, stage: Stage = silent) -> Summary:
    """Run the demonstration and write its files.

    Args:
        folder: Folder of the run; created if missing.
        demo: Sizes and seed.
        stage: Shows the progress; by default nothing is shown.

    Raises:
        BlockingIOError: Another process writes into the folder.
        OSError: The folder cannot be written.
    """
    folder = as_path(folder)
    with claimed(folder):
        return _chain(folder, demo, stage)


def _chain(folder: Path, demo: Demo, stage: Stage) -> Summary:
    mocks = _simulate(
        "simulating mock clusters", FlatMasses(13.0, 15.6).draw(demo.n_clusters, demo.seed), demo, stage, stream=0
    )
    train_set, test_set = mocks.split(0.8, seed=demo.seed)
    estimator = _train("training the stacked-affine flow", train_set, demo, stage)
    if len(test_set) >= MIN_MOCKS:
        with stage("learning what mocks look like", None):
            estimator = estimator.with_alarm(test_set, seed=demo.seed)
    estimator.save(folder)
    with stage("inferring held-out clusters", None):
        posteriors = estimator.posterior(test_set)
    posteriors.to_parquet(folder / "masses.parquet")
    survey = _Survey.observe(folder / "survey", mocks, demo, stage)
    population = survey.fit(demo, stage)
    _write_pictures(folder, test_set, posteriors, estimator)
    save(survey.picture(population), folder / "population.png")
    _write_readme(folder)
    return _summarise(train_set, test_set, posteriors, survey, population)


def _simulate(title: str, log10_masses: np.ndarray, demo: Demo, stage: Stage, *, stream: int) -> Catalogue:
    with stage(title, len(log10_masses)) as advance:
        return HaloModel(dominant=True).simulate(
            log10_masses, seed=10 * demo.seed + stream, n_jobs=demo.n_jobs, progress=advance
        )


def _train(title: str, train_set: Catalogue, demo: Demo, stage: Stage) -> MassEstimator:
    with stage(title, demo.max_updates) as advance:
        return train(
            train_set,
            support=(13.0, 15.6),
            training=Training(max_updates=demo.max_updates),
            seed=demo.seed,
            progress=lambda look: advance(look.update, str(look)),
        )


@final
@dataclass(frozen=True)
class _Survey:
    """A mock survey: its volume, its selected clusters' posteriors, and the model with P(selected | mass)."""

    masses: HaloMassFunction
    volume: float
    posteriors: MassPosteriors
    population: Population

    @classmethod
    def observe(cls, folder: Path, mocks: Catalogue, demo: Demo, stage: Stage) -> "_Survey":
        """Simulate the survey and infer its masses with a network trained on clusters that pass the survey's own cut.

        The network does not see the richness cut: trained below the cut, it would give the likelihood of another
        sample, and the slope would be too steep by one.
        """
        rich, masses = mocks.with_min_galaxies(demo.survey_min_galaxies), HaloMassFunction()
        estimator = _train("training on the survey's clusters", rich, demo, stage)
        estimator.save(folder)
        drawn = masses.draw(demo.n_survey, demo.seed + 1)
        sky = _simulate("simulating a survey", drawn, demo, stage, stream=1).with_min_galaxies(demo.survey_min_galaxies)
        light = _simulate(
            "measuring its selection", FlatMasses(12.5, 13.0).draw(demo.n_clusters // 5, 1), demo, stage, stream=2
        )
        attempts = [part.with_min_galaxies(demo.survey_min_galaxies).attempted() for part in (light, rich)]
        selection = fit_selection(*(np.concatenate(parts) for parts in zip(*attempts, strict=True)))
        population = Population(selection=MeasuredSelection(selection), mass_range=(masses.low, masses.high))
        return cls(masses, demo.n_survey / masses.number_density(), estimator.posterior(sky), population)

    def fit(self, demo: Demo, stage: Stage) -> "InferenceData":
        sampler = NUTS(num_warmup=demo.draws // 2, num_samples=demo.draws, seed=demo.seed)
        survey = Survey.of_volume(self.volume, sample_variance=False)  # drawn from the mean mass function
        with stage("fitting the mass function", sampler.total) as advance:
            return fit(self.population, self.posteriors, survey, sampler=sampler, progress=advance)

    def slope_put_in(self) -> float:
        step = 0.01
        around = self.masses.density(MassFunction().pivot + np.array([-step, step]))
        return float(np.diff(np.log10(around))[0] / (2 * step))

    def picture(self, population: "InferenceData"):
        grid = np.linspace(13.5, 15.3, 91)
        band = mass_function_band(population, grid)
        return mass_function(
            grid, band, truth=self.masses.density(grid), points=self.posteriors.mean, volume=self.volume
        )


def _write_pictures(folder: Path, test_set: Catalogue, posteriors: MassPosteriors, estimator: MassEstimator) -> None:
    chosen = [int(np.abs(test_set.log10_mass - mass).argmin()) for mass in (13.8, 14.4, 15.0)]
    save(clusters(test_set, posteriors, chosen), folder / "clusters.png")
    save(masses(posteriors, test_set.log10_mass), folder / "masses.png")
    save(history(estimator.history), folder / "training.png")


def _write_readme(folder: Path) -> None:
    lines = ["# A run of `clustermass demo`", "", *(f"- `{name}`: {what}" for name, what in _FILES.items()), ""]
    with replacing(folder / "README.md") as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _summarise(
    train_set: Catalogue, test_set: Catalogue, posteriors: MassPosteriors, survey: _Survey, population: "InferenceData"
) -> Summary:
    truth = test_set.log10_mass
    mean, scatter = residuals(posteriors.mean, truth)
    inverse, inverted = (MSigma(direction=way).fit(train_set).predict(test_set) for way in ("inverse", "inverted"))
    slope = population["posterior"]["slope"].values
    return Summary(
        residual_mean=mean,
        residual_scatter=scatter,
        inverse_scatter=residuals(inverse.log10_mass, truth)[1],
        inverted_scatter=residuals(inverted.log10_mass, truth)[1],
        coverage_68=coverage(posteriors, truth, 0.68),
        coverage_95=coverage(posteriors, truth, 0.95),
        slope=Measured(float(slope.mean()), float(slope.std())),
        slope_put_in=survey.slope_put_in(),
        n_test=len(test_set),
        n_survey=len(survey.posteriors),
    )
