"""Damaged tables through the whole of an inference: a message, the same mass, or a warning; `benchmarks/fuzz.py`."""

from collections import Counter

import pytest

from benchmarks import fuzz


def check(found) -> Counter:
    bad = [each for each in found if each.kind in (fuzz.SILENT, fuzz.TRACEBACK)]
    assert not bad, bad
    messages = [each.message for each in found if each.kind == fuzz.MESSAGE]
    assert all(1 <= len(message.splitlines()) <= 3 for message in messages)
    return Counter(each.kind for each in found)


def test_of_70_damaged_tables_none_gives_a_traceback_or_a_wrong_mass_without_a_warning(estimator, tmp_path):
    found = check(list(fuzz.outcomes(estimator, 70, 1, tmp_path)))
    assert found[fuzz.SAME] > 14  # each outcome is there: a fuzzer whose every table is refused would prove nothing
    assert found[fuzz.MESSAGE] > 14


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_of_two_thousand_damaged_tables_none_does(tmp_path, seed):
    found = check(list(fuzz.outcomes(fuzz.shipped(), 1000, seed, tmp_path)))
    assert found[fuzz.WARNED]


def test_a_wrong_mass_is_one_that_moved_by_more_than_its_galaxies_allow():
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
