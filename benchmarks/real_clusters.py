"""Comparison of observed clusters with published masses.

`python benchmarks/real_clusters.py --data FOLDER` with a folder of the four tables named below; by default
shared/data/clusters next to the repository. Published masses are M200c, converted to log10 M200c [h^-1 Msun] with the h
that each assumes. The pull is our mass minus theirs over both errors in quadrature. Dynamical masses come from galaxies
like ours, often the same ones: agreement with these shows consistency, with lensing and X-ray masses accuracy.

`python benchmarks/real_clusters.py --literature FOLDER` with a folder of galaxies/NAME.csv, centres.csv and masses.csv
(name, log10_m200c [h^-1 Msun], error, kind) prints how far our medians scatter about masses by lensing, X-rays and
caustics, after one offset for each kind, since kinds differ, and the same for M-sigma on the same galaxies.
"""

import argparse
import os
from dataclasses import dataclass
from math import hypot, log10
from pathlib import Path
from typing import final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.table import Table as AstropyTable
from rich.console import Console

from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.observations import MassResult, infer_cluster
from sbi_clustermass.observations.tables import (
    TableOptions,
    Unreadable,
    read_cluster_list,
    read_clusters,
    read_table,
)
from sbi_clustermass.report import Table

KINDS = ("lensing", "X-ray hydrostatic", "caustic")
_FULL = 1.4  # h^-1 Mpc: a field that holds r200c of most
_UNKNOWN = 0.1  # error that no paper states [dex]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "clusters"


@final
@dataclass(frozen=True)
class Published:
    """A published M200c.

    Attributes:
        kind: Method: caustic, virial, Jeans, X-ray, lensing, network.
        mass: Mass [1e14 Msun], or [1e14 h^-1 Msun] where `h` is 1.
        down: Error towards lower masses, in the same unit; NaN if unknown.
        up: Error towards higher masses.
        h: Hubble constant that the mass assumes.
        reference: Paper.
    """

    kind: str
    mass: float
    down: float
    up: float
    h: float
    reference: str

    @property
    def log10_mass(self) -> float:
        """log10 M200c [h^-1 Msun]."""
        return 14 + log10(self.mass * self.h)

    def error(self, ours: float) -> float:
        """Error towards our mass [dex]; NaN if unknown."""
        side = self.up if ours > self.log10_mass else min(self.down, 0.9 * self.mass)
        return abs(log10(1 + (side if ours > self.log10_mass else -side) / self.mass))


@final
@dataclass(frozen=True)
class Observed:
    """An observed cluster with its table and published masses.

    Attributes:
        name: Name of the cluster.
        file: File of its table.
        options: Facts that the table does not contain.
        known: How its galaxies were selected.
        published: Published masses.
    """

    name: str
    file: str
    options: TableOptions
    known: str
    published: tuple[Published, ...]


