"""How far the mass of a real cluster moves when its table is thinned, cut, cleaned or centred elsewhere.

`python benchmarks/consistency.py --literature FOLDER --seed 1`, with a folder of galaxies/NAME.csv and centres.csv,
takes the clusters with more than 100 galaxies in fields that reach 1.4 h^-1 Mpc. Shifts are of the median [dex], with
those of M-sigma on the same galaxies beside them. The note has the pulls of centres that are estimated instead of
given, of every cluster in the folder.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from rich.console import Console

from clustermocks import Catalogue
from clustermocks.kinematics.dispersion import robust_dispersions
from clustermocks.perturbations import cleaned
from sbi_clustermass.baselines import evrard2008
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.observations.tables import ObservedCluster, TableOptions, read_cluster_list, read_table
from sbi_clustermass.observations.tables.density_peaks import separation
from sbi_clustermass.report import Table

DRAWS = 8  # of a random change
MEMBERS = "_members"
_FEWEST, _FULL = 100, 1.4
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1))

Change = Callable[[Catalogue, np.random.Generator], Catalogue]


class Masses(NamedTuple):
    """Log10 masses of clusters by the estimator and by M-sigma [dex]."""

    ours: np.ndarray
    m_sigma: np.ndarray


def thinned(share: float, near: float = 0.0, far: float = np.inf) -> Change:
    """Keep a share of the galaxies between two distances [h^-1 Mpc], and all others."""

    def change(cluster: Catalogue, rng: np.random.Generator) -> Catalogue:
        R_proj = cluster.galaxy_column("R_proj")
        return _kept(cluster, (rng.random(len(R_proj)) < share) | (R_proj < near) | (R_proj > far))

    return change


def clipped(*, stated: bool) -> Change:
    """Remove interlopers by clipping at three dispersions, and say so or not."""

    def change(cluster: Catalogue, rng: np.random.Generator) -> Catalogue:
        found = cleaned(cluster, "clipping")
        return found if stated else replace(found, provenance=cluster.provenance)

    return change


CHANGES: dict[str, tuple[Change, int]] = {
    "a random half": (thinned(0.5), DRAWS),
    "core (R < .5) thinned by 60 %": (thinned(0.4, far=0.5), DRAWS),
    "outskirts (R > .7) thinned by 60 %": (thinned(0.4, near=0.7), DRAWS),
    "R < 1.0 h^-1 Mpc": (thinned(0.0, near=1.0), 1),
    "clipped at 3 sigma, as stated": (clipped(stated=True), 1),
    "clipped at 3 sigma, not stated": (clipped(stated=False), 1),
}


def clusters(folder: Path, estimator: MassEstimator) -> Iterator[tuple[Path, ObservedCluster, TableOptions]]:
    """Clusters of the folder with many galaxies in a full field, by file."""
    options = TableOptions(clusters=read_cluster_list(folder / "centres.csv"))
    for path in sorted((folder / "galaxies").glob("*.csv")):
        if MEMBERS in path.stem or path.stem not in (options.clusters or ()):
            continue
        found = _read(path, estimator, options)
        if found.n_galaxies > _FEWEST and found.catalogue.galaxies(0)[0].max() > _FULL:
            yield path, found, options


def shifts(folder: Path, estimator: MassEstimator, seed: int) -> Table:
    """Table of the shifts of all clusters under each change."""
    rng, seen = np.random.default_rng(seed), list(clusters(folder, estimator))
    before = _masses(estimator, [found.catalogue for _, found, _ in seen])
    rows = []
    for name, (change, draws) in CHANGES.items():
        after = [_masses(estimator, [change(found.catalogue, rng) for _, found, _ in seen]) for _ in range(draws)]
        rows.append(_row(name, before, after))
    moved = [_masses(estimator, [_moved(each, estimator, side, 0.3) for each in seen]) for side in _SIDES]
    rows.append(_row("centre moved by .3 h^-1 Mpc", before, moved))
    rows += list(_members(folder, estimator))
    pulls = np.array(list(_centre_pulls(folder, estimator)))
    note = (
        f"{len(seen)} clusters: {', '.join(found.name for _, found, _ in seen)}. Estimated centres of {len(pulls)}: "
        f"offset on an axis over its stated error, rms {np.sqrt(np.mean(pulls**2)):.2f}, median {np.median(pulls):.2f}."
    )
    header = ("change", "mean", "rms", "largest", "M-sigma, rms")
    return Table("Shifts of the median [dex]", header, tuple(rows), note)


def _centre_pulls(folder: Path, estimator: MassEstimator) -> Iterator[float]:
    """Offset of each estimated centre from the known one, along one axis, over its stated error."""
    for known in read_cluster_list(folder / "centres.csv"):
        if known.centre is None:
            continue
        options = TableOptions(redshift=known.redshift)
        found = _read(folder / "galaxies" / f"{known.name}.csv", estimator, options)
        away = separation(np.array([[found.ra, found.dec]]), known.centre)[0]
        offset = away * float(estimator.cosmology.comoving_distance(found.redshift))
        yield float(offset / np.sqrt(2) / found.centre_error)


def _members(folder: Path, estimator: MassEstimator) -> Iterator[tuple[str, ...]]:
    """Lists of members against the full tables of the same clusters."""
    options = TableOptions(clusters=read_cluster_list(folder / "centres.csv"))
    for path in sorted((folder / "galaxies").glob(f"*{MEMBERS}.csv")):
        full = path.with_name(path.name.replace(MEMBERS, ""))
        whole = _read(full, estimator, options)
        own = replace(options, clusters=None, redshift=whole.redshift, centre=(whole.ra, whole.dec))
        for said in (False, True):
            found = _read(path, estimator, replace(own, cleaned=said))
            pair = [_masses(estimator, [each.catalogue]) for each in (whole, found)]
            yield _row(f"{full.stem}: members only, {'as stated' if said else 'not stated'}", pair[0], [pair[1]])


def _read(path: Path, estimator: MassEstimator, options: TableOptions) -> ObservedCluster:
    return read_table(path, options=options, observation=estimator.observation, cosmology=estimator.cosmology)


def _moved(
    seen: tuple[Path, ObservedCluster, TableOptions], estimator: MassEstimator, side: tuple[int, int], by: float
) -> Catalogue:
    """The same table about a centre that is off by a distance [h^-1 Mpc]."""
    path, found, options = seen
    angle = np.rad2deg(by / float(estimator.cosmology.comoving_distance(found.redshift)))
    centre = (found.ra + side[0] * angle / np.cos(np.deg2rad(found.dec)), found.dec + side[1] * angle)
    own = replace(options, clusters=None, redshift=found.redshift, centre=centre)
    return _read(path, estimator, own).catalogue


def _kept(cluster: Catalogue, keep: np.ndarray) -> Catalogue:
    galaxies = {name: values[keep] for name, values in cluster.galaxy_columns.items()}
    return cluster.with_galaxies(galaxies, cluster.cluster_of_galaxy[keep])


def _masses(estimator: MassEstimator, seen: list[Catalogue]) -> Masses:
    ours = [float(estimator.posterior(each).quantile(0.5)[0]) for each in seen]
    v_los = [each.galaxies(0)[1] for each in seen]
    sigma = robust_dispersions(v_los, list(range(len(seen))))
    redshifts = [float(each.observation_column("redshift")[0]) for each in seen]
    usual = [
        evrard2008(z, estimator.cosmology).inverse(np.log10(s.value)) for z, s in zip(redshifts, sigma, strict=True)
    ]
    return Masses(np.array(ours), np.array(usual, float))


def _row(name: str, before: Masses, after: list[Masses]) -> tuple[str, ...]:
    ours, usual = (np.array([each[i] - before[i] for each in after]) for i in (0, 1))
    largest = ours.flat[np.abs(ours).argmax()]
    rms = [float(np.sqrt(np.mean(each**2))) for each in (ours, usual)]
    return name, f"{ours.mean():+.2f}", f"{rms[0]:.2f}", f"{largest:+.2f}", f"{rms[1]:.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--literature", type=Path, required=True, help="Folder of published clusters.")
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    parser.add_argument("--seed", type=int, default=1, help="Seed of the random changes.")
    chosen = parser.parse_args()
    shipped = MassEstimator.load(resolve_model(chosen.model), device="cpu")
    Console(width=120).print(shifts(chosen.literature, shipped, chosen.seed).rich())
