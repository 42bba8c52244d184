"""The effective training prior against the density that masses were really drawn from."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from clustermocks import MDPL2, Catalogue, Observation
from sbi_clustermass import mass_prior
from sbi_clustermass.posterior.prior import fit_effective_prior

SUPPORT = (13.0, 15.5)
GRID = np.linspace(*SUPPORT, 200)


def selected_catalogue(masses: np.ndarray, seed: int) -> Catalogue:
    """Clusters of 12 galaxies with probability expit(4 (m - 13.8)), else of 2, under a cut of 10."""
    rich = np.random.default_rng(seed).random(masses.size) < expit(4 * (masses - 13.8))
    counts = np.where(rich, 12, 2)
    return Catalogue.from_arrays(
        Observation(),
        MDPL2,
        clusters={"log10_mass": masses, "host_id": np.arange(masses.size)},
        galaxies={"R_proj": np.ones(counts.sum()), "v_los": np.zeros(counts.sum())},
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )


def test_masses_drawn_flat_before_the_cut_have_a_flat_prior():
    catalogue = selected_catalogue(np.random.default_rng(1).uniform(*SUPPORT, 20_000), 2)
    density = np.exp(fit_effective_prior(catalogue, SUPPORT).log_density(GRID))
    # 20 000 clusters fix a slope or curvature of the density to about 1/sqrt(20 000) = .7 %; the few at the low end
    # to ten times that
    np.testing.assert_allclose(density, 1 / 2.5, rtol=0.07)


def test_masses_made_flat_after_the_cut_have_a_prior_of_one_over_the_selection():
    catalogue = selected_catalogue(np.random.default_rng(3).uniform(*SUPPORT, 60_000), 4)
    keep = np.random.default_rng(5).random(len(catalogue)) < expit(4 * (13.3 - 13.8)) / expit(
        4 * (catalogue.log10_mass - 13.8)
    )
    flat_after = catalogue.select(keep & (catalogue.log10_mass > 13.3))
    prior = fit_effective_prior(flat_after, (13.3, 15.5))
    grid = np.linspace(13.3, 15.5, 100)
    expected = 1 / expit(4 * (grid - 13.8))
    expected /= np.trapezoid(expected, grid)
    # a polynomial of degree five follows log P to 5 %; about 5000 clusters in a dozen resolution elements add 5 %
    np.testing.assert_allclose(np.exp(prior.log_density(grid)), expected, rtol=0.15)


def test_masses_drawn_from_a_power_law_give_back_its_slope():
    u = np.random.default_rng(6).random(40_000)
    slope = -1.5 * np.log(10)
    masses = 13 + np.log1p(u * np.expm1(slope * 2.5)) / slope
    prior = fit_effective_prior(selected_catalogue(masses, 7), SUPPORT)
    fitted = np.polyfit(GRID[:120], prior.log_density(GRID[:120]), 1)[0]
    assert fitted == pytest.approx(slope, rel=0.05)  # 10 000 selected clusters within a dex: slope known to about 2 %


def test_the_density_integrates_to_one_and_is_zero_outside():
    prior = fit_effective_prior(selected_catalogue(np.random.default_rng(8).uniform(*SUPPORT, 2000), 9), SUPPORT)
    fine = np.linspace(*SUPPORT, 20_001)
    assert np.trapezoid(np.exp(prior.log_density(fine)), fine) == pytest.approx(1, abs=1e-6)
    assert prior.log_density(12.9) == -np.inf


def test_bad_supports_are_refused():
    for bad in ((15.0, 14.0), (np.nan, 15.0)):
        with pytest.raises(ValueError, match="bounds that rise"):
            mass_prior(*bad)
    with pytest.raises(ValueError, match="no cluster of the training set"):
        fit_effective_prior(selected_catalogue(np.full(20, 15.0), 1), (13.0, 14.0))


def test_a_degree_whose_fit_does_not_converge_is_left_out_with_a_warning(monkeypatch):
    catalogue = selected_catalogue(13 + 2.5 * np.random.default_rng(1).power(2, 1000), 2)
    monkeypatch.setattr(
        "sbi_clustermass.posterior.prior.minimize", lambda loss, start, **options: SimpleNamespace(x=start + 0.1)
    )
    with pytest.warns(UserWarning, match=r"degree \d could not be fitted and is left out"):
        assert fit_effective_prior(catalogue, SUPPORT).coefficients == ()
