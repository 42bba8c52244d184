"""Mock surveys of any mass function, end to end: simulated clusters, a trained estimator, posteriors.

One library of haloes is simulated, with more haloes at every mass than any survey has, because 400 separate surveys
would take days. Each halo is observed and inferred once; a survey keeps it with probability rate over density, which
makes the survey a Poisson draw of its own mass function. Two surveys share few clusters where the library is
ten times as dense as the survey.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; rates and densities are per dex.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
from jaxtyping import Float, Int
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
    """Simulator, estimator and selection, which all surveys share.

    Attributes:
        model: Simulator.
        estimator: Estimator trained on its mocks, with the richness cut of the survey.
        selection: P(selected | mass).
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
            selection = _measured(model, sizes["n_selection"], seed)
            parts = {"coefficients": selection.coefficients, "low": selection.low, "high": selection.high}
            (folder / "selection.json").write_text(json.dumps(parts), encoding="utf-8")
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> "Observatory":
        """Load what `build` wrote."""
        parts = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
        selection = Selection(tuple(parts["coefficients"]), parts["low"], parts["high"])
        return cls(survey_model(), MassEstimator.load(folder / "estimator"), selection)

    def expected(self, log_rate: LogRate) -> float:
        """Number of selected clusters of a rate of haloes."""
        grid = np.linspace(LOW, HIGH, 621)
        return float(np.trapezoid(np.exp(log_rate(grid)) * self.selection(grid), grid))

    def infer(
        self, log10_mass: Float[np.ndarray, "halo"], seed: int
    ) -> tuple[Int[np.ndarray, "selected"], Float[np.ndarray, "selected mass"]]:
        """Observe haloes: rows of those selected, and the log densities of their posteriors."""
        mocks = self.model.simulate(log10_mass, seed=seed).with_min_galaxies(MIN_GALAXIES)
        if not len(mocks):
            return np.zeros(0, int), np.zeros((0, 256))
        return mocks.host_id % 2**32, self.estimator.posterior(mocks).log_prob


@final
@dataclass(frozen=True, eq=False)
class Library:
    """Selected haloes of a Poisson draw of known density.

    Attributes:
        log10_mass: True masses [dex].
        log_density: Natural log of the density of haloes at them [1/dex].
        log_prob: Log densities of their posteriors, float32.
        blank: Grid and prior of the posteriors, without clusters.
    """

    log10_mass: Float[np.ndarray, "cluster"]
    log_density: Float[np.ndarray, "cluster"]
    log_prob: Float[np.ndarray, "cluster mass"]
    blank: MassPosteriors

    @classmethod
    def simulate(cls, observatory: Observatory, log_density: LogRate, *, seed: int, file: Path) -> "Library":
        """Draw, observe and infer haloes of a density, or read them from a file."""
        if not file.exists():
            rng = np.random.default_rng(seed)
            masses = draw(log_density, rng)
            parts = [part for part in np.array_split(masses, -(-len(masses) // AT_ONCE)) if part.size]
            kept, rows = [], []
            with STAGE(f"observing {len(masses)} haloes", len(masses)) as advance:
                for number, part in enumerate(parts):
                    selected, log_prob = observatory.infer(part, seed=int(rng.integers(2**31)))
                    kept.append(part[selected])
                    rows.append(log_prob.astype(np.float32))
                    advance((number + 1) * AT_ONCE)
            selected = np.concatenate(kept)
            np.savez(file, log10_mass=selected, log_density=log_density(selected), log_prob=np.concatenate(rows))
        return cls.load(file, observatory.estimator)

    @classmethod
    def load(cls, file: Path, estimator: MassEstimator) -> "Library":
        """Load what `simulate` wrote."""
        found = np.load(file)
        return cls(found["log10_mass"], found["log_density"], found["log_prob"], _blank(estimator))

    def survey(
        self, log_rate: LogRate, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "cluster"], MassPosteriors]:
        """True masses and posteriors of a survey whose haloes have this rate.

        Raises:
            ValueError: The library is not dense enough somewhere.
        """
        share = np.exp(log_rate(self.log10_mass) - self.log_density)
        if share.max() > 1:
            raise ValueError(f"the library has too few haloes: {share.max():.2f} of them are needed somewhere.")
        rows = np.flatnonzero(rng.random(len(share)) < share)
        return self.log10_mass[rows], self.posteriors(rows)

    def posteriors(self, rows: Int[np.ndarray, "some"]) -> MassPosteriors:
        """Posteriors of some clusters."""
        names, log_prob = tuple(str(row) for row in rows), self.log_prob[rows].astype(float)
        return MassPosteriors.from_log_prob(self.blank.grid, log_prob, log_prior=self.blank.log_prior, names=names)


def survey_model() -> HaloModel:
    """Simulator of the published mocks, each the heaviest halo in its cylinder."""
    return replace(HaloModel.ho2019(), dominant=True)


def envelope(log_rates: list[LogRate], selection: Selection, *, times: float) -> LogRate:
    """A density of `times` the largest rate where clusters are selected, and hardly more than it where they are not.

    Two surveys then share one in `times` of their clusters, and no time is spent on haloes that are not selected.
    """
    grid = np.linspace(LOW, HIGH, 311)
    dense = 1.2 + (times - 1.2) * np.sqrt(selection(grid))
    top = np.max([log_rate(grid) for log_rate in log_rates], axis=0) + np.log(dense)
    return lambda log10_mass: np.interp(log10_mass, grid, top)


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
        mocks = model.simulate(masses, seed=seed, progress=advance)
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
    """Measure P(selected | mass) on so many haloes that its error is small compared with that of a survey."""
    masses = FlatMasses(LOW, HIGH).draw(n, seed=seed + 1)
    passed = np.zeros(n, bool)
    with STAGE("measuring the selection", n) as advance:
        for start in range(0, n, AT_ONCE):
            mocks = model.simulate(masses[start : start + AT_ONCE], seed=seed + 1 + start)
            passed[start : start + AT_ONCE] = mocks.with_min_galaxies(MIN_GALAXIES).attempted()[1]
            advance(start + AT_ONCE)
    return fit_selection(masses, passed)


def _blank(estimator: MassEstimator) -> MassPosteriors:
    grid = np.linspace(*estimator.support, 256)
    return MassPosteriors(grid, np.zeros((0, 256)), estimator.prior.log_density(grid), ())
