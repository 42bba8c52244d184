"""Tables and pictures of calibration: marks only where something was promised, and all that was asked for in them."""

import numpy as np
import pytest

from clustermocks import HaloMassFunction
from sbi_clustermass import MassPosteriors
from sbi_clustermass.diagnostics.calibration_plots import calibration_pictures
from sbi_clustermass.diagnostics.calibration_tables import calibration_tables
from sbi_clustermass.diagnostics.test_sets import HeldOut, Mark

MASSES = HaloMassFunction(low=13.5, high=15.3)
pytestmark = pytest.mark.usefixtures("small_forests")


@pytest.fixture(scope="module")
def paper():
    """Flat-trained exact posteriors on a mass function, with a richness that has nothing to do with them."""
    rng = np.random.default_rng(1)
    truth = MASSES.draw(6000, seed=7)
    sigma = rng.uniform(0.1, 0.25, 6000)
    grid = np.linspace(13.5, 15.3, 200)
    posteriors = MassPosteriors.from_normal(truth + sigma * rng.normal(size=6000), sigma, grid)
    return HeldOut(posteriors, truth, rng.integers(10, 200, 6000), drawn_from_prior=False)


@pytest.fixture(scope="module")
def published(paper):
    some = np.arange(500)
    few = HeldOut(paper.posteriors[some], paper.log10_mass[some], paper.n_galaxies[some], drawn_from_prior=False)
    return calibration_tables(few, title="flow", samples=100)


def cells(tables):
    return {cell for table in tables for row in table.rows for cell in row}


def test_marks_stand_only_where_something_was_promised(paper, published):
    marks = set(Mark)
    assert not cells(published) & marks
    assert not any("mark" in table.header for table in published)
    assert published[0].note.startswith("No marks")
    promised = calibration_tables(paper.under(MASSES), samples=100)
    assert cells(promised) & marks == {Mark.PASSES}
    assert promised[0].header.count("mark") == 2
    some = np.arange(300)
    wrong = HeldOut(paper.posteriors[some], paper.log10_mass[some], drawn_from_prior=True)
    tables = calibration_tables(wrong, samples=100)
    assert Mark.FAILS in tables[1].rows[0]  # the mean residual of +.06 dex
    assert len(tables) == len(promised) - 1  # no richness, no bins of it


def test_every_number_has_its_error(published):
    first, second, *bins = published
    assert all("±" in cell for row in first.rows for cell in row[1:])
    assert first.title.startswith("flow: ")
    assert [row[0] for row in first.rows] == ["50", "68", "90", "95", "99"]
    assert all("±" in row[1] or "p = " in row[1] or " of 20" in row[1] for row in second.rows)
    assert all("±" in cell for table in bins for row in table.rows for cell in row[3:])
    assert sum(int(row[1]) for row in bins[0].rows) == 500


@pytest.mark.parametrize("promised", [False, True])
def test_pictures_have_sizes_names_units_and_what_they_draw(paper, promised, tmp_path):
    clusters = paper.under(MASSES) if promised else paper
    pictures = calibration_pictures(clusters, name="flow")
    assert [each.name for each in pictures] == ["flow_pit", "flow_coverage", "flow_reliability"]
    for each in pictures:
        assert each.alt
        assert ("Not promised" in each.caption) is not promised
        path = tmp_path / f"{each.name}.png"
        each.figure.savefig(path)
        assert path.stat().st_size > 5000
    _, coverage, reliability = (each.figure for each in pictures)
    assert "[dex]" in reliability.axes[0].get_xlabel()
    assert "[points]" in coverage.axes[1].get_ylabel()
    labels = coverage.axes[0].get_legend_handles_labels()[1]
    assert any("promise" in each for each in labels) is promised


def test_the_coverage_curve_goes_through_the_shares_of_the_table(paper):
    from sbi_clustermass.diagnostics.calibration import coverages
    from sbi_clustermass.diagnostics.calibration_plots import coverage_curve

    lines = {line.get_label(): line for line in coverage_curve(paper).axes[0].get_lines()}
    x, y = lines["central interval"].get_data()
    for each in coverages(paper.posteriors, paper.log10_mass):
        assert np.interp(100 * each.level, x, y) == pytest.approx(100 * each.central.value, abs=1e-6)
