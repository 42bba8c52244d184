"""Speed and memory of `clustermass infer` on a survey, with centres and redshifts estimated.

    python benchmarks/survey.py [--model FOLDER] [--clusters 1000 10000] [--jobs 2] [--suffix .parquet]

Mock clusters of about 60 galaxies are placed at random on the sky, in one table with columns cluster_id, ra, dec and
z. Each size runs in a process of its own, which shares the work among --jobs, with all outputs but pictures; seconds
are wall time without the imports.
"""

import argparse
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from clustermocks import MDPL2, FlatMasses, HaloModel
from clustermocks.observation import observed_redshift

MASSES = FlatMasses(13.4, 14.5)  # about 60 galaxies each
FARTHEST = 60.0  # deg of declination


@dataclass(frozen=True)
class Measured:
    """Measurements of one run.

    Attributes:
        clusters: Number of clusters.
        galaxies: Number of rows in the table.
        wall: Wall time [s].
        cpu: CPU time [s].
        before: Memory of the process before the run [MB].
        peak: Largest memory of the process, or of one that it shares the work with [MB].
        masses: Number of clusters with a mass.
        error: Median absolute difference to the true log10 mass [dex].
    """

    clusters: int
    galaxies: int
    wall: float
    cpu: float
    before: float
    peak: float
    masses: int
    error: float

    def __str__(self) -> str:
        return (
            f"{self.clusters:>8} clusters {self.galaxies:>9} galaxies {self.wall:7.1f} s wall {self.cpu:7.1f} s CPU "
            f"{self.clusters / self.cpu:6.0f} clusters per CPU second, memory {self.before:.0f} -> {self.peak:.0f} MB, "
            f"{self.masses} masses, median error {self.error:.2f} dex"
        )


def write_survey(path: Path, n: int) -> np.ndarray:
    """Write a table of n clusters on the sky; return their log10 masses [dex]."""
    mocks = HaloModel().simulate(MASSES.draw(n, seed=1), seed=1)
    rng, redshift = np.random.default_rng(1), mocks.observation.redshift
    cluster = mocks.cluster_of_galaxy
    ra0, dec0 = rng.uniform(0, 360, len(mocks)), rng.uniform(-FARTHEST, FARTHEST, len(mocks))
    angle, R = rng.uniform(0, 2 * np.pi, len(cluster)), mocks.galaxy_column("R_proj")
    reach = np.rad2deg(R / MDPL2.comoving_distance(redshift))
    dec = dec0[cluster] + reach * np.cos(angle)
    ra = (ra0[cluster] + reach * np.sin(angle) / np.cos(np.deg2rad(dec))) % 360
    z = observed_redshift(redshift, mocks.galaxy_column("v_los"))
    table = pa.table({"cluster_id": [f"C{i:05d}" for i in cluster], "ra": ra, "dec": dec, "z": z})
    write = pyarrow.parquet.write_table if path.suffix == ".parquet" else pyarrow.csv.write_csv
    write(table, path)
    return mocks.log10_mass


def measure(path: Path, model: str | None, truth: np.ndarray, n_jobs: int) -> Measured:
    """Infer every cluster of a table."""
    import torch

    from sbi_clustermass import MassEstimator, TableOptions
    from sbi_clustermass.estimator.hub import resolve_model
    from sbi_clustermass.observations import MassResult, ModelStamp, infer_tables
    from sbi_clustermass.observations.output_files import OutputFiles

    torch.set_num_threads(1)
    shipped = resolve_model(model)
    estimator = MassEstimator.load(shipped, device="cpu")
    stamp, folder = ModelStamp.from_estimator(estimator, folder=shipped), path.parent
    outputs = OutputFiles(folder / "m.csv", folder / "p.parquet", samples=100, page=folder / "page.html")
    before, wall, cpu, off, galaxies = _memory(), perf_counter(), process_time(), [], 0
    with outputs.opened(estimator, stamp, "Benchmark") as write:
        for answer in infer_tables([path], estimator, TableOptions(), n_jobs=n_jobs):
            write(answer)
            galaxies += answer.cluster.counts.rows if answer.cluster else 0
            if isinstance(answer, MassResult):
                off.append(abs(answer.mean - truth[int(answer.name[1:])]))
    wall, cpu = perf_counter() - wall, process_time() - cpu + _children()
    return Measured(len(truth), galaxies, wall, cpu, before, _memory(), len(off), float(np.median(off)))


def _memory() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(each).ru_maxrss for each in who) / 1024  # kB on Linux


def _children() -> float:
    """CPU time of processes that have ended [s]: joblib's do when they are told to."""
    from joblib.externals.loky import get_reusable_executor

    get_reusable_executor().shutdown(wait=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Parse, measure each size, print."""
    parser = argparse.ArgumentParser(description="How fast `clustermass infer` goes through a survey.")
    parser.add_argument("--model", help="folder of an estimator; the shipped one by default")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--clusters", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--suffix", choices=(".parquet", ".csv"), default=".parquet")
    choice = parser.parse_args()
    with TemporaryDirectory() as folder:
        for n in choice.clusters:
            path = Path(folder, f"survey{choice.suffix}")
            truth = write_survey(path, n)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                print(pool.submit(measure, path, choice.model, truth, choice.jobs).result(), flush=True)


if __name__ == "__main__":
    main()
