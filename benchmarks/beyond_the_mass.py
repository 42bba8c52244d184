"""Concentrations, M500c and M200c of observed clusters by lensing, X-rays and dynamics, and ours of the same draws.

`python benchmarks/beyond_the_mass.py --literature FOLDER` takes a folder of galaxies/NAME.csv and centres.csv, and the
estimator that ships or that of --model, of log10_mass, log10_c200c and, if it has it, beta. Where a paper gives only
two of M200c, M500c and c200c, the third is that of an NFW halo. Our values are medians with half of the central 68 %.
A pull is ours minus theirs over both errors in quadrature. Nothing is tuned to these clusters.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import hypot, log, log10
from pathlib import Path
from typing import NamedTuple, final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from jaxtyping import Float
from rich.console import Console

from clustermocks.haloes.nfw import mass_ratio
from sbi_clustermass import MassEstimator, Posteriors, TableOptions
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.observations.tables import Unreadable, read_cluster_list, read_clusters
from sbi_clustermass.report import Table

UNKNOWN = 0.1  # error that no paper states [dex]
DRAWS = 4000
_NONE = float("nan")
_GRID = np.geomspace(0.5, 30, 4001)  # of c200c


@final
@dataclass(frozen=True)
class Published:
    """A published NFW halo, of which M200c and one of c200c and M500c are given.

    Attributes:
        name: Name of the cluster.
        kind: Method: lensing, X-ray hydrostatic or dynamical.
        mass: M200c [1e14 Msun], or [1e14 h^-1 Msun] where `h` is 1.
        mass_error: Its error; NaN if unknown.
        c_200c: Concentration [1]; NaN where M500c is given.
        c_error: Its error; NaN if unknown.
        reference: Paper.
        read: Where the numbers were read.
        mass_500c: M500c, in the unit of `mass`; NaN where c200c is given.
        h: Hubble constant that the masses assume.
    """

    name: str
    kind: str
    mass: float
    mass_error: float
    c_200c: float
    c_error: float
    reference: str
    read: str
    mass_500c: float = _NONE
    h: float = 0.7

    @property
    def log10_c200c(self) -> tuple[float, float]:
        """log10 c200c and its error [dex], NaN if unknown."""
        if np.isfinite(self.c_200c):
            return log10(self.c_200c), self.c_error / self.c_200c / log(10)
        return log10(concentration_of(self.mass_500c / self.mass)), _NONE

    @property
    def log10_m200c(self) -> tuple[float, float]:
        """log10 M200c [h^-1 Msun] and its error [dex], NaN if unknown."""
        return 14 + log10(self.mass * self.h), self.mass_error / self.mass / log(10)

    @property
    def log10_m500c(self) -> tuple[float, float]:
        """log10 M500c [h^-1 Msun] and its error [dex], as large as that of M200c; NaN if unknown."""
        ratio = float(mass_ratio(10 ** self.log10_c200c[0], 500))
        return self.log10_m200c[0] + log10(ratio), self.log10_m200c[1]


def concentration_of(ratio: float) -> float:
    """c200c of the NFW halo with M500c / M200c = ratio."""
    return float(np.interp(ratio, mass_ratio(_GRID, 500), _GRID))


_UMETSU = "Umetsu et al. 2016, ApJ 821, 116 (CLASH)"
_ETTORI = "Ettori et al. 2019, A&A 621, A39 (X-COP)"
_TABLE = "public transcription of its table"
PUBLISHED = (
    Published("A383", "lensing", 7.98, 2.66, 5.9, 1.8, _UMETSU, _TABLE),
    Published("A383", "lensing", 8.7, _NONE, 4.4, _NONE, "Merten et al. 2015, ApJ 806, 4 (CLASH)", _TABLE, h=1.0),
    Published("A209", "lensing", 15.4, 3.42, 2.7, 0.6, _UMETSU, _TABLE),
    Published("AS1063", "lensing", 18.78, 6.72, 3.6, 1.4, _UMETSU, _TABLE),
    Published("MACS1206", "lensing", 18.17, 4.23, 3.7, 1.1, _UMETSU, _TABLE),
    Published("MACS1206", "dynamical", 14.0, 2.0, 6.0, 1.0, "Biviano et al. 2013, A&A 558, A1 (CLASH-VLT)", "abstract"),
    Published("RXJ1347", "lensing", 34.25, 8.78, 3.2, 0.9, _UMETSU, _TABLE),
    Published("MACS0717", "lensing", 26.77, 5.36, 1.8, 0.4, _UMETSU, _TABLE),
    Published("A85", "X-ray hydrostatic", 8.50, _NONE, _NONE, _NONE, _ETTORI, _TABLE, mass_500c=5.65),
    Published("A2029", "X-ray hydrostatic", 12.57, _NONE, _NONE, _NONE, _ETTORI, _TABLE, mass_500c=8.82),
    Published("A2255", "X-ray hydrostatic", 10.33, _NONE, _NONE, _NONE, _ETTORI, _TABLE, mass_500c=5.26),
)


class Row(NamedTuple):
    """Cells of a row, and of log10 c200c, M500c and M200c our value minus the published one [dex], and its pull."""

    cells: tuple[str, ...]
    difference: Float[np.ndarray, "3"]
    pull: Float[np.ndarray, "3"]


def joint(folder: Path, name: str, estimator: MassEstimator, seed: int) -> Posteriors | None:
    """Our joint posterior of one cluster of the folder; None where its table gives no mass."""
    options = TableOptions(clusters=read_cluster_list(folder / "centres.csv"))
    path, seen = folder / "galaxies" / f"{name}.csv", estimator.observation
    (cluster,) = read_clusters(path, options=options, observation=seen, cosmology=estimator.cosmology)
    if isinstance(cluster, Unreadable) or cluster.reason:
        return None
    return estimator.joint(cluster.catalogue, DRAWS, seed=seed)


def rows(found: Posteriors, published: Sequence[Published]) -> Iterator[Row]:
    """Yield a row of the table for each published halo of one cluster."""
    ours = [middle(draws) for draws in (found.column("log10_c200c"), found.log10_m500c, found.column("log10_mass"))]
    beta = _shown(*middle(found.column("beta"))) if "beta" in found.parameters else ""
    for each in published:
        pairs = list(zip(ours, (each.log10_c200c, each.log10_m500c, each.log10_m200c), strict=True))
        pulls = [_pull(*pair) for pair in pairs]
        values = [_shown(*value) for pair in pairs for value in pair]
        source = f"{each.kind}: {each.reference}, {each.read}"
        cells = (each.name, *values, *(f"{pull:+.1f}" for pull in pulls), beta, source)
        yield Row(cells, np.array([one[0] - other[0] for one, other in pairs]), np.array(pulls))


def middle(draws: np.ndarray) -> tuple[float, float]:
    """Median of one cluster's draws, and half the width of the central 68 %."""
    low, median, high = np.quantile(draws, [0.16, 0.5, 0.84])
    return float(median), float((high - low) / 2)


