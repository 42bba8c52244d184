"""The files of the distribution: what is installed from them works, is typed, and shows on PyPI."""

import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

from benchmarks.structure import PACKAGES, modules
from clustermocks.io.extras import EXTRAS
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RIGHT = """
from clustermocks import Catalogue, HaloModel
from sbi_clustermass import StackedAffine, train

mocks: Catalogue = HaloModel().simulate([14.5], seed=1)
estimator = train(mocks, flow=StackedAffine(blocks=3), seed=1)
mean = estimator.posterior(mocks).mean[0]
"""
WRONG = """
from sbi_clustermass import Catalogue, MassEstimator, StackedAffine, StakedAffine, train
from clustermocks import HaloModel
mocks: Catalogue = HaloModel().simulate([14.5], sead=1)
flow = StackedAffine(blokcs=3)
estimator: MassEstimator = train(mocks, flwo=flow)
mean = estimator.posterior(mocks).meen
""".strip()


def run(*command: object, folder: Path, statuses: tuple[int, ...] = (0,)) -> str:
    """Run a program that does not see this source tree, and return what it prints."""
    words, apart = [str(word) for word in command], {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=apart, capture_output=True, text=True)
    assert done.returncode in statuses, done.stdout + done.stderr
    return done.stdout


def checked(script: str, environment: Path, folder: Path) -> dict[int, str]:
    """What pyright finds in a script of somebody who uses the environment, by lines."""
    path, python = folder / "script.py", environment / "bin" / "python"
    path.write_text(script)
    command = (sys.executable, "-m", "pyright", "--pythonpath", python, "--outputjson", path)
    found = json.loads(run(*command, folder=folder, statuses=(0, 1)))["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1: each["message"] for each in found}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, folder=ROOT)
    return next(folder.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel that the sdist builds, as PyPI's users and packagers do."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    source = folder / sdist.name.removesuffix(".tar.gz")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, folder=source)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory) -> Path:
    """A new environment with the wheel, which finds the dependencies of this one but not its source tree."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder, folder=folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=folder).strip()
    Path(site, "dependencies.pth").write_text("\n".join(path for path in sys.path if "site-packages" in path) + "\n")
    return folder


@pytest.mark.slow
def test_the_sdist_holds_what_the_repository_tracks_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    tracked = set(run("git", "ls-files", folder=ROOT).split("\n")) - {"", ".ci/run"}
    assert held - tracked == {"PKG-INFO"}
    assert not tracked - held


@pytest.mark.slow
def test_the_installed_wheel_infers_a_mass(environment, tmp_path):
    table = tmp_path / "cluster.csv"
    table.write_text("R_proj,v_los\n.1,200\n.2,300\n.3,-500\n.5,-100\n.6,60\n.7,100\n")
    clustermass = environment / "bin" / "clustermass"
    where = run(environment / "bin" / "python", "-c", "import sbi_clustermass as s; print(s.__file__)", folder=tmp_path)
    assert where.startswith(str(environment))
    assert run(clustermass, "--version", folder=tmp_path).strip() == PROJECT["version"]
    assert "M200c" in run(
        clustermass, "infer", table, "--redshift", 0.1, "--h", 1, "--distance", "comoving", folder=tmp_path
    )


@pytest.mark.slow
def test_pyright_finds_mistakes_in_a_script_of_a_user_of_the_wheel(environment, tmp_path):
    assert checked(RIGHT, environment, tmp_path) == {}
    found = checked(WRONG, environment, tmp_path)
    assert '"StakedAffine" is unknown import symbol' in found[1]
    assert 'No parameter named "sead"' in found[3]
    assert 'No parameter named "blokcs"' in found[4]
    assert 'No parameter named "flwo"' in found[5]
    assert 'attribute "meen"' in found[6]


@pytest.mark.slow
def test_links_and_pictures_of_the_description_show_on_pypi(wheel):
    archive = zipfile.ZipFile(wheel)
    described = archive.read(next(name for name in archive.namelist() if name.endswith("/METADATA"))).decode()
    targets = re.findall(r"\]\(([^)]+)\)", described)
    assert all(target.startswith("https://") for target in targets)
    pictures = re.findall(r"!\[[^\]]*\]\(https://raw.githubusercontent.com/[^/]+/[^/]+/main/([^)]+)\)", described)
    assert pictures
    assert all((ROOT / picture).exists() for picture in pictures)


def test_the_files_for_citation_state_the_same_as_the_project():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    codemeta = json.loads((ROOT / "codemeta.json").read_text())
    assert citation["version"] == codemeta["version"] == PROJECT["version"]
    assert citation["repository-code"] == codemeta["codeRepository"] == PROJECT["urls"]["Homepage"]
    assert citation["keywords"] == codemeta["keywords"] == PROJECT["keywords"]
    assert citation["abstract"] == codemeta["description"] == PROJECT["description"]


def imported() -> set[str]:
    """Top names of all that the packages import, anywhere in their text."""
    names = set()
    for path in modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module))
    of_type_checkers = {"_typeshed"}
    return {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names) - set(PACKAGES) - of_type_checkers


def test_what_the_packages_import_is_declared_and_what_is_declared_is_imported():
    distributions = packages_distributions()
    found = {canonical(distributions[name][0]) for name in imported() - set(EXTRAS)}
    assert found == {canonical(re.split("[<>=]", each)[0]) for each in PROJECT["dependencies"]}


def canonical(distribution: str) -> str:
    return re.sub("[-_.]+", "-", distribution).lower()
