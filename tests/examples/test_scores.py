"""Figures 5 and 6: residuals and scatter of posteriors whose errors were put in."""

from typing import Any

import numpy as np
import pytest
from kodi_ramanah_2020 import Sample, predictions, richness_scaling
from kodi_ramanah_2020.richness_scaling import Scaling
from kodi_ramanah_2020.sample import n_members
from matplotlib.figure import Figure

from sbi_clustermass import MassPosteriors

GRID = np.linspace(12.5, 16.3, 381)


def axes_of(picture) -> Any:
    """Axes of a picture that was just drawn."""
    assert isinstance(picture.figure, Figure)
    return picture.figure.axes


def rows_of(table):
    return {row[0]: row[1:] for row in table.rows}


def test_predictions_score_what_was_put_in_beside_the_papers_numbers(sample, pure_sample):
    found = predictions([sample, pure_sample])
    true, residual = sample.log10_true, sample.posteriors.mean - sample.log10_true
    scores = found.scores[0]
    assert scores.mean is not None
    assert scores.scatter is not None
    assert scores.middle is not None
    assert scores.massive is not None
    assert scores.mean.value == pytest.approx(residual.mean())
    assert scores.scatter.value == pytest.approx(residual.std(ddof=1))
    between = (true >= 14) & (true <= 15)
    assert scores.middle.value == pytest.approx(residual[between].std(ddof=1))
    massive = (true >= 14.8) & (true < 15.2)
    assert scores.massive.value == pytest.approx(np.abs(residual[massive]).mean())
    table = found.section().tables[0]
    assert table.header == ("", "contaminated, test", "pure, test", "paper, contaminated", "paper, pure")
    rows = rows_of(table)
    counts = (len(true), between.sum(), massive.sum())
    assert rows["clusters: all, intermediate, massive"][0] == ", ".join(map(str, counts))
    assert rows["mean residual [dex]"][2:] == ("-0.028", "-0.007")
    assert rows["scatter [dex]"] == (str(scores.scatter), str(found.scores[1].scatter), "0.126", "0.058")
    assert rows["scatter, 14 to 15 [dex]"][2:] == ("0.089", "–")
    assert rows["mean |residual|, 14.8 to 15.2 [dex]"][2:] == ("0.067", "–")
    assert "another simulator" in table.note
    assert "negative of the paper's epsilon" in table.note


def test_figure_5_has_bands_stars_and_the_mean_absolute_residual(sample):
    picture = predictions([sample]).section().pictures[0]
    top, bottom = axes_of(picture)
    assert {each.get_label() for each in top.collections} >= {"mean 95 %", "mean 68 %"}
    upper, lower = (line for line in bottom.lines if line.get_linestyle() == "-.")
    np.testing.assert_array_equal(upper.get_ydata(), -lower.get_ydata())
    # Gaussian residuals of .1 dex, 20 and more in a bin: sqrt(2/pi) of that, within four errors of .06/sqrt(20)
    np.testing.assert_allclose(upper.get_ydata(), 0.1 * np.sqrt(2 / np.pi), atol=0.054)
    assert picture.name == "figure5-contaminated-test"


def test_a_range_without_clusters_has_a_dash(sample):
    light = np.flatnonzero(sample.log10_true < 13.9)
    few = Sample("light", "contaminated", sample.clusters.select(light), sample.posteriors[light])
    found = predictions([few])
    assert found.scores[0].massive is None
    assert rows_of(found.section().tables[0])["mean |residual|, 14.8 to 15.2 [dex]"][0] == "–"


@pytest.fixture(scope="module")
def scattered(contaminated):
    """Posterior means that scatter as eq. 8 has it, .3 at 100 members and no more than .05 beyond."""
    members, rng = n_members(contaminated), np.random.default_rng(5)
    std = np.sqrt(0.3**2 * 100 / np.maximum(members, 1) + 0.05**2)
    mean = 14.3 + 0.2 * (contaminated.log10_mass + std * rng.standard_normal(len(std)) - 14.3)
    return Sample("put in", "contaminated", contaminated, MassPosteriors.from_normal(mean, 0.05, GRID))


def test_scaling_finds_the_scatter_that_was_put_in(scattered, contaminated):
    stretched = {"stretched": 14.5 + 3 * (scattered.posteriors.mean - 14.5), "constant": np.full(len(contaminated), 14)}
    found = richness_scaling([scattered], stretched)
    fit = found.flows[0].everywhere
    assert fit is not None
    assert abs(fit.sigma_N.value - 0.3) < 4 * fit.sigma_N.error
    assert fit.slope.value == pytest.approx(0.2, abs=4 * fit.slope.error)
    other = found.rivals[0].everywhere
    assert other is not None
    assert other.sigma_N.value == pytest.approx(fit.sigma_N.value, abs=1e-4)
    assert found.rivals[1].everywhere is None  # a constant tells no masses apart
    rows = {row[:2]: row[2:] for row in found.section().tables[0].rows}
    assert rows["paper, contaminated", "all"][:2] == ("0.07", "0.05")
    assert rows["paper, pure", "all"][:2] == ("0.05", "0.05")
    assert rows["velocity dispersion, noise alone", "any"][0] == "0.092"
    assert not any(name == "constant" for name, _ in rows)
    assert rows["put in", "all"][0] == str(fit.sigma_N)


def test_bins_hold_the_scatter_of_their_own_clusters(scattered, contaminated):
    scaling = Scaling.from_estimates("put in", scattered.posteriors.mean, contaminated)
    centre, scatter = scaling.binned()
    assert scaling.above is not None
    assert len(centre) >= 2
    assert np.all(np.diff(centre) > 0)
    for n, each in zip(centre, scatter, strict=True):
        # a bin is a factor 1.6 wide in N: 13 % of the scatter either way
        assert each.value == pytest.approx(float(scaling.above.scatter(n)), abs=4 * each.error + 0.13 * each.value)


def test_figure_6_has_a_point_for_every_estimator_and_the_papers(scattered):
    rivals = {"rival": scattered.posteriors.mean}
    left, right = axes_of(richness_scaling([scattered], rivals).section().pictures[0])
    labels = set(right.get_legend_handles_labels()[1])
    assert labels == {"put in", "rival", "paper, contaminated", "paper, pure", "dispersion, noise alone"}
    stars = [(line.get_xdata()[0], line.get_ydata()[0]) for line in right.lines if "paper" in str(line.get_label())]
    assert stars == [(0.07, 0.05), (0.05, 0.05)]
    assert left.get_xscale() == "log"
