"""The prior is narrowed to what was measured and stays as wide as it was elsewhere."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.tailored import ClusterProperties, Survey, choose
from sbi_clustermass.tailored.survey import SURVEYS

CLUSTER = ClusterProperties(redshift=0.3, reach=1.4, widest=1.6, velocity_error=60.0, rounding=0.0, n_galaxies=80)
SURVEY = Survey((CLUSTER,), failed=0, reasons=(), cleaned=False)

clusters = st.builds(
    lambda z, reach, more, error, rounding, n: ClusterProperties(z, reach, min(reach * more, 3.0), error, rounding, n),
    st.floats(0.01, 1.3),
    st.floats(0.3, 3.0),
    st.floats(1, 5),
    st.floats(0, 300) | st.just(np.nan),
    st.sampled_from([0.0, 10.0, 30.0, 299.8, np.nan]),
    st.integers(5, 1000),
)


def of(*properties, cleaned=False):
    """Survey of these clusters."""
    return Survey(properties, failed=0, reasons=(), cleaned=cleaned)


@given(st.lists(clusters, min_size=1, max_size=20), st.booleans())
def test_the_narrowed_ranges_hold_all_that_was_measured(properties, cleaned):
    chosen = choose(of(*properties, cleaned=cleaned)).surveys
    for each in properties:
        assert chosen.redshift[0] <= each.redshift <= chosen.redshift[1]
        assert chosen.aperture[0] <= each.reach <= each.widest <= chosen.aperture[1]
        for value, (low, high) in (
            (each.velocity_error, chosen.velocity_error),
            (each.rounding, chosen.rounding),
        ):
            assert np.isnan(value) or low <= value <= high


@given(st.lists(clusters, min_size=1, max_size=5))
def test_what_is_hidden_stays_as_wide_as_the_prior(properties):
    chosen = choose(of(*properties)).surveys
    known = {"redshift", "aperture", "velocity_error", "rounding", "stated", "cleaned"}
    hidden = [each.name for each in fields(SURVEYS) if each.name not in known]
    assert {name: getattr(chosen, name) for name in hidden} == {name: getattr(SURVEYS, name) for name in hidden}


def test_one_cluster_has_mocks_of_its_redshift_field_and_errors():
    chosen = choose(SURVEY).surveys
    assert chosen.redshift == pytest.approx((0.235, 0.365))
    assert chosen.aperture == pytest.approx((0.9 * 1.4, 1.1 * 1.6))
    assert chosen.velocity_error == pytest.approx((42, 78))
    assert (chosen.rounding, chosen.stated, chosen.cleaned) == ((0.0, 10.0), 1.0, 0.0)


def test_what_no_cluster_shows_is_as_wide_as_the_prior():
    unknown = CLUSTER._replace(redshift=np.nan, velocity_error=np.nan, rounding=np.nan)
    found = choose(of(unknown))
    names = ("redshift", "velocity_error", "rounding", "cleaned")
    assert [getattr(found.surveys, name) for name in names] == [getattr(SURVEYS, name) for name in names]
    assert found.surveys.stated == 0
    assert "--redshift" in found.cautions[0]
    mixed = choose(of(unknown, CLUSTER)).surveys
    assert (mixed.velocity_error, mixed.stated) == (SURVEYS.velocity_error, SURVEYS.stated)


def test_the_user_says_whether_and_how_interlopers_were_removed():
    assert choose(replace(SURVEY, cleaned=True)).surveys.cleaned == 1
    chosen = choose(SURVEY, TrainingOptions(cleaning="caustics")).surveys
    assert (chosen.cleaned, chosen.cleanings) == (1.0, ("caustics",))
    with pytest.raises(ValueError, match=r"cleanings must be a part of .*members"):
        choose(SURVEY, TrainingOptions(cleaning="members"))


def test_wishes_of_the_user_are_taken():
    found = choose(SURVEY, TrainingOptions(velocity_error=250.0, completeness=0.3, min_galaxies=20), n=5000)
    assert found.surveys.velocity_error == (0.0, 250.0)
    assert found.surveys.completeness == (0.3, 1.0)
    assert (found.n, found.model.observation.min_galaxies) == (5000, 20)
    with pytest.raises(ValueError, match="velocity_error must be a part of"):
        choose(SURVEY, TrainingOptions(velocity_error=400.0))


def test_every_choice_has_a_reason_with_the_numbers_that_were_measured():
    because = {each.what: f"{each.value}: {each.why}" for each in choose(SURVEY).because}
    for what, number in {
        "redshift": "0.3",
        "field": "1.4",
        "velocity errors": "60",
        "depth and targeting": "80",
    }.items():
        assert number in because[what]
    assert all(each.value and each.why for each in choose(SURVEY).because)


def test_clusters_that_were_not_measured_are_named():
    (caution,) = choose(replace(SURVEY, failed=2, reasons=("A1: 3 galaxies", "A2: no velocity"))).cautions
    assert "2 clusters" in caution
    assert "A1: 3 galaxies" in caution
