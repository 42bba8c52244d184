"""Volumes of a survey against astropy and quadrature; which cluster lies in which shell."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from astropy.cosmology import FlatLambdaCDM
from scipy.integrate import quad

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass.population import (
    CosmologyMassFunction,
    MassFunction,
    ObservedClusters,
    Population,
    Problem,
    Shell,
    Survey,
)
from sbi_clustermass.posterior import MassPosteriors

AREA = 2500.0  # [deg^2]
EDGES = [0.25, 0.4, 0.6, 1.0, 1.7]
SKY = 4 * np.pi * (180 / np.pi) ** 2  # [deg^2]


def astropy_volumes(edges, Om0=MDPL2.Om0, area=AREA):
    """[h^-3 Mpc^3], because H0 = 100."""
    volumes = FlatLambdaCDM(H0=100, Om0=Om0).comoving_volume(np.array(edges)).value
    return np.diff(volumes) * area / SKY


def log_volumes(survey, Om0):
    return survey.log_volumes({"Om0": torch.as_tensor(np.asarray(Om0, float))})


# ---- volumes --------------------------------------------------------------------------------------------------------


def test_volumes_of_shells_are_astropys():
    found = [shell.volume for shell in Survey.of_sky(AREA, EDGES).shells]
    np.testing.assert_allclose(found, astropy_volumes(EDGES), rtol=1e-12)  # closed form against closed form


@pytest.mark.parametrize("Om0", [0.1, 0.25, 0.45, 0.6])
def test_volumes_at_another_matter_density_are_astropys_and_those_of_a_survey_made_there(Om0):
    found = log_volumes(Survey.of_sky(AREA, EDGES), Om0).exp().numpy()
    np.testing.assert_allclose(found, astropy_volumes(EDGES, Om0), rtol=1e-9)  # as the docstring promises
    there = Survey.of_sky(AREA, EDGES, cosmology=replace(MDPL2, Om0=Om0))
    np.testing.assert_allclose(found, [shell.volume for shell in there.shells], rtol=1e-9)


def test_volume_of_a_narrow_shell_is_quadrature():
    low, high = 0.50, 0.51
    c, area = 299_792.458, AREA * (np.pi / 180) ** 2
    rate = lambda z: 100 * np.sqrt(0.4 * (1 + z) ** 3 + 0.6)  # noqa: E731
    distance = lambda z: quad(lambda t: c / rate(t), 0, z, epsrel=1e-12)[0]  # noqa: E731
    expected, _ = quad(lambda z: area * distance(z) ** 2 * c / rate(z), low, high)
    found = log_volumes(Survey.of_sky(AREA, [low, high]), 0.4).exp()
    assert float(found) == pytest.approx(expected, rel=1e-7)  # 1e-9 of a distance, in a difference of 6 % of the cube


def test_volumes_change_smoothly_with_the_matter_density():
    survey, Om0 = Survey.of_sky(AREA, EDGES), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.functional.jacobian(lambda x: survey.log_volumes({"Om0": x}), Om0)
    expected = (log_volumes(survey, 0.3 + 1e-5) - log_volumes(survey, 0.3 - 1e-5)) / 2e-5
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=0)  # step^2, and round-off of 1e-15 / step


def test_each_draw_has_its_own_volumes():
    survey = Survey.of_sky(AREA, EDGES)
    together = log_volumes(survey, [[0.2, 0.3, 0.4]])
    assert together.shape == (1, 3, 4)
    torch.testing.assert_close(together[0, 1], log_volumes(survey, 0.3))


def test_a_given_volume_is_the_same_in_every_cosmology_even_beside_shells_of_the_sky():
    box = Survey.of_volume(1e9, sample_variance=False)
    assert float(log_volumes(box, 0.2).exp()) == pytest.approx(1e9)
    assert float(box.log_volumes({}).exp()) == pytest.approx(1e9)
    both = Survey.joined(box, Survey.of_sky(AREA, EDGES, sample_variance=False))
    found = log_volumes(both, 0.2).exp().numpy()
    np.testing.assert_allclose(found, [1e9, *astropy_volumes(EDGES, 0.2)], rtol=1e-9)
    Om0 = torch.tensor(0.2, dtype=torch.float64)
    gradient = torch.autograd.functional.jacobian(lambda x: both.log_volumes({"Om0": x}), Om0)
    assert float(gradient[0]) == 0
    assert torch.isfinite(gradient).all()


def test_masses_without_a_matter_density_leave_volumes_as_they_were_given():
    survey = Survey.of_sky(AREA, EDGES)
    given = [shell.volume for shell in survey.shells]
    np.testing.assert_allclose(survey.log_volumes({"alpha": torch.tensor(1.0)}).exp().numpy(), given)


def test_shells_lie_at_the_mean_redshift_of_their_volume():
    astropy = FlatLambdaCDM(H0=100, Om0=MDPL2.Om0)
    density = lambda z: astropy.differential_comoving_volume(z).value  # noqa: E731
    for shell, (low, high) in zip(Survey.of_sky(AREA, EDGES).shells, pairwise(EDGES), strict=True):
        moment, total = (quad(lambda z, k=k: z**k * density(z), low, high)[0] for k in (1, 0))
        assert shell.redshift == pytest.approx(moment / total, rel=1e-7)  # astropy's quadrature


def test_the_whole_sky_is_allowed():
    found = Survey.of_sky(SKY, [0.0, 0.1]).shells[0].volume
    assert found == pytest.approx(4 / 3 * np.pi * float(MDPL2.comoving_distance(0.1)) ** 3, rel=1e-12)


def test_expected_number_is_the_sum_over_shells_of_volume_times_mass_function():
    """And with a cosmology's mass function each shell has that of its own redshift, in the volumes of its own Om0."""
    model, survey = CosmologyMassFunction(), Survey.of_sky(AREA, EDGES, sample_variance=False)
    clusters = ObservedClusters(MassPosteriors.from_normal([14.5], [0.1], np.linspace(13.5, 15.5, 21)), np.array([0.5]))
    parameters = {"Om0": torch.tensor(0.25, dtype=torch.float64), "sigma8": torch.tensor(0.9, dtype=torch.float64)}
    problem = Problem.from_clusters(Population(model, mass_range=(13.5, 15.5)), clusters, survey, counts=True)
    found = float(problem.likelihood.log_expected(problem.log_selected_rate(parameters)).exp())
    masses = torch.linspace(13.5, 15.5, 21, dtype=torch.float64)
    density = model.log_density(masses, parameters, torch.as_tensor(survey.redshift)).exp().numpy()
    expected = astropy_volumes(EDGES, 0.25) @ np.trapezoid(density, masses.numpy())
    assert found == pytest.approx(expected, rel=1e-9)  # the same trapezoid; volumes as above


