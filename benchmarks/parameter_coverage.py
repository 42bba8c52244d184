"""Concentration, anisotropy and M500c of an estimator on mocks like its training set: how sure, and how often right.

`python benchmarks/parameter_coverage.py [--model FOLDER]` prints the table of the card (some minutes of one core).
Masses are h^-1 Msun, as log10 [dex].
"""

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from jaxtyping import Float
from mocks_to_ship import drawn
from rich.console import Console

from clustermocks import Catalogue
from clustermocks.haloes.nfw import mass_ratio
from clustermocks.mocks.chunk import DRAW, GROUP
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.report import Table

LEVELS = (0.5, 0.68, 0.9, 0.95)
RICHNESS = ((5, 100_000), (5, 15), (15, 50), (50, 100_000))
_MASSES, _EACH = 32, 8
_SEED = 9101  # no training set's
_HEADER = ("", "galaxies", "clusters", "width", "of the prior", "mean residual",
           *(f"in {level:.0%} [%]" for level in LEVELS))  # fmt: skip
_NOTE = (
    "On fresh mocks drawn as the training set. Width: mean standard deviation of a posterior; of the prior: the spread "
    "of the truth at a mass and redshift, for M500c that about the mean of all, which a table without galaxies would "
    f"leave. Errors are those of surveys of {GROUP} clusters, which share an anisotropy. Calibrated shares equal the "
    "levels."
)


def table(estimator: MassEstimator, mocks: Catalogue) -> Table:
    """Widths and coverage of everything besides the mass, by the number of galaxies."""
    posteriors, seeds = estimator.posterior(mocks), range(len(mocks))
    draws = estimator.given_mass_or_prior.draw(posteriors, mocks, _MASSES, each=_EACH, seeds=seeds)
    truth = mocks.parameters(("log10_mass", "log10_c200c"))
    m500c = truth[:, 0] + np.log10(mass_ratio(10 ** truth[:, 1], 500))
    found = {name: (draws.column(name), mocks.parameters((name,))[:, 0]) for name in estimator.parameters[1:]}
    rows = [
        _row(name, lowest, highest, *values, mocks)
        for name, values in {**found, "log10_m500c": (draws.log10_m500c, m500c)}.items()
        for lowest, highest in RICHNESS
    ]
    return Table("Concentration, anisotropy and M500c", _HEADER, tuple(rows), _NOTE)


def _row(
    name: str,
    lowest: int,
    highest: int,
    draws: Float[np.ndarray, "cluster draw"],
    truth: Float[np.ndarray, "cluster"],
    mocks: Catalogue,
) -> tuple[str, ...]:
    some = (mocks.n_galaxies >= lowest) & (mocks.n_galaxies < highest)
    draws, truth, survey = draws[some], truth[some], mocks.column(DRAW)[some]
    rank = (np.sum(draws < truth[:, None], axis=1) + 0.5) / (draws.shape[1] + 1)
    level = np.abs(2 * rank - 1)
    galaxies = "all" if (lowest, highest) == RICHNESS[0] else f"{lowest} to {highest - 1}"
    return (
        name,
        f"{lowest} or more" if galaxies != "all" and highest == RICHNESS[0][1] else galaxies,
        str(some.sum()),
        f"{draws.std(axis=1).mean():.3f}",
        f"{_prior_width(name, truth, mocks.select(some)):.3f}",
        str(mean_of(draws.mean(axis=1) - truth, survey)),
        *(f"{mean_of((level <= each).astype(float), survey).percent:.1f}" for each in LEVELS),
    )


def _prior_width(name: str, truth: Float[np.ndarray, "cluster"], mocks: Catalogue) -> float:
    if name != "log10_c200c":
        return float(truth.std())
    mass, redshift = mocks.log10_mass, mocks.column("redshift")
    about = np.stack([np.ones(len(truth)), mass, redshift, mass**2, mass * redshift, redshift**2], 1)
    return float((truth - about @ np.linalg.lstsq(about, truth, rcond=None)[0]).std())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--n", type=int, default=30_000, help="Mocks, before the richness cut.")
    parser.add_argument("--seed", type=int, default=_SEED)
    chosen = parser.parse_args()
    estimator = MassEstimator.load(resolve_model(chosen.model), device="cpu")
    Console(width=160).print(table(estimator, drawn(chosen.n, chosen.seed)).rich())
