"""A figure for each cluster, in a file of its own whatever its name, without a trace in memory."""

import gc
import warnings
import weakref
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from sbi_clustermass.estimator.verdict import Reason
from sbi_clustermass.observations import figure_folder
from sbi_clustermass.observations.cluster_figure import _enclosing, cluster_figure
from sbi_clustermass.observations.cluster_page import ClusterPage
from sbi_clustermass.observations.figure_folder import FigureFolder, file_name
from sbi_clustermass.observations.results import Mode
from sbi_clustermass.observations.tables.literature_masses import PublishedMass, PublishedMasses
from sbi_clustermass.posterior import MassPosteriors

OTHERS = (
    PublishedMass(14.6, 0.1, 0.2, "caustic $M_{200}$", "A & B 2000"),
    PublishedMass(14.2, np.nan, np.nan, "lensing", ""),
)


@pytest.fixture
def poorest(results):
    """The mass of the fewest galaxies, whose picture is the quickest."""
    return min(results[:-1], key=lambda mass: mass.cluster.n_galaxies)


def named(mass, name):
    return replace(mass, cluster=replace(mass.cluster, name=name))


def test_the_page_shows_galaxies_saliency_posterior_and_published_masses(estimator, results, stamp):
    mass = named(results[0], "Abell $119$ Ωμέγα \\alpha_{")  # no formula, whatever it looks like
    before = plt.get_fignums()
    figure = cluster_figure(ClusterPage.from_result(mass, estimator, stamp, OTHERS))
    figure.canvas.draw()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "Abell $119$" in figure.get_suptitle()
    assert any("A & B 2000" in text for text in texts)
    assert any("not taught" in text for text in texts)  # this estimator has no alarm
    words = next(text for text in texts if "M200c" in text)
    assert stamp.checksum in words
    assert f"{mass.percentiles[1]:.2f}" in words
    kept = weakref.ref(figure)
    del figure
    gc.collect()
    assert kept() is None  # the process of a survey draws thousands
    assert plt.get_fignums() == before


def test_each_of_two_modes_has_its_median_and_the_reasons_are_in_words(estimator, results, stamp):
    grid = results[0].posterior.grid
    two = np.logaddexp(-0.5 * ((grid - 13.5) / 0.1) ** 2, -0.5 * ((grid - 14.9) / 0.1) ** 2)
    reasons = tuple(Reason(f"reason {i}", size=0.1) for i in range(6))
    mass = replace(
        results[0],
        posterior=MassPosteriors.from_log_prob(grid, two[None], names=("two",)),
        modes=(Mode(13.5, 0.5), Mode(14.9, 0.5)),
        reasons=reasons,
    )
    figure = cluster_figure(ClusterPage.from_result(mass, estimator, stamp))
    (axes,) = [each for each in figure.axes if each.get_ylabel().startswith("posterior")]
    drawn = {each.get_label(): each.get_segments()[0] for each in axes.collections if "median" in str(each.get_label())}
    assert set(drawn) == {"median 13.50 of 50%", "median 14.90 of 50%"}
    for place, segment in zip((13.5, 14.9), drawn.values(), strict=True):
        np.testing.assert_allclose(segment[:, 0], place)
        # the peak of half a Gaussian of .1 dex
        assert segment[1, 1] == pytest.approx(0.5 / np.sqrt(2 * np.pi) / 0.1, rel=0.01)
    words = next(text.get_text() for axes in figure.axes for text in axes.texts if "M200c" in text.get_text())
    assert "two modes: 13.50 (50%) and 14.90 (50%)" in words
    assert "care, 0.10 dex: reason 3" in words
    assert "and 2 more" in words
    assert figure.get_suptitle().endswith(": care")


def test_labels_stand_where_they_stand_in_every_picture(estimator, results, stamp):
    """Places of all labels beside the published masses, whatever these are."""
    places = []
    for shift in (-1.0, 0.0, 0.5):
        others = tuple(replace(each, log10_mass=each.log10_mass + shift) for each in OTHERS)
        figure = cluster_figure(ClusterPage.from_result(results[0], estimator, stamp, others))
        places.append([text.get_position() for axes in figure.axes for text in axes.texts if "2000" in text.get_text()])
    assert places[0] == places[1] == places[2] != []


def test_the_statistics_among_the_mocks_are_those_of_the_alarms_checks(estimator, mocks, results, stamp):
    taught = estimator.with_alarm(mocks)
    page = ClusterPage.from_result(results[3], taught, stamp)
    catalogue, posterior = results[3].cluster.catalogue, results[3].posterior
    np.testing.assert_array_equal(
        page.among_mocks.scores, taught.alarm.summary_checks.scores(catalogue, posterior)[:, 0]
    )
    assert page.among_mocks.ranges[0].startswith(f"{results[3].cluster.n_galaxies}  (")
    assert set(page.among_mocks.p_values) == set(taught.alarm.tests)
    cluster_figure(page).canvas.draw()


def test_contours_hold_the_shares_of_the_density_that_they_say():
    x = np.linspace(-6, 6, 400)
    density = np.exp(-0.5 * (x[:, None] ** 2 + x**2))
    # of a Gaussian in two dimensions a share s lies above exp(-r^2/2) = 1 - s of its peak; pixels are .03 wide
    np.testing.assert_allclose(_enclosing(density), [0.1, 0.4, 0.7], atol=0.01)


def titled(page):
    """A figure with the cluster's name, quicker to draw than its page."""
    figure = Figure()
    figure.suptitle(page.mass.name)
    return figure


def test_every_cluster_has_a_file_of_its_own_whatever_its_name(estimator, poorest, stamp, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_folder, "cluster_figure", titled)
    names = ("A 1", "a_1", "../A 1", "星団 / 1")
    draw = FigureFolder(tmp_path / "p", estimator, stamp, PublishedMasses({"a1": OTHERS}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = [draw(named(poorest, name)) for name in names]
    assert len({path.name.casefold() for path in paths}) == len(names)
    assert sorted(tmp_path.rglob("*.png")) == sorted(paths)
    assert {path.parent for path in paths} == {tmp_path / "p"}
    for path in paths:
        Image.open(path).verify()


def test_a_figure_may_be_a_pdf_and_is_not_kept_in_memory(estimator, poorest, stamp, tmp_path, monkeypatch):
    drawn, before = [], plt.get_fignums()

    def recorded(page):
        figure = titled(page)
        drawn.append(weakref.ref(figure))
        return figure

    monkeypatch.setattr(figure_folder, "cluster_figure", recorded)
    path = FigureFolder(tmp_path, estimator, stamp, suffix="pdf")(poorest)
    assert path.suffix == ".pdf"
    assert path.read_bytes().startswith(b"%PDF")
    gc.collect()
    assert [figure() for figure in drawn] == [None]
    assert plt.get_fignums() == before


def test_a_cluster_without_a_mass_gets_no_figure_and_one_that_fails_stops_no_other(estimator, results, stamp, tmp_path):
    draw = FigureFolder(tmp_path, estimator, stamp)
    assert draw(results[-1]) is None
    broken = replace(results[0], posterior=results[0].posterior[:0])
    with pytest.warns(UserWarning, match="no picture of C0"):
        assert draw(broken) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "...", "/", "a" * 500, "星" * 100, "CON/..\\x", "\0\n"])
def test_a_name_becomes_that_of_a_file_in_the_folder(name):
    found = file_name(name)
    assert found
    assert len(found.encode()) <= 80
    assert not set(found) & set('/\\\0\n:*?"<>|')
    assert not found.startswith(".")