# ---- clusters in shells ---------------------------------------------------------------------------------------------


def test_clusters_lie_in_the_shell_whose_edges_enclose_their_redshift():
    survey = Survey.of_sky(AREA, EDGES)
    np.testing.assert_array_equal(survey.place(np.array([0.25, 0.399, 0.4, 1.69, 0.7]), 5), [0, 0, 1, 3, 2])


def test_one_shell_takes_clusters_without_redshifts_and_a_given_volume_takes_all():
    np.testing.assert_array_equal(Survey.of_sky(AREA, [0.1, 0.2]).place(None, 3), [0, 0, 0])
    np.testing.assert_array_equal(
        Survey.of_volume(1e9, sample_variance=False).place(np.array([0.0, 0.5, 9.0]), 3), [0, 0, 0]
    )


def test_clusters_without_redshifts_are_those_of_their_shell():
    survey = Survey.of_volume(1e9, redshift=0.3, sample_variance=False)
    clusters = ObservedClusters(MassPosteriors.from_normal([14.5], [0.1], np.linspace(13.5, 15.5, 21)))
    problem = Problem.from_clusters(Population(MassFunction()), clusters, survey, counts=True)
    np.testing.assert_array_equal(problem.redshift.numpy(), [0.3])


def test_joined_surveys_keep_their_shells_in_order_with_their_offsets():
    deep = Survey.of_sky(100, [0.2, 0.5], offsets={"ln_zeta": 0.3})
    wide = Survey.of_sky(2500, [0.5, 0.8, 1.1], offsets={"ln_zeta": -0.1, "log_richness": 0.05})
    both = Survey.joined(deep, wide)
    assert both.shells == (*deep.shells, *wide.shells)
    assert len(both) == 3
    np.testing.assert_array_equal(both.offset("ln_zeta"), [0.3, -0.1, -0.1])
    np.testing.assert_array_equal(both.offset("log_richness"), [0, 0.05, 0.05])
    np.testing.assert_array_equal(both.place(np.array([0.9, 0.3]), 2), [2, 0])
    np.testing.assert_array_equal(both.redshift, [shell.redshift for shell in both.shells])


