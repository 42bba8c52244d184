"""Mock surveys of any mass function, end to end: simulated clusters, a trained estimator, posteriors.

Every survey has haloes of its own. Masses are M200c [h^-1 Msun] as log10_mass [dex]; rates are per dex.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float
from rich.console import Console

from clustermocks import FlatMasses, HaloModel, PowerLawMasses
from clustermocks.selection import Selection, fit_selection
from sbi_clustermass import MassEstimator, MassPosteriors, Tabulated, TrialMasses, train
from sbi_clustermass.cli.progress import console_stage

LOW, HIGH, MIN_GALAXIES = 12.5, 15.6, 20
AT_ONCE = 50_000
STAGE = console_stage(Console())
SIZES = {"n_train": 1_000_000, "n_selection": 400_000, "members": 3}
QUICK_SIZES = {"n_train": 25_000, "n_selection": 8_000, "members": 1}
LogRate = Callable[[Float[np.ndarray, "mass"]], Float[np.ndarray, "mass"]]


@final
@dataclass(frozen=True)
class Observatory:
    """Simulator and estimator, which all surveys share.

    Attributes:
        model: Simulator.
        estimator: Estimator trained on its mocks, with the richness cut of the survey.
        selection: P(selected | mass) measured with an error small compared with that of a survey.
    """

    model: HaloModel
    estimator: MassEstimator
    selection: Selection

    @classmethod
    def build(cls, folder: Path, *, seed: int, quick: bool = False) -> "Observatory":
        """Simulate, train and measure the selection, or read it from the folder."""
        sizes = QUICK_SIZES if quick else SIZES
        if not (folder / "selection.json").exists():
            model = survey_model()
            estimator = _trained(model, sizes["n_train"], sizes["members"], seed)
            estimator.save(folder / "estimator")
            with STAGE("measuring the selection", None):
                selection = _measured(model, sizes["n_selection"], seed + 1)
            parts = asdict(selection) | {"covariance": np.asarray(selection.covariance).tolist()}
            (folder / "selection.json").write_text(json.dumps(parts), encoding="utf-8")
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "Observatory":
        """Load what `build` wrote."""
        parts = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
        selection = Selection(tuple(parts["coefficients"]), parts["low"], parts["high"], np.array(parts["covariance"]))
        return cls(survey_model(), MassEstimator.load(folder / "estimator"), selection)

    def measured(self, attempts: int, seed: int) -> Selection:
        """P(selected | mass) measured on so many haloes of its own."""
        return _measured(self.model, attempts, seed)

    def expected(self, log_rate: LogRate) -> float:
        """Number of selected clusters of a rate of haloes."""
        grid = np.linspace(LOW, HIGH, 621)
        return float(np.trapezoid(np.exp(log_rate(grid)) * self.selection(grid), grid))

    def survey(self, log_rate: LogRate, seed: int) -> tuple[Float[np.ndarray, "cluster"], MassPosteriors]:
        """True masses and posteriors of the clusters selected from a Poisson draw of haloes of this rate."""
        mocks = self.model.simulate(draw(log_rate, np.random.default_rng(seed)), seed=seed)
        rich = mocks.with_min_galaxies(MIN_GALAXIES)
        return rich.log10_mass, self.estimator.posterior(rich)


def survey_model() -> HaloModel:
    """Simulator of the published mocks, each the heaviest halo in its cylinder."""
    return replace(HaloModel.ho2019(), dominant=True)


def draw(log_density: LogRate, rng: np.random.Generator) -> Float[np.ndarray, "halo"]:
    """Log10 masses of a Poisson draw [dex], in random order."""
    grid = np.linspace(LOW, HIGH, 3101)
    density = np.exp(log_density(grid))
    cumulative = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(grid))])
    n = rng.poisson(cumulative[-1])
    return np.interp(rng.uniform(0, cumulative[-1], n), cumulative, grid)


def _trained(model: HaloModel, n: int, members: int, seed: int) -> MassEstimator:
    with STAGE("simulating clusters to train on", n) as advance:
        # down to the lowest mass of the survey: a prior that ended at 10^13.0, with one cluster in 1000 below, caused
        # half of the bias of alpha in a survey of 10 000
        masses = PowerLawMasses(LOW, HIGH).draw(n, seed=seed)
        mocks = model.simulate(masses, seed=seed, n_jobs=-1, progress=advance)
    rich = mocks.with_min_galaxies(MIN_GALAXIES)
    with STAGE(f"training on {len(rich)}", None) as advance:
        return train(
            rich,
            flow=Tabulated(embedding=TrialMasses(0.5 * (LOW + HIGH), HIGH - LOW, trials=125, edge=True)),
            support=(LOW, HIGH),
            members=members,
            seed=seed,
            progress=lambda look: advance(look.update, str(look)),
        )


def _measured(model: HaloModel, n: int, seed: int) -> Selection:
    masses, passed = FlatMasses(LOW, HIGH).draw(n, seed=seed), np.zeros(n, bool)
    for start in range(0, n, AT_ONCE):
        mocks = model.simulate(masses[start : start + AT_ONCE], seed=seed + start, n_jobs=-1)
        passed[start : start + AT_ONCE] = mocks.with_min_galaxies(MIN_GALAXIES).attempted()[1]
    return fit_selection(masses, passed)
