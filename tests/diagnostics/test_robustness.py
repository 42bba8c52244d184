"""Shifts, widths, scatters and coverages of answers that are known in closed form, with errors that are honest."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from clustermocks import MDPL2, Catalogue, HaloModel, Observation
from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics import misspecification_plots as plots
from sbi_clustermass.diagnostics.robustness import (
    FAMILIES,
    Family,
    robustness,
    robustness_table,
    simulator_robustness,
    variants,
)

GRID = np.linspace(12, 15.2, 400)  # a third of the narrowest posterior apart


class _ByRichness:
    """An estimator whose answer is log10 of the number of galaxies, with the width of a Poisson number's log."""

    observation, cosmology = Observation(min_galaxies=1), MDPL2

    def posterior(self, catalogue: Catalogue) -> MassPosteriors:
        n = catalogue.n_galaxies
        return MassPosteriors.from_normal(12 + np.log10(n), 1 / np.sqrt(n) / np.log(10), GRID)


BY_RICHNESS: Any = _ByRichness()


def clusters(n_clusters: int, seed: int) -> Catalogue:
    """Poisson numbers of galaxies, 30 to 300 on average by mass, at rest in the middle of the field."""
    rng = np.random.default_rng(seed)
    mean = 10 ** rng.uniform(1.5, 2.5, n_clusters)
    n = rng.poisson(mean)
    return Catalogue.from_arrays(
        BY_RICHNESS.observation,
        MDPL2,
        clusters={"log10_mass": 12 + np.log10(mean), "host_id": np.arange(n_clusters)},
        galaxies={"R_proj": np.full(n.sum(), 0.5), "v_los": np.zeros(n.sum())},
        offsets=np.concatenate([[0], np.cumsum(n)]),
    )


THINNING = [family for family in FAMILIES if family.name == "share of galaxies kept"]


def test_what_changes_nothing_shifts_nothing_with_no_error():
    still = [Family("redshift offset", "km/s", (0.0,), FAMILIES[3].change)]
    (change,) = robustness(BY_RICHNESS, clusters(200, 0), families=still)
    for difference in (change.shift, change.scatter_change, change.covered_change):
        assert (difference.value, difference.error) == (0, 0)
    assert (change.width.value, change.kept, change.label) == (1, 1, "0 km/s")


def test_thinning_shifts_and_widens_an_answer_by_number_as_logarithms_do():
    changes = robustness(BY_RICHNESS, clusters(1000, 1), families=THINNING)
    for change, share in zip(changes, (0.9, 0.7, 0.5, 0.3), strict=False):
        # E log of a binomial number is less than the log of its mean by (1 - s) / (2 n s), n = 30 at least
        assert change.shift.value == pytest.approx(
            np.log10(share), abs=(1 - share) / (60 * share) + 4 * change.shift.error
        )
        assert change.width.value == pytest.approx(share**-0.5, rel=0.02, abs=4 * change.width.error)
        assert change.shift.error < 0.005  # far below the scatter of .1 over sqrt(1000)


def test_errors_are_the_spread_of_repeats():
    thinning = [replace(THINNING[0], sizes=(0.8,))]
    repeats = [robustness(BY_RICHNESS, clusters(300, seed), families=thinning, seed=seed)[0] for seed in range(40)]
    for name in ("shift", "width", "scatter", "scatter_change", "covered", "covered_change"):
        found = [getattr(each, name) for each in repeats]
        # 40 repeats fix a standard deviation to 11 %; three of those
        assert np.std([m.value for m in found]) == pytest.approx(np.mean([m.error for m in found]), rel=0.35), name


def test_coverage_is_right_before_and_lost_after():
    change = robustness(BY_RICHNESS, clusters(2000, 2), families=[replace(THINNING[0], sizes=(0.3,))])[0]
    before = change.covered.value - change.covered_change.value
    # a Gaussian in log N is a few per cent off a Poisson number's posterior at 30 galaxies; binomial error .01
    assert before == pytest.approx(0.68, abs=0.05)
    assert change.covered.value < 0.01  # .52 dex off, in units of at most .14


def test_clusters_are_compared_with_themselves_when_some_are_lost():
    lost = Family("galaxies lost", "1", (0.05,), THINNING[0].change)
    strict = clusters(500, 3).with_min_galaxies(5)
    (change,) = robustness(BY_RICHNESS, strict, families=[lost])
    assert 0.1 < change.kept < 0.9
    assert change.n == round(change.kept * len(strict))
    with pytest.raises(ValueError, match="leaves 0 clusters"):
        robustness(BY_RICHNESS, clusters(5, 3).with_min_galaxies(10), families=[replace(lost, sizes=(1e-6,))])


@pytest.fixture(scope="module")
def masses():
    return np.random.default_rng(8).uniform(13.5, 15.3, 150)


def test_the_same_model_gives_the_same_masses_and_anisotropy_is_compared_in_pairs(estimator, masses):
    model = HaloModel()
    changed = {("nothing", ""): model, ("anisotropy", "0.3"): variants(model)["anisotropy", "0.3"]}
    nothing, anisotropy = simulator_robustness(estimator, masses, changed=changed, seed=2)
    assert (nothing.shift.value, nothing.shift.error, nothing.width.value) == (0, 0, 1)
    assert anisotropy.n == len(masses)
    # unpaired, the difference of two means would be known to sqrt(2) scatter / sqrt(n)
    assert 0 < anisotropy.shift.error < 0.3 * anisotropy.scatter.value * np.sqrt(2 / anisotropy.n)


def test_variants_differ_from_the_model_and_from_each_other():
    model = HaloModel()
    others = list(variants(model).values())
    assert model not in others
    assert len({repr(other) for other in others}) == len(others)
    assert all(other.observation == model.observation for other in others)


def test_the_table_has_a_row_and_the_picture_a_column_for_each():
    changes = robustness(BY_RICHNESS, clusters(50, 4))
    table = robustness_table(changes)
    assert len(table.rows) == sum(len(family.sizes) for family in FAMILIES)
    assert table.rows[0][:2] == ("share of galaxies kept", "0.9")
    figure = plots.robustness(changes)
    assert isinstance(figure, Figure)
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [family.name for family in FAMILIES]
