"""The examples run, in a smaller version."""

import runpy

import numpy as np
from kodi_ramanah_2020 import mock_sets

from tests.paths import ROOT

EXAMPLES = ROOT / "examples"


def test_stock_sbi(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # stock sbi leaves its log folder in the working directory
    runpy.run_path(str(EXAMPLES / "stock_sbi.py"))["main"](n_clusters=200, hidden=(16,))
    assert "truth" in capsys.readouterr().out


def test_nbody(tmp_path, capsys):
    mocks = runpy.run_path(str(EXAMPLES / "nbody.py"))["main"](tmp_path / "nbody", side=125.0, n_hosts=60)
    assert len(mocks) > 10
    assert (tmp_path / "nbody" / "mocks.parquet").is_file()
    assert "clusters of" in capsys.readouterr().out


def test_exact_posterior(capsys):
    small = {"n_clusters": 160, "hidden": (16,), "max_updates": 10}
    runpy.run_path(str(EXAMPLES / "exact_posterior.py"))["main"](**small)
    assert "nats below the exact posterior" in capsys.readouterr().out


def test_phase_space(tmp_path):
    runpy.run_path(str(EXAMPLES / "phase_space.py"))["draw"](tmp_path / "picture.png", n=50)
    assert (tmp_path / "picture.png").stat().st_size > 10_000


def test_the_papers_training_set_is_flat_in_mass_and_shares_no_host_with_its_test_set():
    training, test = mock_sets.training_set(300, 1), mock_sets.test_set(300, 2)
    assert not set(training.host_id) & set(test.host_id)
    number = np.histogram(training.log10_mass, np.linspace(13.5, 15.3, 19))[0]
    assert number.min() == number.max() > 0
