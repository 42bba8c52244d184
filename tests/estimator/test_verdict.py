"""One word for a mass, from its worst reason; effects are graded by their size."""

import numpy as np
import pytest
from scipy.stats import truncnorm

from sbi_clustermass.estimator.verdict import Grade, Reason, ranked, verdict
from sbi_clustermass.estimator.warnings import _cut_off
from sbi_clustermass.posterior import MassPosteriors

GRID = np.linspace(13.0, 15.6, 256)


@pytest.mark.parametrize(
    ("size", "width", "grade"),
    [(0.04, 0.1, "use"), (-0.06, 0.1, "care"), (0.06, 0.2, "use"), (0.29, 0.2, "care"), (-0.31, 0.9, "do not use")],
)
def test_an_effect_matters_from_half_the_width_and_forbids_use_beyond_three_tenths_of_a_dex(size, width, grade):
    assert Reason.measured("", size, width).grade == grade


def test_the_verdict_is_the_worst_grade_and_the_largest_effect_comes_first():
    reasons = (
        Reason("note", Grade.USE, 0.9),
        Reason("unknown"),
        Reason("small", size=0.1),
        Reason("large", size=-0.2),
        Reason("wrong", Grade.DO_NOT_USE),
    )
    assert [each.text for each in ranked(reasons)] == ["wrong", "large", "small", "unknown", "note"]
    assert verdict(reasons) is Grade.DO_NOT_USE
    assert verdict(reasons[1:3]) is Grade.CARE
    assert verdict(reasons[:1]) is verdict(()) is Grade.USE


def test_a_reason_says_its_grade_and_size_before_its_text():
    assert str(Reason("networks disagree", size=-0.123)) == "care, 0.12 dex: networks disagree"
    assert str(Reason("h is not used", Grade.USE)) == "note: h is not used"


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_prior_s_end_moves_a_median_by_what_an_exponential_beyond_it_would(mirrored):
    slope, end = 8.0, GRID[-1]  # [1/dex]
    rise = np.exp(-slope * (GRID - 15.2)) / (1 + np.exp(-40 * (GRID - 15.2)))
    density = rise[::-1] if mirrored else rise
    posterior = MassPosteriors.from_log_prob(GRID, np.log(density)[None])
    wide = np.linspace(13.0, end + 3, 560)  # the same function, not cut off
    whole = MassPosteriors.from_log_prob(
        wide, -slope * (wide - 15.2)[None] - np.log1p(np.exp(-40 * (wide - 15.2)))[None]
    )
    expected = whole.quantile(0.5)[0] - MassPosteriors.from_log_prob(GRID, np.log(rise)[None]).quantile(0.5)[0]
    found = _cut_off(posterior, at_high=not mirrored)
    assert found is not None
    assert found == pytest.approx(-expected if mirrored else expected, abs=1e-3)  # grids of .01 dex


def test_a_posterior_that_rises_to_the_prior_s_end_is_only_a_limit():
    rising = truncnorm((13 - 15.7) / 0.2, (15.6 - 15.7) / 0.2, 15.7, 0.2)
    assert _cut_off(MassPosteriors.from_log_prob(GRID, rising.logpdf(GRID)[None]), at_high=True) is None