_LISTED = "{}, as listed in the notebook of Ho et al. 2019"
_NONE = float("nan")
CLUSTERS = (
    Observed(
        "Coma",
        "coma_phase_space.csv",
        TableOptions(redshift=0.0235, h=0.7, distance="physical"),
        "SDSS spectra, field and interlopers kept, |v| < 4000 km/s",
        (
            Published("virial", 9.5, 1.4, 1.4, 1.0, _LISTED.format("The & White 1986")),
            Published("X-ray", 9.3, 1.2, 1.2, 1.0, _LISTED.format("Hughes 1989")),
            Published("caustic", 14.4, 2.9, 2.9, 1.0, _LISTED.format("Geller et al. 1999")),
            Published("Jeans", 9.8, 3.5, 3.5, 1.0, _LISTED.format("Lokas & Mamon 2003")),
            Published("lensing", 18.8, 5.6, 6.5, 1.0, "Kubo et al. 2007, arXiv:0709.0506"),
            Published("lensing", 5.3, 2.2, 4.5, 1.0, _LISTED.format("Gavazzi et al. 2009")),
            Published("infall", 6.2, 1.6, 1.6, 1.0, _LISTED.format("Falco et al. 2014")),
            Published("caustic", 12.9, _NONE, _NONE, 0.7, "Sohn et al. 2017, arXiv:1612.06428"),
            Published("network", 6.9, 1.5, 2.0, 1.0, "Kodi Ramanah et al. 2020, arXiv:2003.05951"),
            Published("network", 12.6, 3.7, 5.2, 1.0, "Ho et al. 2022, arXiv:2206.14834"),
            Published("lensing", 8.2, 0.7, 0.7, 0.7, "Hyeong Han et al. 2026, arXiv:2606.12523"),
            Published("Jeans", 10.8, 1.3, 1.2, 0.7, "Pedratti et al. 2026, arXiv:2603.16706"),
        ),
    ),
    Observed(
        "A119",
        "a119.csv",
        TableOptions(redshift=0.0442, centre=(14.06715, -1.25537)),
        "targets of SAMI: |v| < 3.5 dispersions, R < 1.1 R200",
        (
            Published("caustic", 8.6, 3.1, 3.1, 0.7, "Owers et al. 2017"),
            Published("virial", 9.7, 1.1, 1.1, 0.7, "Owers et al. 2017"),
            Published("virial", 4.1, 0.9, 1.2, 1.0, "Abdullah et al. 2020, GalWCat19, arXiv:1907.05061"),
            Published("network", 4.0, 1.0, 1.3, 1.0, "Kodi Ramanah et al. 2020, arXiv:2003.05951"),
        ),
    ),
    Observed(
        "A2199",
        "a2199.csv",
        TableOptions(redshift=0.0302, centre=(247.1594, 39.5513)),
        "bright galaxies only, of one volume of SDSS",
        (Published("caustic", 3.41, _NONE, _NONE, 0.7, "Rines & Diaferio 2006 (CIRS)"),),
    ),
    Observed(
        "A2029",
        "a2029.csv",
        TableOptions(redshift=0.0773, centre=(227.7338, 5.7447)),
        "bright galaxies only, of one volume of SDSS",
        (Published("caustic", 9.4, _NONE, _NONE, 0.7, "Sohn et al. 2017, arXiv:1612.06428"),),
    ),
)


def infer(observed: Observed, estimator: MassEstimator, data: Path) -> MassResult:
    """Infer our mass of a cluster, with all warnings."""
    cluster = read_table(
        data / observed.file,
        options=observed.options,
        observation=estimator.observation,
        cosmology=estimator.cosmology,
    )
    return infer_cluster(cluster, estimator)


def table(observed: Observed, mass: MassResult) -> Table:
    """Table of our mass and each published mass with its pull."""
    sigma = f"sigma_v {mass.dispersion.value:.0f} km/s"
    ours = ("ours", f"{mass.mean:.2f} ± {mass.std:.2f}", "", f"{mass.cluster.n_galaxies} galaxies, {sigma}")
    rows = (ours, *(_row(each, mass) for each in observed.published))
    logs = [each.log10_mass for each in observed.published]
    span = f"Published: a factor {10 ** (max(logs) - min(logs)):.1f} between the smallest and the largest. "
    warnings = "; ".join(mass.warnings) or "none"
    note = f"{span if len(logs) > 1 else ''}Selection of the galaxies: {observed.known}. Warnings: {warnings}."
    return Table(observed.name, ("mass", "log10 M200c [h^-1 Msun]", "pull", "from"), rows, note)


def _row(each: Published, mass: MassResult) -> tuple[str, ...]:
    log, error = each.log10_mass, each.error(mass.mean)
    known = np.isfinite(error)
    pull = (mass.mean - log) / hypot(mass.std, error if known else 0.0)
    return each.kind, f"{log:.2f} ± {error:.2f}" if known else f"{log:.2f}", f"{pull:+.1f}", each.reference


def span(observed: Observed) -> tuple[float, float]:
    """Smallest and largest published log10 mass [dex]."""
    logs = [each.log10_mass for each in observed.published]
    return min(logs), max(logs)


