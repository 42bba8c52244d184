"""Eq. 8 fitted to estimates whose scatter is known, because it was put in."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from kodi_ramanah_2020.shot_noise import PIVOT_MASS, dispersion_noise, fit_shot_noise
from scipy import stats

SIGMA_N, SIGMA_0, OFFSET, SLOPE = 0.12, 0.06, 0.05, 0.9


def estimates(n, seed, *, sigma_0=SIGMA_0, lines=1):
    """Estimates, true masses, numbers of members and hosts; lines of sight of one host share all of its error."""
    rng = np.random.default_rng(seed)
    true, members = rng.uniform(13.5, 15.3, n), np.round(10 ** rng.uniform(1, 2.7, n)).astype(int)
    noise = np.sqrt(SIGMA_N**2 * 100 / members + sigma_0**2) * rng.standard_normal(n)
    estimated = PIVOT_MASS + OFFSET + SLOPE * (true - PIVOT_MASS + noise)
    return [np.repeat(each, lines) for each in (estimated, true, members, np.arange(n))]


def test_the_fit_recovers_what_was_put_in_with_honest_errors():
    fits = [fit_shot_noise(*estimates(800, seed)[:3]) for seed in range(150)]
    for name, truth in (("sigma_N", SIGMA_N), ("sigma_0", SIGMA_0), ("offset", OFFSET), ("slope", SLOPE)):
        values = np.array([getattr(fit, name).value for fit in fits])
        errors = np.array([getattr(fit, name).error for fit in fits])
        # maximum likelihood is biased by a fraction of its error over sqrt(n); four errors of the mean of 150
        assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(150), name
        # 150 repeats fix a standard deviation to 6 %; three of those
        assert errors.mean() == pytest.approx(values.std(), rel=0.18), name


def test_no_other_parameters_are_likelier():
    estimated, true, members, _ = estimates(400, 3)
    fit = fit_shot_noise(estimated, true, members)

    def log_likelihood(sigma_N, sigma_0, offset, slope):
        std = slope * np.sqrt(sigma_N**2 * 100 / members + sigma_0**2)
        return stats.norm.logpdf(estimated, PIVOT_MASS + offset + slope * (true - PIVOT_MASS), std).sum()

    best = np.array([fit.sigma_N.value, fit.sigma_0.value, fit.offset.value, fit.slope.value])
    errors = np.array([fit.sigma_N.error, fit.sigma_0.error, fit.offset.error, fit.slope.error])
    most = log_likelihood(*best)
    for i, size in enumerate(errors):
        for step in (-0.1 * size, 0.1 * size):
            assert log_likelihood(*(best + step * (np.arange(4) == i))) < most


def test_errors_count_hosts_and_not_lines_of_sight():
    estimated, true, members, hosts = estimates(600, 4, lines=3)
    apart, together = (fit_shot_noise(estimated, true, members, host_id=each) for each in (None, hosts))
    for name in ("sigma_N", "sigma_0", "offset", "slope"):
        # three identical copies are one draw: sqrt(3), but for the curvature of the root
        ratio = getattr(together, name).error / getattr(apart, name).error
        assert ratio == pytest.approx(np.sqrt(3), rel=0.05), name
        assert getattr(together, name).value == getattr(apart, name).value


@settings(max_examples=25)
@given(stretch=st.floats(0.2, 3), shift=st.floats(-0.5, 0.5))
def test_to_stretch_or_shift_the_estimates_changes_nothing(stretch, shift):
    estimated, true, members, _ = estimates(300, 5)
    plain, other = (fit_shot_noise(each, true, members) for each in (estimated, shift + stretch * estimated))
    for name in ("sigma_N", "sigma_0"):
        # the optimiser stops where the likelihood is flat to 1e-14
        assert getattr(other, name).value == pytest.approx(getattr(plain, name).value, abs=1e-5)
    assert other.slope.value == pytest.approx(stretch * plain.slope.value, rel=1e-5)


def test_without_a_floor_none_is_found_and_its_error_is_a_number():
    fit = fit_shot_noise(*estimates(3000, 6, sigma_0=0.0)[:3])
    assert 0 < fit.sigma_0.error < 0.05
    assert fit.sigma_0.value < 3 * fit.sigma_0.error  # of its own size where the floor is at the bound


def test_the_power_law_reads_true_masses_back_without_bias():
    estimated, true, members, _ = estimates(4000, 7)
    fit = fit_shot_noise(estimated, true, members)
    off = fit.read(estimated) - true
    assert abs(off.mean()) < 4 * off.std() / np.sqrt(4000)
    rich = members > 300
    expected = fit.scatter(members[rich]).mean()
    assert off[rich].std() == pytest.approx(expected, rel=0.1)  # 640 clusters fix a scatter to 3 %


def test_noise_of_a_dispersion_is_that_of_drawn_velocities():
    rng = np.random.default_rng(8)
    # known centre: N velocities, N degrees of freedom
    log10_mass = 3 * np.log10(np.sqrt(np.mean(rng.standard_normal((20_000, 100)) ** 2, axis=1)))
    # 20 000 draws fix it to .5 %; the formula is the first order in 1/N
    assert log10_mass.std() == pytest.approx(float(dispersion_noise(100)), rel=0.02)
    assert round(float(dispersion_noise(100)), 2) == 0.09  # as the paper has it


def test_clusters_without_an_estimate_or_members_are_left_out():
    estimated, true, members, _ = estimates(200, 9)
    estimated[:20], members[20:30] = np.nan, 0
    fit, rest = fit_shot_noise(estimated, true, members), fit_shot_noise(estimated[30:], true[30:], members[30:])
    assert fit == rest
    assert fit.n_clusters == 170


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e, t, n: (e[:9], t[:9], n[:9]), "9 clusters"),
        (lambda e, t, n: (e, np.full_like(t, 14.0), n), "different masses"),
        (lambda e, t, n: (e, t, np.full_like(n, 50)), "different masses"),
        (lambda e, t, n: (np.full_like(e, 14.2), t, n), "do not rise with mass"),
        (lambda e, t, n: (28 - e, t, n), "do not rise with mass"),
    ],
)
def test_what_cannot_be_fitted_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit_shot_noise(*change(*estimates(200, 10)[:3]))
