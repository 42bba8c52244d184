"""Damaged tables through the whole of an inference: a message, the same mass, or a warning; `benchmarks/fuzz.py`."""

import importlib.util
import sys
from collections import Counter

import pytest

from tests.paths import ROOT

FUZZ = ROOT / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz():
    spec = importlib.util.spec_from_file_location("fuzz", FUZZ)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


def check(fuzz, found) -> Counter:
    bad = [each for each in found if each.kind in (fuzz.SILENT, fuzz.TRACEBACK)]
    assert not bad, bad
    messages = [each.said for each in found if each.kind == fuzz.MESSAGE]
    assert all(1 <= len(said.splitlines()) <= 3 for said in messages)
    return Counter(each.kind for each in found)


def test_of_150_damaged_tables_none_gives_a_traceback_or_a_wrong_mass_without_a_word(fuzz, estimator, tmp_path):
    found = check(fuzz, list(fuzz.outcomes(estimator, 150, 1, tmp_path)))
    assert found[fuzz.SAME] > 30  # each outcome is there: a fuzzer whose every table is refused would prove nothing
    assert found[fuzz.MESSAGE] > 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_of_two_thousand_damaged_tables_none_does(fuzz, tmp_path, seed):
    found = check(fuzz, list(fuzz.outcomes(fuzz.shipped(), 1000, seed, tmp_path)))
    assert found[fuzz.TOLD]


def test_a_wrong_mass_is_one_that_moved_by_more_than_its_galaxies_allow(fuzz):
    class Cluster:
        def __init__(self, n_galaxies):
            self.n_galaxies = n_galaxies

    class Mass:
        def __init__(self, mean, std, n):
            self.mean, self.std, self.cluster = mean, std, Cluster(n)

    whole = Mass(14.5, 0.2, 400)
    assert not fuzz.is_wrong(Mass(14.7, 0.2, 400), whole)
    assert fuzz.is_wrong(Mass(14.9, 0.2, 400), whole)
    assert not fuzz.is_wrong(Mass(14.9, 0.2, 100), whole)  # a quarter of the galaxies: twice the scatter
    assert fuzz.is_wrong(Mass(14.7, 0.01, 400), Mass(14.5, 0.01, 400))  # 14 of its own standard deviations
