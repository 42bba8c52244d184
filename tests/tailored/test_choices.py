"""Choices suit what was measured, and are settings that simulator and training take."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from clustermocks import MDPL2, RadialCompleteness
from clustermocks.haloes.satellites import HaloGalaxies
from sbi_clustermass.estimator.mass_bias import redshift_shift
from sbi_clustermass.tailored import MockComparison, Span, SurveyProperties, Wishes, choose
from sbi_clustermass.tailored.mocks import at_redshift
from sbi_clustermass.training import Augmentation

LIKE = MockComparison(
    depth=0.0, depth_error=0.02, depth_spread=0.0, edge=1.0, edge_error=0.05, mean_R=0.8,
    core=100, core_expected=100.0, fast=100, fast_expected=100.0, fast_chance=0.5,
)  # fmt: skip
SURVEY = SurveyProperties(
    clusters=50, unreadable=0, reasons=(), poor=0, redshifts=(0.1,) * 41, aperture=1.6, narrow=0,
    richness=Span(20.0, 80.0, 300.0), velocity_error=None, rounding=0.0, comparison=LIKE, cosmology=MDPL2,
)  # fmt: skip


def factor(choices):
    """How many times the default's galaxies the mocks have."""
    return choices.model.galaxies.richness / HaloGalaxies.richness


@settings(max_examples=40)
@given(
    depth=st.floats(-1.5, 1.2),
    error=st.floats(0.01, 0.3),
    edge=st.floats(0.05, 20),
    low=st.floats(0.02, 0.8),
    width=st.floats(0, 0.5),
)
def test_whatever_the_data_look_like_the_settings_are_possible_and_their_thinning_covers_the_depth(
    depth, error, edge, low, width
):
    compared = replace(LIKE, depth=depth, depth_error=error, edge=edge, edge_error=0.1)
    found = choose(replace(SURVEY, comparison=compared, redshifts=tuple(np.linspace(low, low + width, 41).tolist())))
    Augmentation(completeness=found.completeness, velocity_error=found.velocity_error)  # refuses what is impossible
    centre, edge_kept = (
        (found.model.completeness.centre, found.model.completeness.edge)
        if isinstance(found.model.completeness, RadialCompleteness)
        else (1.0, 1.0)
    )
    kept = factor(found) * (centre + (edge_kept - centre) * LIKE.mean_R / 1.6)
    lowest, highest = (share * kept for share in found.completeness)
    # settings are rounded to 3 digits; .02 is the least share; 5 times is the deepest that mocks can be
    assert lowest <= max(10**depth, 0.02) * 1.02 or factor(found) > 4.5
    assert highest >= min(10**depth, 4.5 * centre) * 0.98 or factor(found) > 4.5


def test_data_like_the_mocks_get_the_default_mocks_nearly_unthinned():
    found = choose(SURVEY)
    assert 1.2 < factor(found) < 1.3  # room of .1 dex for a depth of 1
    assert found.completeness[0] * factor(found) == pytest.approx(10**-0.1, abs=0.01)
    assert found.model.completeness == 1.0
    assert not found.richness
    assert found.cautions == ()


def test_several_shells_come_with_the_caution_that_no_redshift_counts():
    found = choose(replace(SURVEY, redshifts=tuple(np.linspace(0.05, 0.6, 41).tolist())))
    assert len(found.redshifts) > 1
    assert any("told no redshift" in caution for caution in found.cautions)
    assert len(choose(SURVEY).redshifts) == 1


def test_a_profile_is_believed_from_three_standard_errors():
    sure, unsure = replace(LIKE, edge=0.5, edge_error=0.1), replace(LIKE, edge=0.5, edge_error=0.3)
    assert choose(replace(SURVEY, comparison=sure)).model.completeness == RadialCompleteness(1.0, 0.5)
    assert choose(replace(SURVEY, comparison=unsure)).model.completeness == 1.0
    outwards = replace(LIKE, edge=2.0, edge_error=0.1)
    assert choose(replace(SURVEY, comparison=outwards)).model.completeness == RadialCompleteness(0.5, 1.0)
    fibres = choose(replace(SURVEY, comparison=outwards), Wishes(fibre_collision=55.0)).model
    assert (fibres.completeness, fibres.fibre_collision) == (1.0, 55.0)  # fibres make that profile themselves


