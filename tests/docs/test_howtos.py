"""Code of the how-tos runs; that on populations finds what the clusters that it reads were made of."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pyro
import pytest
import torch
from astropy.table import Table
from pyro import poutine

from sbi_clustermass import TableOptions, Training, infer
from sbi_clustermass.posterior import MassPosteriors
from tests.docs.test_pages import DOCS, fences
from tests.observations.conftest import save_survey

GRID = np.linspace(13.0, 15.8, 71)
DYNAMICAL_BIAS = 0.06
TRUTH = {"slope": -0.8, "cutoff": 0.05, "intercept": 2.9, "scatter": 0.04, "share": 0.06}


QUICK = {
    "num_samples=300, warmup_steps=200": "num_samples=70, warmup_steps=60",
    "num_samples=300, num_warmup=200": "num_samples=70, num_warmup=60",
    "draw(2000, seed=1)": "draw(200, seed=1)",
    "append_simulations(theta, x).train()": "append_simulations(theta, x).train(max_num_epochs=1)",
    "max_num_epochs=20": "max_num_epochs=1",
    "prior.sample((1000,))": "prior.sample((20,))",
    "Laplace()": "Laplace(num_samples=100, seed=1)",
    'Client(scheduler_file="scheduler.json")': "Client(LOCAL)",
    "draw(1_000_000, seed=1)": "draw(1500, seed=1)",
    "flow=flow, members=3": "flow=flow, training=Training(max_updates=20)",
}


def run_page(page: str, names: dict) -> dict:
    """Names after a page's Python has run, with fewer draws, without CLMM, and with NumPyro if it is installed."""
    blocks = fences((DOCS / "howto" / f"{page}.md").read_text(encoding="utf-8"), "python")
    absent = [name for name in ("clmm", "numpyro", "chainconsumer") if name == "clmm" or find_spec(name) is None]
    imports = re.compile(rf"^(?:import|from) (?:{'|'.join(absent)})\b", re.MULTILINE)
    code = "\n".join(block for block in blocks if not imports.search(block))
    for many, few in QUICK.items():
        code = code.replace(many, few)
    exec(compile(code, page, "exec"), names)
    return names


def write_clusters(folder: Path, n: int = 250) -> None:
    """Clusters of a Schechter function, observed with .08 dex, of which those over 13.9 are selected."""
    rng = np.random.default_rng(2)
    m = np.linspace(13.3, 15.6, 2301) - 14.3
    rate = 10 ** (TRUTH["slope"] * m) * np.exp(-(10 ** (m - TRUTH["cutoff"])))
    masses = 14.3 + rng.choice(m, 20 * n, p=rate / rate.sum())
    observed = masses + rng.normal(0, 0.08, len(masses))
    masses, observed = (each[observed > 13.9][:n] for each in (masses, observed))
    spread = np.where(rng.random(n) < TRUTH["share"], 0.4, TRUTH["scatter"])
    values = TRUTH["intercept"] + (masses - 14.3) / 3 + rng.normal(0, spread)
    posteriors = MassPosteriors.from_normal(observed, 0.08, GRID)
    posteriors.to_parquet(folder / "masses.parquet")
    for number, error in enumerate((0.0, 0.01, -0.01)):
        MassPosteriors.from_normal(observed + error, 0.08, GRID).to_parquet(folder / f"network-{number + 1}.parquet")
    redshift = 0.05 + 0.15 * rng.random(n) ** 0.4
    columns = {
        "name": list(posteriors.names),
        "log_sigma": values,
        "log_sigma_err": np.full(n, 0.01),
        "redshift": redshift,
        "z_photo": redshift,
    }
    lensing = masses - DYNAMICAL_BIAS + rng.normal(0, np.hypot(0.1, 0.12), n)
    columns |= {"log_m_lensing": np.where(rng.random(n) < 0.2, np.nan, lensing)}
    columns |= {f"log_m_lensing_{side}": np.full(n, 0.12) for side in ("low", "high")}
    Table(columns)[rng.permutation(n)].write(folder / "table.ecsv")


@pytest.fixture
def own_model(tmp_path, monkeypatch):
    """Names of the page on models of one's own, after its code has run."""
    write_clusters(tmp_path)
    monkeypatch.chdir(tmp_path)
    pyro.clear_param_store()
    try:
        yield run_page("your-own-population-model", {})
    finally:
        torch.set_default_dtype(torch.float32)
        if "jax" in sys.modules:
            sys.modules["jax"].config.update("jax_enable_x64", False)
        pyro.clear_param_store()


