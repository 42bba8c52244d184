"""Packages of the extras: the core works without them, and what needs one says how to install it."""

import subprocess
import sys
import tomllib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clustermocks.io.extras import EXTRAS, MissingExtra, naming_extras
from tests.paths import ROOT

HIDE = f"""
import sys
from importlib.machinery import PathFinder

class Finder(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {sorted([*EXTRAS, "h5netcdf"])}
        return None if hidden else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
"""


def without_extras(code: str, folder) -> subprocess.CompletedProcess:
    """Run code in an interpreter that finds no package of any extra."""
    return subprocess.run([sys.executable, "-c", HIDE + code], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def table(mocks, tmp_path):
    """Galaxies of a rich mock cluster, as an observer's table."""
    R_proj, v_los = mocks.galaxies(int(np.argmax(mocks.n_galaxies)))
    np.savetxt(tmp_path / "cluster.csv", np.c_[R_proj, v_los], delimiter=",", header="R_proj,v_los", comments="")
    pq.write_table(pa.table({"R_proj": R_proj, "v_los": v_los}), tmp_path / "cluster.parquet")
    return tmp_path


def test_the_quick_start_needs_no_extra(table):
    code = """
try: main("infer cluster.csv cluster.parquet --redshift 0.1 --h 1 --distance comoving".split())
except SystemExit as end: assert not end.code
try: main("simulate mocks.parquet --n 300 -j 1".split())
except SystemExit as end: assert not end.code
from sbi_clustermass import Catalogue, MassEstimator, Training, train
mocks = Catalogue.from_parquet("mocks.parquet")
train(mocks, training=Training(max_updates=2), seed=1).save("model")
MassEstimator.load("model").posterior(mocks).to_parquet("masses.parquet")
"""
    done = without_extras("from sbi_clustermass.cli.main import main" + code, table)
    assert done.returncode == 0, done.stderr
    assert (table / "masses.parquet").exists()


@pytest.mark.parametrize("command", ["demo", "population masses.parquet"])
def test_a_command_that_needs_an_extra_names_it_before_it_computes(command, tmp_path):
    done = without_extras(f"from sbi_clustermass.cli.main import main; main({command.split()})", tmp_path)
    assert done.returncode == 2
    assert 'pip install "sbi-clustermass[population]"' in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["fit", "Population", "cluster_factor"])
def test_names_of_the_population_name_the_extra(name, tmp_path):
    done = without_extras(f"from sbi_clustermass.population import {name}", tmp_path)
    assert 'pip install "sbi-clustermass[population]"' in done.stderr


@pytest.mark.parametrize(("package", "extra"), EXTRAS.items())
def test_every_package_of_an_extra_is_named_with_it(package, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(MissingExtra, match=rf"{package} is not installed.*\n.*sbi-clustermass\[{extra}\]"),
        naming_extras(),
    ):
        __import__(package)


@pytest.mark.parametrize(
    ("method", "package"), [("to_arviz", "arviz"), ("to_getdist", "getdist"), ("to_chainconsumer", "chainconsumer")]
)
def test_exports_name_the_extra_of_their_package(method, package, monkeypatch):
    from sbi_clustermass.posterior import exports

    monkeypatch.setitem(sys.modules, package, None)
    arguments = {"to_getdist": [np.zeros((1, 1)), None, {"log10_mass": (13, 15)}, "A"]}
    with pytest.raises(MissingExtra, match=rf"sbi-clustermass\[{EXTRAS[package]}\]"):
        getattr(exports, method)(*arguments.get(method, [["log10_mass"], ["A"], np.zeros((1, 1, 1)), None]))


def test_another_missing_module_is_left_as_it_is():
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such'") as error, naming_extras():
        __import__("no_such")
    assert not isinstance(error.value, MissingExtra)


def test_the_extras_are_those_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(EXTRAS.values()) == set(project["optional-dependencies"]) - {"dev", "docs"}
