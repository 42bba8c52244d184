"""Figures 7, 8 and 9: what a network makes of changed, of observed and of masked clusters."""

from typing import Any

import numpy as np
import pytest
from kodi_ramanah_2020 import real_clusters, robustness, saliency_maps
from kodi_ramanah_2020.robustness import FEWER, NOISY
from matplotlib.figure import Figure

from clustermocks.perturbations import thinned, with_velocity_errors


def axes_of(picture) -> Any:
    """Axes of a picture that was just drawn."""
    assert isinstance(picture.figure, Figure)
    return picture.figure.axes


@pytest.fixture(scope="module")
def some(mocks):
    """A hundred clusters, one line of sight a halo, the poorest among them with no galaxy to spare."""
    rising = np.argsort(mocks.n_galaxies, kind="stable")
    return mocks.select(np.concatenate([rising[:6], rising[6::15]])[:100])


@pytest.fixture(scope="module")
def found(estimator, some):
    return robustness(estimator, some, [0, 50, 99], seed=3)


def test_shifts_compare_each_cluster_with_itself(found, estimator, some):
    before = dict(zip(some.host_id, estimator.posterior(some).mean, strict=True))
    for change, changed in ((FEWER, thinned(some, 0.67, 3)), (NOISY, with_velocity_errors(some, 100.0, 4))):
        after = estimator.posterior(changed).mean
        shift = after - np.array([before[host] for host in changed.host_id])  # found by halo instead of by name
        assert found.shifts[change].mean.value == pytest.approx(shift.mean(), abs=1e-6)  # float32 networks
        assert found.shifts[change].rms.value == pytest.approx(shift.std(ddof=1), abs=1e-6)
        assert (found.shifts[change].n, found.shifts[change].lost) == (len(changed), len(some) - len(changed))
    assert found.shifts[FEWER].lost > 0


def test_a_cluster_with_too_few_galaxies_left_is_said_to_be_so(found, some):
    assert some.n_galaxies[0] < 13  # two thirds of it are mostly under the cut of ten
    section = found.section()
    cells = [row[2] for row in section.tables[0].rows]
    assert cells.count("too few galaxies") == 3 - len(found.changed[FEWER])
    axes = axes_of(section.pictures[0])[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == len(found.whole.grid)]
    assert len(drawn) == 3 + len(found.changed[FEWER]) + len(found.changed[NOISY])
    assert {line.get_linestyle() for line in drawn} == {"-", "--", "-."}
    assert "no significant bias" in section.tables[0].note


def test_observed_clusters_stand_in_table_1_beside_the_papers_masses(estimator, mocks):
    coma, other = (mocks.select(np.array([i])) for i in (np.argmax(mocks.n_galaxies), 5))
    found = real_clusters({"ours": estimator}, {"Coma": coma, "A2199": other})
    posterior = estimator.posterior(coma)
    assert found.inferred["ours"]["Coma"].mean == pytest.approx(float(posterior.mean[0]), abs=1e-6)  # float32 networks
    section = found.section()
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    assert len(rows) == 9  # the paper's eight, and one of ours
    assert rows["Coma"][0] == str(coma.n_galaxies[0])
    assert rows["Coma"][2:] == ("14.84 ± 0.11", "14.91 ± 0.11", "Łokas & Mamon 2003")
    assert rows["A2142"] == ("–", "–", "14.83 ± 0.14", "14.95 +0.04 -0.14", "Munari et al. 2014")
    assert rows["A2199"][2:] == ("–", "–", "–")
    axes = axes_of(section.pictures[0])[0]
    assert {text.get_text() for text in axes.texts} == {
        "Coma",
        "A1689",
        "A85",
        "A119",
        "A576",
        "A1651",
        "A2142",
        "A2670",
    }
    assert set(axes.get_legend_handles_labels()[1]) == {"paper", "ours"}
    warned = [f"{name}, ours" for name, each in found.inferred["ours"].items() if each.warnings]
    assert [warning.split(":")[0] for warning in section.warnings] == warned


def test_a_catalogue_of_several_clusters_is_no_observed_cluster(estimator, mocks):
    with pytest.raises(ValueError, match="must hold one"):
        real_clusters({"ours": estimator}, {"Coma": mocks})


def test_saliency_maps_are_drawn_on_one_scale_symmetric_about_no_change(estimator, mocks):
    found = saliency_maps(estimator, mocks, [3, 8])
    picture = found.section().pictures[0]
    images = [image for axes in axes_of(picture) for image in axes.images if image.get_cmap().name == "RdBu"]
    most = max(np.abs(each.change).max() for each in found.maps)
    assert len(images) == 2
    for image, each in zip(images, found.maps, strict=True):
        assert image.get_clim() == (-most, most)
        np.testing.assert_array_equal(np.asarray(image.get_array()), each.change.T)
        assert tuple(image.get_extent()) == (0.0, pytest.approx(1.6), pytest.approx(-2200), pytest.approx(2200))
    row = found.section().tables[0].rows[0]
    assert float(row[2]) == pytest.approx(found.maps[0].change.min(), abs=1e-4)  # printed to four digits
