"""What the tests of reliability share: commands in processes of their own, full and read-only disks, a model."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from astropy.table import Table

from clustermocks import MDPL2
from sbi_clustermass.cli.main import main
from sbi_clustermass.estimator.provenance import Provenance

KILOBYTE = 1024


@pytest.fixture
def command(capsys) -> Callable[..., tuple[int, str, str]]:
    """Run a command here: exit status, and what was printed."""

    def run(*arguments: object) -> tuple[int, str, str]:
        status = 0
        try:
            main([str(each) for each in arguments])
        except SystemExit as stop:
            status = int(stop.code or 0)
        out = capsys.readouterr()
        return status, out.out, out.err

    return run


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a command in a process of its own, after some lines of Python; none outlives its test."""
    processes = []

    def begin(*arguments: object, first: str = "") -> subprocess.Popen:
        code = f"{first}\nfrom sbi_clustermass.cli.main import main\nmain()"
        process = subprocess.Popen(
            [sys.executable, "-u", "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """No process may write a file larger than this: the kernel's own refusal, as of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def limited() -> Callable[[int], object]:
    """`files_of_at_most`."""
    return files_of_at_most


def mounted(folder: Path, *options: str) -> bool:
    """Whether a small disk could be mounted there: only where the tests run as root."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 256 kB."""
    folder = tmp_path / "small disk"
    if os.name != "posix" or not mounted(folder, "-t", "tmpfs", "-o", "size=256k", "tmpfs"):
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Make a folder one that cannot be written: by its mode, or for root, whom modes do not stop, by a mount."""
    mounts, modes = [], []

    def lock(folder: Path) -> None:
        if os.geteuid():
            modes.append(folder)
            folder.chmod(0o500)
        elif mounted(folder, "--bind", str(folder)) and mounted(folder, "-o", "remount,ro,bind"):
            mounts.append(folder)
        else:
            pytest.skip("root writes everywhere, and no disk can be mounted here")

    yield lock
    for folder in mounts:
        subprocess.run(["umount", str(folder)], check=True)
    for folder in modes:
        folder.chmod(0o700)


@pytest.fixture(scope="session")
def plain(mocks):
    """An estimator of few weights, whose training is made up: what it infers does not matter here."""
    from sbi_clustermass import MassEstimator, StackedAffine, as_tensors
    from sbi_clustermass.embeddings import SummaryStatistics
    from sbi_clustermass.posterior.prior import EffectivePrior
    from sbi_clustermass.training import History

    flow = StackedAffine(blocks=2, hidden=(6, 5), embedding=SummaryStatistics())
    torch.manual_seed(0)
    return MassEstimator(
        network=flow(*as_tensors(mocks.select(np.arange(300)))).eval(),
        flow=flow,
        prior=EffectivePrior(13.0, 15.6, (0.1,)),
        observation=mocks.observation,
        cosmology=mocks.cosmology,
        richness=(10, 900),
        histories=(History([100, 200], [1.0, 0.5], [1.1, 0.7]),),
        provenance=Provenance(training_clusters=300, versions={"sbi-clustermass": "0.1.0"}),
    )


@pytest.fixture(scope="session")
def plain_model(plain, tmp_path_factory) -> Path:
    """Its folder."""
    folder = tmp_path_factory.mktemp("plain")
    plain.save(folder)
    return folder


def cluster(n: int, seed: int, name: str = "") -> Table:
    """A cluster at redshift .05 as positions and redshifts, within 1 physical Mpc."""
    rng = np.random.default_rng(seed)
    reach = np.degrees(1.0 * 0.6777 * 1.05 / float(MDPL2.comoving_distance(0.05)))
    radius, angle = reach * rng.random(n), 2 * np.pi * rng.random(n)
    columns = {
        "ra": (150 + 7 * (seed % 20) + radius * np.cos(angle) / np.cos(np.radians(2.0))) % 360,
        "dec": 2 + radius * np.sin(angle),
        "z": 0.05 + 1.05 * rng.normal(0, 700, n).clip(-2000, 2000) / 299792.458,
    }
    return Table({"cluster": [name] * n, **columns} if name else columns)


@pytest.fixture
def galaxies() -> Callable[..., Table]:
    """`cluster`."""
    return cluster


@pytest.fixture
def survey(tmp_path) -> Callable[[int, int], Path]:
    """Write a table of some clusters, told apart by a column of names."""

    def write(n: int, each: int) -> Path:
        path = tmp_path / "survey.csv"
        tables = [cluster(each, seed, f"c{seed}") for seed in range(n)]
        lines = ["cluster,ra,dec,z"]
        lines += [",".join(map(str, row)) for table in tables for row in table.iterrows()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write