def literature(folder: Path, estimator: MassEstimator) -> Table:
    """Table of each cluster's mass and the published one; the note has the scatter after one offset a kind."""
    known = TableOptions(clusters=read_cluster_list(folder / "centres.csv"))
    rows, ours, usual, pulls, kinds, redshifts, reaches = [], [], [], [], [], [], []
    for published in AstropyTable.read(folder / "masses.csv"):
        if published["kind"] not in KINDS:
            continue
        path, seen = folder / "galaxies" / f"{published['name']}.csv", estimator.observation
        (cluster,) = read_clusters(path, options=known, observation=seen, cosmology=estimator.cosmology)
        mass = None if isinstance(cluster, Unreadable) or cluster.reason else infer_cluster(cluster, estimator)
        if not isinstance(mass, MassResult):
            rows.append((published["name"], "", "", "", published["kind"]))
            continue
        low, median, high = mass.percentiles
        theirs, error = float(published["log10_m200c"]), float(published["error"])
        rows.append((
            published["name"], f"{median:.2f} ± {(high - low) / 2:.2f}", f"{mass.log10_mass_m_sigma:.2f}",
            f"{theirs:.2f} ± {error:.2f}", published["kind"],
        ))  # fmt: skip
        ours.append(median - theirs)
        usual.append(mass.log10_mass_m_sigma - theirs)
        pulls.append(ours[-1] / hypot((high - low) / 2, error, _UNKNOWN))
        kinds.append(published["kind"])
        redshifts.append(mass.cluster.redshift)
        reaches.append(float(mass.cluster.catalogue.galaxies(0)[0].max()))
    ours, usual, kinds = np.array(ours), np.array(usual), np.array(kinds)
    left = ours - np.array([ours[kinds == kind].mean() for kind in kinds])
    parts = {"z < .2": np.array(redshifts) < 0.2, "R > 1.4 h^-1 Mpc": np.array(reaches) > _FULL}
    between = ", ".join(f"{name} {left[some].mean() - left[~some].mean():+.2f}" for name, some in parts.items())
    offsets = ", ".join(f"{k} {ours[kinds == k].mean():+.2f} ({usual[kinds == k].mean():+.2f})" for k in KINDS)
    note = (
        f"{len(ours)} clusters. Scatter after one offset a kind: {_scatter(ours, kinds):.3f} dex, M-sigma "
        f"{_scatter(usual, kinds):.3f}. Offsets, in brackets those of M-sigma: {offsets}. Standard deviation of the "
        f"pulls: {np.std(pulls):.2f}. Mean residual of clusters with this against the others [dex]: {between}."
    )
    return Table("Published clusters", ("cluster", "ours", "M-sigma", "published", "kind"), tuple(rows), note)


def _scatter(residual: np.ndarray, kinds: np.ndarray) -> float:
    """Scatter after one offset for each kind [dex]."""
    left = sum(((residual[kinds == k] - residual[kinds == k].mean()) ** 2).sum() for k in np.unique(kinds))
    return float(np.sqrt(left / (len(residual) - len(np.unique(kinds)))))


def main(model: str | None, data: Path, folder: Path | None, *, markdown: bool) -> None:
    """Print a table for each cluster whose galaxies are here, or one of the published clusters in a folder."""
    estimator, console = MassEstimator.load(resolve_model(model), device="cpu"), Console(width=170)
    if folder is not None:
        found = literature(folder, estimator)
        print(found.markdown()) if markdown else console.print(found.rich())
        return
    for observed in CLUSTERS:
        if not (data / observed.file).is_file():
            console.print(f"{observed.name}: skipped, {data / observed.file} is not here.")
            continue
        found = table(observed, infer(observed, estimator, data))
        if markdown:
            print(f"{found.markdown()}\n")
        else:
            console.print(found.rich())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--data", type=Path, default=DATA, help="Folder of the tables.")
    parser.add_argument("--literature", type=Path, help="Folder of published clusters.")
    parser.add_argument("--markdown", action="store_true", help="Tables in Markdown.")
    chosen = parser.parse_args()
    main(chosen.model, chosen.data, chosen.literature, markdown=chosen.markdown)