def _pull(ours: tuple[float, float], theirs: tuple[float, float]) -> float:
    error = theirs[1] if np.isfinite(theirs[1]) else UNKNOWN
    return (ours[0] - theirs[0]) / hypot(ours[1], error)


def _shown(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}" if np.isfinite(error) else f"{value:.2f}"


def table(folder: Path, estimator: MassEstimator, seed: int) -> Table:
    """Table of the published haloes with our values; the note has the mean difference and the spread of the pulls."""
    lines: list[Row] = []
    for name in dict.fromkeys(each.name for each in PUBLISHED):
        found = joint(folder, name, estimator, seed)
        if found is not None:
            lines += rows(found, [each for each in PUBLISHED if each.name == name])
    shift = np.mean([line.difference for line in lines], axis=0)
    spread = np.std([line.pull for line in lines], axis=0)
    names = "log10 c200c", "log10 M500c", "log10 M200c"
    note = f"{len(lines)} published haloes, with {UNKNOWN} dex for unknown errors. " + " ".join(
        f"{name}: mean difference {mean:+.2f}, standard deviation of the pulls {std:.2f}."
        for name, mean, std in zip(names, shift, spread, strict=True)
    )
    header = (
        "cluster", "log10 c200c", "published", "log10 M500c [h^-1 Msun]", "published", "log10 M200c", "published",
        "pull of c200c", "of M500c", "of M200c", "our beta", "from",
    )  # fmt: skip
    return Table("Published concentrations and masses", header, tuple(line.cells for line in lines), note)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator of concentrations; the shipped one by default.")
    parser.add_argument("--literature", type=Path, required=True, help="Folder of published clusters.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--markdown", action="store_true", help="Table in Markdown.")
    chosen = parser.parse_args()
    found = table(chosen.literature, MassEstimator.load(resolve_model(chosen.model), device="cpu"), chosen.seed)
    print(found.markdown()) if chosen.markdown else Console(width=190).print(found.rich())