@pytest.mark.slow
def test_a_model_of_ones_own_finds_masses_relation_and_outliers(own_model):
    names = own_model
    for name, truth in TRUTH.items():
        draws = names["draws"][name]
        assert abs(float((draws.mean() - truth) / draws.std())) < 3.5  # of five parameters: 1 of 400 seeds
    medians = names["guide"].median()
    for name in ("intercept", "scatter", "share"):  # slope and cutoff are degenerate
        error = float(names["draws"][name].std())
        assert abs(float(medians[name]) - TRUTH[name]) < 4 * error  # wider than above by the noise of the last steps
    if "numpyro_draws" in names:  # of the masses alone
        draws = names["numpyro_draws"]["slope"]
        assert abs(float((draws.mean() - TRUTH["slope"]) / draws.std())) < 3.5
    trace = poutine.trace(names["cosmology"]).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["clusters"]["log_prob"].shape == (250,)
    assert torch.isfinite(trace.log_prob_sum())


class Lensed(NamedTuple):
    """Cluster with a name and a lensing mass."""

    unique_id: str
    log10_mass: float


def test_the_page_on_other_data_runs_and_finds_the_bias_of_the_masses(tmp_path, monkeypatch):
    """Lensing masses are those of the haloes, of which the posteriors' are .06 dex too high."""
    write_clusters(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = {
        "lensed": [Lensed("3", 14.2), Lensed("17", 14.5)],
        "log_likelihood": lambda cluster, m: -0.5 * ((m - cluster.log10_mass) / 0.1) ** 2,
    }
    names = run_page("calibrate-with-other-data", given)
    at = list(names["posteriors"].names).index("17")
    mean = (names["posteriors"].mean[at] / 0.08**2 + 14.5 / 0.1**2) / (1 / 0.08**2 + 1 / 0.1**2)
    assert names["both"].mean[at] == pytest.approx(mean, abs=2e-3)  # two normal likelihoods, on steps of .04 dex
    for found, truth in ((names["offset"], -DYNAMICAL_BIAS), (names["bias"].numpy(), DYNAMICAL_BIAS)):
        assert abs(found.mean() - truth) < 3.5 * found.std()  # of two: 1 of 1000 seeds
        assert found.std() < 0.03
    assert names["together"].attrs["networks"] == 3
    assert names["neutrinos"].masses.m_nu == (0.0, 0.6)


def test_the_code_for_stock_sbi_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # sbi writes its logs here
    names = run_page("stock-sbi", {})
    assert torch.isfinite(names["posterior"].log_prob(names["x"].new_tensor([[14.0]]), x=names["posterior"].default_x))
    assert len(names["exact"]) == 10
    assert names["reference"].shape == (10_000, 1)


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """A folder with a cluster of 80 galaxies at redshift .05, in which the test runs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    sky = {"ra": rng.normal(150, 0.1, 80), "dec": rng.normal(2, 0.1, 80), "z": rng.normal(0.05, 0.0025, 80)}
    Table(sky).write("cluster.csv")
    return tmp_path


def test_the_code_for_notebooks_runs(cluster):
    names = run_page("notebooks", {})
    assert len(names["table"]) == len(names["masses"]) == 1
    assert names["heavy"][0] == pytest.approx((names["samples"].samples[0, :, 0] > 14.5).mean(), abs=0.05)
    assert (cluster / "cluster.pdf").is_file()


def test_the_code_for_exports_runs(cluster):
    names = run_page("export", {})
    mean = names["masses"].posteriors.mean[0]
    draws = names["samples"].samples[0, :, 0]
    assert draws.mean() == pytest.approx(mean, abs=4 * draws.std() / len(draws) ** 0.5)
    assert names["chain"].getMeans()[0] == pytest.approx(draws.mean(), abs=1e-6)
    assert float(names["idata"]["posterior"]["log10_mass"].mean()) == pytest.approx(draws.mean(), abs=1e-6)
    assert MassPosteriors.from_parquet("posteriors.parquet").mean[0] == pytest.approx(mean, abs=1e-6)
    for name in ("masses.ecsv", "cluster.txt", "masses.nc", "samples.parquet"):
        assert (cluster / name).is_file()


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow, id="2 processes")])
def test_the_chain_on_dask_gives_the_masses_of_this_process(tmp_path, monkeypatch, mocks, workers):
    distributed = pytest.importorskip("distributed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "galaxies").mkdir()
    parts = [tmp_path / "galaxies" / f"part-{part}.parquet" for part in range(3)]
    for part, path in enumerate(parts):
        save_survey(mocks.select(np.arange(20) + 20 * part), path)
    options = {"n_workers": workers, "threads_per_worker": 1, "processes": workers > 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as local:
        names = run_page("cluster-of-computers", {"LOCAL": local, "Training": Training})
        names["client"].close()
    alone = infer(*parts, model="runs/mine", options=TableOptions(id="cluster"))
    # float32 sums of other batches
    np.testing.assert_allclose(pq.read_table("masses")["log10_mass"], [mass.mean for mass in alone], atol=1e-5)
    assert len(alone) == 60
