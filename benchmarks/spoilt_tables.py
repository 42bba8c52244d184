"""Verdicts on tables of published clusters, and on the same tables spoilt in ways that make a mass wrong.

`python benchmarks/spoilt_tables.py --literature FOLDER` with a folder of galaxies/NAME.csv (right ascension,
declination, redshift or c z) and centres.csv. It prints how many tables get care, do not use or no mass: few of those
as they are should, most of the spoilt ones. Nothing is tuned to these tables.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from astropy.table import Table as AstropyTable
from jaxtyping import Float
from rich.console import Console

from clustermocks.haloes.cosmology import SPEED_OF_LIGHT
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.estimator.verdict import Grade
from sbi_clustermass.observations import ClusterResult, MassResult, infer_tables
from sbi_clustermass.observations.tables import TableOptions, read_cluster_list
from sbi_clustermass.report import Table

AS_THEY_ARE = "as_they_are"
_OFF = 1000.0  # km/s
_APART = 2000.0  # km/s, of two clusters in one line of sight
_PHOTOMETRIC = 0.02  # scatter of z / (1 + z)


@final
@dataclass(frozen=True)
class Sample:
    """Galaxies of one table, and what its user knows: right ascension, declination [deg] and redshift in columns."""

    name: str
    galaxies: Float[np.ndarray, "galaxy 3"]
    options: TableOptions

    @property
    def place(self) -> Float[np.ndarray, "3"]:
        """Centre and redshift of the cluster, medians of the galaxies where they are not given."""
        known = self.options
        found = np.median(self.galaxies, axis=0)
        return found if known.centre is None or known.redshift is None else np.array([*known.centre, known.redshift])


def read_samples(folder: Path) -> list[Sample]:
    """Read all tables of the folder."""
    known, samples = read_cluster_list(folder / "centres.csv"), []
    for path in sorted((folder / "galaxies").glob("*.csv")):
        table = AstropyTable.read(path)
        z = table["z"] if "z" in table.colnames else table["cz"] / SPEED_OF_LIGHT
        here = known.get(path.stem) if path.stem in known else None
        options = TableOptions() if here is None else TableOptions(redshift=here.redshift, centre=here.centre)
        samples.append(
            Sample(path.stem, np.column_stack([table["ra_deg"], table["dec_deg"], z]).astype(float), options)
        )
    return samples


def half_of_the_sky(sample: Sample, other: Sample) -> Sample:
    """Leave out the galaxies west of the centre."""
    return replace(sample, galaxies=sample.galaxies[sample.galaxies[:, 0] > sample.place[0]])


def another_appended(sample: Sample, other: Sample) -> Sample:
    """Append the galaxies of another cluster, elsewhere, and state neither centre nor redshift."""
    return Sample(sample.name, np.concatenate([sample.galaxies, other.galaxies]), TableOptions())


def another_behind(sample: Sample, other: Sample) -> Sample:
    """Put another cluster into the same line of sight, 2000 km/s behind, as large in degrees as it is."""
    ratio = np.cos(np.deg2rad(other.place[1])) / np.cos(np.deg2rad(sample.place[1]))
    moved = (other.galaxies - other.place) * [ratio, 1, 1] + sample.place
    moved[:, 2] = (1 + other.galaxies[:, 2]) * (1 + sample.place[2]) / (1 + other.place[2]) - 1
    moved[:, 2] += _APART / SPEED_OF_LIGHT * (1 + sample.place[2])
    return replace(sample, galaxies=np.concatenate([sample.galaxies, moved]))


def photometric_redshifts(sample: Sample, other: Sample) -> Sample:
    """Scatter all redshifts by .02 (1 + z)."""
    galaxies = sample.galaxies.copy()
    noise = np.random.default_rng(1).normal(0, _PHOTOMETRIC, len(galaxies))
    galaxies[:, 2] = np.maximum(galaxies[:, 2] + noise * (1 + galaxies[:, 2]), 1e-3)
    return replace(sample, galaxies=galaxies)


def a_wrong_redshift(sample: Sample, other: Sample) -> Sample:
    """State a redshift that is wrong by 1000 km/s, away from the galaxies' own."""
    ra, dec, z = sample.place
    return replace(sample, options=TableOptions(centre=(ra, dec), redshift=z + _OFF / SPEED_OF_LIGHT * (1 + z)))