def test_a_cleaned_table_is_named_and_its_profile_is_not_taken_for_incompleteness():
    survey = replace(SURVEY, comparison=replace(LIKE, edge=0.4, edge_error=0.05, fast=20, fast_chance=0.001))
    found = choose(survey)
    assert "looks cleaned" in found.cautions[0]
    assert found.model.completeness == 1.0
    assert choose(survey, Wishes(cleaning="clipping")).cleaning == "clipping"


def test_errors_of_the_table_lie_inside_those_of_the_training_and_rounding_is_added_in_quadrature():
    low, high = choose(replace(SURVEY, velocity_error=Span(30.0, 40.0, 60.0), rounding=80.0)).velocity_error
    assert low < np.hypot(30, 80)
    assert high > np.hypot(60, 80)
    assert choose(SURVEY).velocity_error == (0.0, 100.0)


def test_wishes_of_the_user_are_taken():
    wishes = Wishes(n=5000, richness=True, completeness=0.3, velocity_error=250.0, min_galaxies=20)
    found = choose(SURVEY, wishes)
    assert (found.n, found.richness, found.completeness[0]) == (5000, True, 0.3)
    assert found.velocity_error == (0.0, 250.0)
    assert found.model.observation.min_galaxies == 20


def test_data_deeper_than_any_mocks_come_with_a_caution():
    found = choose(replace(SURVEY, comparison=replace(LIKE, depth=1.0)))
    assert 4 < factor(found) < 6
    assert "leave out the faintest" in found.cautions[0]


def test_many_poor_clusters_lower_the_fewest_galaxies():
    assert choose(replace(SURVEY, poor=4)).model.observation.min_galaxies == 10
    assert choose(replace(SURVEY, poor=20)).model.observation.min_galaxies == 5


def test_every_choice_has_a_reason():
    settings = {each.what for each in choose(SURVEY).because}
    assert {"redshift", "aperture", "depth", "profile", "completeness", "velocity errors", "richness"} <= settings
    assert all(each.value and each.why for each in choose(SURVEY).because)


@settings(max_examples=60)
@given(st.lists(st.floats(0.01, 1.2), min_size=1, max_size=60))
def test_shells_are_different_and_no_mass_of_a_shell_is_off_by_more_than_three_hundredths(redshifts):
    known = np.quantile(redshifts, np.linspace(0, 1, 41))
    found = choose(replace(SURVEY, redshifts=tuple(known.tolist())))
    assert len(set(found.redshifts)) == len(found.redshifts) <= 8
    assert sum(found.shares) == pytest.approx(1)
    for z in known[2:39]:  # nine clusters in ten
        near = min(abs(redshift_shift(float(z), shell, MDPL2)) for shell in found.redshifts)
        assert near < 0.0301  # redshifts are rounded to four digits


def test_two_groups_of_clusters_get_a_shell_each_with_as_many_mocks():
    found = choose(replace(SURVEY, redshifts=(0.1,) * 25 + (0.8,) * 16))
    assert found.redshifts == (0.1, 0.8)
    assert found.shares == pytest.approx((0.6, 0.4), abs=0.03)  # of 41 quantiles without the outer two on each side


def test_mocks_are_no_deeper_than_they_can_be_in_the_farthest_shell():
    deep = replace(SURVEY, comparison=replace(LIKE, depth=1.2), redshifts=(0.1,) * 30 + (0.94,) * 11)
    found = choose(deep)
    for z in found.redshifts:
        at_redshift(found.model, z).simulate(np.array([14.0]), seed=1)