def test_parts_of_the_sky_with_the_same_edges_share_their_clusters_likelihood():
    """Which part a cluster lies in is a factor that no parameter changes: here that of the areas."""
    edges = [0.2, 0.5, 0.8]
    parts = [Survey.of_sky(area, edges, sample_variance=False) for area in (100, 900)]
    clusters = ObservedClusters(
        MassPosteriors.from_normal([14.3, 14.6], [0.1, 0.1], np.linspace(13, 16, 61)), np.array([0.3, 0.6])
    )
    np.testing.assert_array_equal(Survey.joined(*parts).place(clusters.redshift, 2), [0, 1])
    centre = MassFunction().coordinates.centre
    problems = [
        Problem.from_clusters(Population(), clusters, Survey.joined(*each), counts=True)
        for each in (parts, parts[::-1])
    ]
    for shift in (0.0, 0.2):
        one, other = (float(problem.potential(centre + shift)) for problem in problems)
        assert one - other == pytest.approx(2 * np.log(9), abs=1e-9)  # float64 round-off of some hundred nats


# ---- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("area", [0.0, -10.0, 41_254.0, np.nan])
def test_areas_that_are_no_part_of_the_sky_are_refused(area):
    with pytest.raises(ValueError, match=r"area must be positive and at most 41253 deg\^2"):
        Survey.of_sky(area, [0.1, 0.2])


@pytest.mark.parametrize("edges", [[0.1], [0.2, 0.1], [0.1, 0.1], [-0.1, 0.2], [0.1, np.nan], 0.3, [[0.1, 0.2]]])
def test_edges_that_do_not_rise_are_refused(edges):
    with pytest.raises(ValueError, match="two or more edges of shells that rise from 0"):
        Survey.of_sky(100, edges)


def test_surveys_without_shells_or_volume_are_refused():
    with pytest.raises(ValueError, match=r"every shell needs a positive finite volume .*found \[\]"):
        Survey(())
    with pytest.raises(ValueError, match=r"positive finite volume .*found \[10.0, 0.0\]"):
        Survey((Shell(0.1, 10.0), Shell(0.2, 0.0)))


def test_shells_without_the_clusters_redshifts_are_refused():
    with pytest.raises(ValueError, match="4 shells need the clusters' redshifts, and there are none"):
        Survey.of_sky(AREA, EDGES).place(None, 3)


@pytest.mark.parametrize(("redshift", "number"), [(0.1, 0), (1.7, 0), (5.0, 0)])
def test_clusters_beyond_the_survey_are_refused(redshift, number):
    with pytest.raises(
        ValueError, match=rf"1 of 2 clusters lie in no shell .*redshift {redshift}, lies in {number} of[\s\S]*leave out"
    ):
        Survey.of_sky(AREA, EDGES).place(np.array([0.3, redshift]), 2)


def test_clusters_in_several_shells_are_refused():
    both = Survey.joined(Survey.of_sky(100, [0.2, 0.5]), Survey.of_sky(2500, [0.4, 0.8]))
    with pytest.raises(
        ValueError, match=r"1 of 3 clusters lie in no shell or in several; .*redshift 0.45, lies in 2 of 2"
    ):
        both.place(np.array([0.3, 0.45, 0.7]), 3)
