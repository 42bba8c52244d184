"""What importing the packages costs: slow libraries are loaded by the call that needs them."""

import subprocess
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version

import pytest

import clustermocks
import sbi_clustermass
from tests.paths import ROOT


def loaded(code: str, *names: str) -> list[str]:
    """Those of the modules that a fresh interpreter has loaded after running the code."""
    code = f"import sys; {code}; print(*({set(names)!r} & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("names", ["train", "MassEstimator", "train, MassEstimator, StackedAffine, KDEImage"])
def test_names_of_the_package_are_imported_without_sbi(names):
    assert not loaded(f"from sbi_clustermass import {names}", "sbi", "nflows", "zuko", "pyro", "sklearn", "matplotlib")


@pytest.mark.parametrize("package", ["sbi_clustermass", "clustermocks"])
def test_a_package_alone_loads_neither_numpy_nor_torch(package):
    assert not loaded(f"import {package}", "numpy", "torch")


@pytest.mark.parametrize("package", [sbi_clustermass, clustermocks])
def test_a_package_knows_its_version(package):
    assert package.__version__ == version("sbi-clustermass")


def test_mocks_are_simulated_without_torch():
    simulate = "from clustermocks import HaloModel; HaloModel().simulate([14.5], seed=1, n_jobs=1)"
    assert not loaded(simulate, "torch", "sbi", "pyro", "matplotlib", "sklearn")


@pytest.mark.parametrize("name", ["benchmarks", "tests"])
def test_no_distribution_hides_a_folder_that_tests_import(name, tmp_path):  # pyarrow 17 ships a package benchmarks
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    found = PathFinder.find_spec(name, [str(ROOT), str(tmp_path)])
    assert found is not None
    assert found.origin == str(ROOT / name / "__init__.py")