def stars(sample: Sample, other: Sample) -> Sample:
    """Add stars, half as many as galaxies, spread over the field."""
    rng, (low, high) = np.random.default_rng(1), np.percentile(sample.galaxies[:, :2], [1, 99], axis=0)
    n = len(sample.galaxies) // 2
    added = np.column_stack([rng.uniform(low, high, (n, 2)), rng.normal(0, 60 / SPEED_OF_LIGHT, n)])
    return replace(sample, galaxies=np.concatenate([sample.galaxies, added]))


SPOILINGS: tuple[Callable[[Sample, Sample], Sample], ...] = (
    half_of_the_sky,
    another_appended,
    another_behind,
    photometric_redshifts,
    a_wrong_redshift,
    stars,
)


def infer(samples: list[Sample], estimator: MassEstimator) -> Iterator[ClusterResult]:
    """Infer a mass from each table as the command line does."""
    with TemporaryDirectory() as folder:
        for each in samples:
            path = Path(folder, f"{each.name}.csv")
            np.savetxt(path, each.galaxies, delimiter=",", header="ra,dec,z", comments="", fmt="%.7f")
            yield from infer_tables([path], estimator, each.options)


def word(result: ClusterResult) -> str:
    """Verdict on a mass, or that there is none."""
    return str(result.verdict) if isinstance(result, MassResult) else "no mass"


def shift(result: ClusterResult, whole: ClusterResult) -> str:
    """Change of the median from that of the table as it is [dex]."""
    if not (isinstance(result, MassResult) and isinstance(whole, MassResult)):
        return ""
    return f" {result.percentiles[1] - whole.percentiles[1]:+.2f}"


def infer_all(folder: Path, estimator: MassEstimator) -> dict[str, list[ClusterResult]]:
    """Infer every table as it is, and spoilt in every way."""
    samples = read_samples(folder)
    pairs = list(zip(samples, [*samples[1:], samples[0]], strict=True))
    spoilt = {spoil.__name__: [spoil(each, other) for each, other in pairs] for spoil in SPOILINGS}
    return {name: list(infer(each, estimator)) for name, each in {AS_THEY_ARE: samples, **spoilt}.items()}


def share_told(results: Iterable[ClusterResult]) -> float:
    """Share of the tables that get care, do not use or no mass."""
    return float(np.mean([word(result) != Grade.USE for result in results]))


def main(folder: Path, model: str | None) -> None:
    """Print a verdict for each table and each way to spoil it, and the shares that are not simply used."""
    console = Console(width=200)
    found = infer_all(folder, MassEstimator.load(resolve_model(model), device="cpu"))
    whole = found[AS_THEY_ARE]
    rows = tuple(
        (as_is.name, *(word(each[i]) + shift(each[i], as_is) for each in found.values()))
        for i, as_is in enumerate(whole)
    )
    heads = ("table", *(name.replace("_", " ") for name in found))
    console.print(Table("Verdicts", heads, rows, "Changes of the median in dex.").rich())
    shares = {name.replace("_", " "): share_told(each) for name, each in found.items()}
    console.print("Share that gets care, do not use or no mass:")
    for name, share in shares.items():
        console.print(f"  {name:<24} {share:.0%}")
    spoilt = [result for name, each in found.items() if name != AS_THEY_ARE for result in each]
    console.print(f"  {'spoilt in any way':<24} {share_told(spoilt):.0%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--literature", type=Path, required=True, help="Folder of published clusters.")
    parser.add_argument("--model", help="Folder or URL of an estimator; the shipped one by default.")
    chosen = parser.parse_args()
    main(chosen.literature, chosen.model)
