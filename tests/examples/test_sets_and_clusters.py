"""Figures 1, 2 and 4: what is drawn is what is in the catalogues and posteriors."""

from typing import Any

import numpy as np
import pytest
from kodi_ramanah_2020 import Sample, Sets, individuals, mass_functions, nearest, phase_space
from kodi_ramanah_2020.sample import n_members, slug
from matplotlib.figure import Figure
from scipy.stats import gaussian_kde

from clustermocks import HaloMassFunction
from sbi_clustermass.diagnostics import mean_of


def axes_of(picture) -> Any:
    """Axes of a picture that was just drawn."""
    assert isinstance(picture.figure, Figure)
    return picture.figure.axes


def test_phase_space_draws_every_galaxy_and_scipys_density(contaminated):
    i = nearest(contaminated, [14.6])[0]
    found = phase_space(contaminated, i)
    picture = found.section().pictures[0]
    left, right = axes_of(picture)[:2]
    interlopers, members = (each.get_offsets() for each in left.collections)
    R, v = contaminated.galaxies(i)
    inside = contaminated.is_member(i)
    np.testing.assert_allclose(members, np.column_stack([R, v])[inside])
    np.testing.assert_allclose(interlopers, np.column_stack([R, v])[~inside])
    kde = gaussian_kde(np.array([R, v], float), bw_method=np.sqrt(0.15))
    at = kde([[found.image.R_centres[10].item()], [found.image.v_centres[30].item()]])[0]
    shown = np.asarray(right.images[0].get_array())  # (v, R), in thousandths
    assert shown[30, 10] == pytest.approx(1e3 * at, rel=1e-5)  # 1e-5 of the peak is what KDEImage promises
    assert f"{inside.sum()} members and {(~inside).sum()} interlopers" in picture.caption


def test_mass_functions_count_clusters_and_follow_the_mass_function(contaminated):
    masses = HaloMassFunction(low=13.5, high=15.3)
    found = mass_functions([Sets("contaminated", contaminated, contaminated)], masses)
    assert found.per_dex(contaminated).sum() * 0.1 == pytest.approx(len(contaminated))
    grid = np.linspace(13.5, 15.3, 2001)
    total = np.trapezoid(found.attempted_per_dex(contaminated, grid), grid)
    assert total == pytest.approx(contaminated.attempts.num_rows, rel=1e-4)  # trapezia of .9 mdex
    section = found.section()
    axes = axes_of(section.pictures[0])[0]
    assert {patch.get_label() for patch in axes.patches} == {"training", "test"}
    assert axes.get_yscale() == "log"
    rows = {row[0]: row for row in section.tables[0].rows}
    assert rows["contaminated, test"][1:3] == (str(len(contaminated)), str(len(np.unique(contaminated.host_id))))
    assert rows["contaminated, training"][4] == rows["contaminated, test"][2]  # here the sets are one: all are shared


def test_individuals_are_nearest_in_mass_and_drawn_with_mean_and_truth(sample, pure_sample):
    found = individuals([pure_sample, sample], masses=(13.8, 14.4, 15.0))
    for each, rows in zip(found.samples, found.rows, strict=True):
        for mass, row in zip((13.8, 14.4, 15.0), rows, strict=True):
            gaps = np.abs(each.log10_true - mass)
            assert gaps[row] == gaps.min()
    section = found.section()
    axes = axes_of(section.pictures[0])[1]
    verticals = [line.get_xdata()[0] for line in axes.lines if np.ptp(line.get_xdata()) == 0]
    truth, mean = sample.log10_true[list(found.rows[1])], sample.posteriors.mean[list(found.rows[1])]
    np.testing.assert_allclose(sorted(verticals), sorted([*truth, *mean]))
    assert len(axes.collections) == 3
    assert len(section.tables[0].rows) == 6
    assert section.tables[0].rows[3][3] == f"{mean[0]:.2f} ± {sample.posteriors.std[found.rows[1][0]]:.2f}"
    assert "0.13 (contaminated) and 0.08 (pure)" in section.tables[0].note


def test_members_are_counted_cluster_by_cluster(contaminated):
    expected = [contaminated.is_member(i).sum() for i in range(len(contaminated))]
    np.testing.assert_array_equal(n_members(contaminated), expected)


def test_a_sample_needs_a_posterior_for_each_cluster(sample):
    with pytest.raises(ValueError, match="posteriors"):
        Sample("short", "pure", sample.clusters, sample.posteriors[:5])


def test_a_mean_of_too_few_is_no_number_and_names_make_files():
    assert np.isnan(mean_of(np.array([1.0])).value)
    assert mean_of(np.array([1.0, 3.0])).error == pytest.approx(1.0)
    assert slug("contaminated, factor 0.387") == "contaminated-factor-0-387"
