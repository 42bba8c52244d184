"""A population fit from files, called from Python."""

from contextlib import contextmanager

import numpy as np

from sbi_clustermass.population import Laplace
from sbi_clustermass.population.options import PopulationOptions
from sbi_clustermass.population.run import FIT, SHRUNK, TABLE, run_population
from sbi_clustermass.posterior import MassPosteriors


def test_a_run_reports_progress_to_its_caller_and_prints_nothing(tmp_path, capsys):
    estimates = np.random.default_rng(1).normal(14.3, 0.3, 30)
    MassPosteriors.from_normal(estimates, 0.1, np.linspace(12.8, 15.8, 101)).to_parquet(tmp_path / "masses.parquet")
    stages, steps = [], []

    @contextmanager
    def stage(title, total):
        stages.append((title, total))
        yield lambda done, note="": steps.append(done)

    options = PopulationOptions(form="normal", sampler="laplace")
    idata = run_population(options, tmp_path / "masses.parquet", tmp_path / "run", stage)
    assert stages == [("fitting 30 clusters", Laplace().total)]
    assert steps == list(range(1, Laplace().total + 1))
    mean = idata["posterior"]["mass_mean"].values
    # N(14.3, .3) and errors of .1, 30 times: three errors of the mean
    assert abs(mean.mean() - 14.3) < 3 * np.hypot(0.3, 0.1) / np.sqrt(30)
    assert all((tmp_path / "run" / name).exists() for name in (FIT, TABLE, SHRUNK, "corner.png"))
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
