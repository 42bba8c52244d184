"""Libraries print nothing of their own accord, and neither read nor write caches in the home folder."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import pytest
from colossus import settings
from colossus.halo import concentration as colossus_concentration
from colossus.utils.storage import StorageUser

from clustermocks import MDPL2
from clustermocks.haloes.cosmology import concentration

NAME = "concentration"  # what colossus calls the file of its table
OUTDATED = pickle.dumps({"colossus_version": "1.0.0"})
NOWHERE = Path(os.devnull)  # no folder can be made below a file, not even by root
COSMOLOGY = """
from clustermocks import MDPL2
from clustermocks.haloes import cosmology
for function in (cosmology.mass_function, cosmology.halo_bias, cosmology.concentration):
    function([1e14], 0.1, MDPL2)
cosmology.mass_function(1e14, 0.1, MDPL2, model="despali16")
cosmology.correlation_function([1.0], 0.1, MDPL2)
"""
EVERY_MODULE = """
import importlib, pkgutil, clustermocks, sbi_clustermass
for package in (clustermocks, sbi_clustermass):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("numpyro_model"):  # tests have no NumPyro
            importlib.import_module(module.name)
import numpy as np
from sbi_clustermass.posterior.exports import to_arviz, to_getdist
draws = np.random.default_rng(1).normal(14, 0.1, (1, 100, 1)).astype("f4")
to_arviz(["log10_mass"], ["A"], draws, None)
to_getdist(draws[0], None, {"log10_mass": (13, 15)}, "A")
"""


def printed(code: str, home: Path) -> str:
    """What code prints in an interpreter of its own, with that home folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment = {**kept, "HOME": str(home), "MPLCONFIGDIR": mpl.get_cachedir()}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return run.stdout + run.stderr


@pytest.mark.parametrize("cache", [OUTDATED, b"no pickle"], ids=["outdated", "corrupt"])
def test_the_cosmology_leaves_a_cache_of_colossus_alone(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "BASE_DIR", str(tmp_path))
    file = Path(StorageUser("halo.concentration", "r", lambda: NAME, lambda: NAME, None).getUniqueFilename())
    file.write_bytes(cache)
    files = set(tmp_path.rglob("*"))
    assert printed(COSMOLOGY, tmp_path) == ""
    assert file.read_bytes() == cache
    assert set(tmp_path.rglob("*")) == files


@pytest.mark.parametrize("code", [COSMOLOGY, EVERY_MODULE], ids=["cosmology", "every module"])
def test_nothing_is_printed_and_no_home_folder_is_needed(code):
    assert printed(code, NOWHERE) == ""


def test_colossus_keeps_the_storage_of_its_user(monkeypatch):
    own = StorageUser("", "", str, str, None)
    monkeypatch.setattr(colossus_concentration, "storageUser", own)
    concentration(1e14, 0.1, MDPL2)
    assert colossus_concentration.storageUser is own
    assert not own.storage_pers
