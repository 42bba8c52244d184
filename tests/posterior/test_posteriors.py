"""MassPosteriors against scipy's distributions, quadrature and finer grids."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats
from scipy.integrate import simpson

from sbi_clustermass import MassPosteriors
from sbi_clustermass.posterior.parquet import mass_file

GRID = np.linspace(13.0, 15.6, 256)
LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)


def at_the_edge_and_inside(std, reach):
    """Centres across the grid and up to `reach` widths outside it, and the truncated normals they make."""
    mean = np.linspace(13.0 - reach * std, 15.6 + reach * std, 101)
    return mean, stats.truncnorm((13.0 - mean) / std, (15.6 - mean) / std, mean, std)


@pytest.mark.parametrize("reach", [-1, 2])
@pytest.mark.parametrize("std", [0.03, 0.05, 0.1, 0.5])
def test_truncated_normals_come_out_as_exactly_as_the_docstring_says(std, reach):
    mean, truth = at_the_edge_and_inside(std, reach)
    posteriors = MassPosteriors.from_normal(mean, std, GRID)
    np.testing.assert_allclose(posteriors.mean, truth.mean(), atol=1e-8)
    np.testing.assert_allclose(posteriors.std, truth.std(), atol=1e-8)
    np.testing.assert_allclose(posteriors.quantile(LEVELS), [truth.ppf(level) for level in LEVELS], atol=1e-4)
    masses = np.linspace(13.001, 15.599, 101)
    pit_error = 3e-4 if reach < 0 else 3e-3
    np.testing.assert_allclose(posteriors.pit(masses), truth.cdf(masses), atol=pit_error)
    np.testing.assert_allclose(posteriors.mode, np.clip(mean, 13.0, 15.6), atol=1e-9)
    log_density = truth.logpdf(GRID[:, None]).T
    seen = log_density > -100  # scipy's own logpdf loses digits farther out
    np.testing.assert_allclose(posteriors.log_likelihood()[seen] - np.log(2.6), log_density[seen], atol=1e-8)
    np.testing.assert_allclose(posteriors.log_prob_at(masses), truth.logpdf(masses), rtol=1e-7, atol=1e-7)


def log_densities(grid, width):
    """Skew, bimodal and heavy-tailed densities: nothing here is a Gaussian."""
    two = np.logaddexp(stats.norm.logpdf(grid, 13.9, width), stats.norm.logpdf(grid, 14.6, width) - 0.5)
    skew, heavy = stats.skewnorm.logpdf(grid, 4, 14.2, 2 * width), stats.t.logpdf((grid - 14.3) / width, 3)
    return np.stack([two, skew, heavy, -np.abs(grid - 13) / width])


@pytest.mark.parametrize(("width", "error"), [(0.03, 1e-4), (0.1, 1e-5), (0.3, 1e-6)])
def test_other_densities_agree_with_a_grid_ten_times_finer(width, error):
    fine = np.linspace(13.0, 15.6, 2551)
    coarse_ones, fine_ones = (MassPosteriors.from_log_prob(g, log_densities(g, width)) for g in (GRID, fine))
    for name in ("mean", "std"):
        np.testing.assert_allclose(getattr(coarse_ones, name), getattr(fine_ones, name), atol=error)
    np.testing.assert_allclose(coarse_ones.quantile(LEVELS), fine_ones.quantile(LEVELS), atol=10 * error)
    np.testing.assert_allclose(coarse_ones.log_prob, fine_ones.log_prob[:, ::10], atol=20 * error)


def test_densities_that_the_grid_does_not_resolve_are_linear_between_its_masses():
    spike, box = np.full((2, 256), -np.inf)
    spike[100], box[50:151] = 0.0, 0.0
    posteriors = MassPosteriors.from_log_prob(GRID, np.stack([spike, box]))
    step = GRID[1] - GRID[0]
    np.testing.assert_allclose(posteriors.prob[0, 100], 1 / step, rtol=1e-12)  # a triangle of two steps
    np.testing.assert_allclose(posteriors.std[0], step / np.sqrt(6), rtol=1e-9)
    np.testing.assert_allclose(posteriors.mean, [GRID[100], GRID[100]], rtol=1e-12)
    np.testing.assert_allclose(posteriors.quantile(0.125)[0], GRID[100] - step / 2, rtol=1e-12)
    trapezoid = stats.trapezoid(1 / 102, 101 / 102, GRID[49], 102 * step)
    np.testing.assert_allclose(posteriors.quantile(LEVELS)[:, 1], trapezoid.ppf(LEVELS), rtol=1e-10)
    np.testing.assert_array_equal(posteriors.mode[0], GRID[100])


@given(st.floats(12.8, 15.8), st.floats(0.01, 0.5), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_quantile_and_pit_are_inverse_to_each_other(mean, std, levels):
    posteriors = MassPosteriors.from_normal(mean, std, GRID)
    masses = posteriors.quantile(levels)
    assert ((masses >= 13.0) & (masses <= 15.6)).all()
    back = [posteriors.pit(row)[0] for row in masses]
    np.testing.assert_allclose(back, levels, atol=1e-9)  # mass of 14 holds 1e-15, densities reach 100 per dex


@settings(max_examples=25)
@given(st.floats(13.2, 15.4), st.floats(0.03, 0.5))
def test_every_posterior_integrates_to_one(mean, std):
    posterior = MassPosteriors.from_normal(mean, std, GRID)
    fine = np.linspace(13.0, 15.6, 1301)  # Simpson's rule: .002 dex are a fifteenth of the narrowest width
    density = np.exp(posterior[np.zeros(1301, int)].log_prob_at(fine))
    np.testing.assert_allclose(simpson(density, x=fine), 1, rtol=1e-5)


def test_quantiles_come_one_or_several_at_once_and_bad_levels_are_named():
    posteriors = MassPosteriors.from_normal([14.0, 14.5], 0.1, GRID)
    several = posteriors.quantile([0.16, 0.5, 0.84])
    assert several.shape == (3, 2)
    np.testing.assert_array_equal(several[1], posteriors.quantile(0.5))
    for bad in (68, [0.5, -0.1], np.nan):
        with pytest.raises(ValueError, match=r"from 0 to 1; found (68|-0\.1|nan)"):
            posteriors.quantile(bad)


def test_samples_follow_the_posterior():
    posteriors = MassPosteriors.from_normal([14.0, 14.9, 12.95], [0.1, 0.1, 0.2], GRID)
    samples = posteriors.sample(20_000, seed=1)
    assert samples.shape == (3, 20_000)
    truths = (stats.norm(14.0, 0.1), stats.norm(14.9, 0.1), stats.truncnorm(0.25, 99, 12.95, 0.2))
    for row, truth in zip(samples, truths, strict=True):
        assert stats.kstest(row, truth.cdf).pvalue > 1e-3  # one of the three fails once in 300 seeds


def test_coarse_samples_are_those_of_a_linear_density():
    """On five masses a piecewise-constant density is off by .05 in its distribution, 14 times what 20 000 draws see."""
    ramp = MassPosteriors.from_log_prob(np.linspace(13, 15, 3), np.array([[-np.inf, 0.0, -np.inf]]))
    sample = ramp.sample(20_000, seed=2)[0]
    assert stats.kstest(sample, stats.triang(0.5, 13, 2).cdf).pvalue > 1e-3  # fails once in 1000 seeds


def test_highest_density_regions_of_gaussians_are_central_and_cut_off_at_the_edge():
    posteriors = MassPosteriors.from_normal([14.2, 12.9], [0.1, 0.2], GRID)
    (inside,), (cut,) = posteriors.hdr(0.9)
    np.testing.assert_allclose(inside, stats.norm.interval(0.9, 14.2, 0.1), atol=5e-4)  # density linear in a cell
    truth = stats.truncnorm(0.5, 99, 12.9, 0.2)
    np.testing.assert_allclose(cut, [13.0, truth.ppf(0.9)], atol=5e-4)


def test_highest_density_regions_of_two_modes_are_two_intervals_of_equal_density():
    log_prob = np.logaddexp(stats.norm.logpdf(GRID, 13.8, 0.05), stats.norm.logpdf(GRID, 14.8, 0.1))
    posterior = MassPosteriors.from_log_prob(GRID, np.stack([log_prob, stats.norm.logpdf(GRID, 14.0, 0.1)]))
    two, one = posterior.hdr(0.8)
    assert two.shape == (2, 2)
    assert one.shape == (1, 2)
    ends = two.ravel()
    first = posterior[0]
    np.testing.assert_allclose([first.log_prob_at(end)[0] for end in ends], first.log_prob_at(ends[0])[0], atol=0.02)
    held = sum(first.pit(high)[0] - first.pit(low)[0] for low, high in two)
    np.testing.assert_allclose(held, 0.8, atol=1e-6)
    np.testing.assert_allclose([first.hdr_level(end)[0] for end in ends], 0.8, atol=1e-6)
    assert (two[:, 1] - two[:, 0]).sum() < np.diff(first.quantile([0.1, 0.9])[:, 0])[0]


@settings(max_examples=25)
@given(st.floats(0.05, 0.95))
def test_regions_hold_what_they_promise_for_any_density(level):
    posteriors = MassPosteriors.from_log_prob(GRID, log_densities(GRID, 0.1))
    for i, intervals in enumerate(posteriors.hdr(level)):
        held = sum(posteriors[i].pit(high)[0] - posteriors[i].pit(low)[0] for low, high in intervals)
        np.testing.assert_allclose(held, level, atol=1e-6)


def test_a_flat_posterior_is_its_own_highest_density_region():
    flat = MassPosteriors.from_log_prob(GRID, np.zeros((1, 256)))
    np.testing.assert_array_equal(flat.hdr(0.5)[0], [[13.0, 15.6]])
    np.testing.assert_allclose(flat.hdr_level(14.0), 1)


def test_levels_of_regions_are_uniform_over_calibrated_clusters():
    rng = np.random.default_rng(3)
    truth = rng.uniform(13.0, 15.6, 2000)
    observed = truth + rng.normal(0, 0.15, 2000)
    posteriors = MassPosteriors.from_normal(observed, 0.15, GRID)
    assert stats.kstest(posteriors.hdr_level(truth), "uniform").pvalue > 1e-3  # fails once in 1000 seeds
    assert posteriors.hdr_level(12.0)[0] == 1


def test_a_mixture_is_the_weighted_sum_of_its_members():
    members = [MassPosteriors.from_normal([m, 14.0], 0.1, GRID) for m in (13.9, 14.4)]
    mixed = MassPosteriors.mixture(members, [3, 1])
    np.testing.assert_allclose(mixed.prob, 0.75 * members[0].prob + 0.25 * members[1].prob, rtol=1e-9, atol=1e-12)
    within = 0.75 * members[0].std ** 2 + 0.25 * members[1].std ** 2
    np.testing.assert_allclose(mixed.std**2, within + mixed.epistemic_std**2, rtol=1e-5)  # law of total variance
    np.testing.assert_allclose(mixed.epistemic_std, [0.5 * np.sqrt(3 / 16), 0], atol=1e-9)
    np.testing.assert_array_equal(mixed[[1]].epistemic_std, mixed.epistemic_std[1:])
    alone = MassPosteriors.mixture(members, [0, 1])
    np.testing.assert_allclose(alone.log_prob, members[1].log_prob, atol=1e-9)


def test_members_that_do_not_belong_together_are_refused():
    one = MassPosteriors.from_normal([14.0], 0.1, GRID)
    others = {
        "another grid": MassPosteriors.from_normal([14.0], 0.1, GRID[:-1]),
        "other clusters": MassPosteriors.from_normal([14.0, 14.1], 0.1, GRID),
        "another effective prior": one.with_prior(-2 * GRID),
    }
    for message, other in others.items():
        with pytest.raises(ValueError, match=message):
            MassPosteriors.mixture([one, other])
    with pytest.raises(ValueError, match="at least one"):
        MassPosteriors.mixture([])
    for weights in ([1], [1, -1], [0, 0], [np.inf, 1]):
        with pytest.raises(ValueError, match="weights"):
            MassPosteriors.mixture([one, one], weights)


def test_rows_are_found_by_name_position_slice_and_mask():
    log_prob = stats.norm.logpdf(GRID, np.array([[14.0], [14.2], [14.4]]), 0.1)
    posteriors = MassPosteriors.from_log_prob(GRID, log_prob, names=("Coma", "A119", "A85"))
    for which in ("A119", 1, -2, ["A119"], [1], slice(1, 2), np.array([False, True, False]), np.int64(1)):
        found = posteriors[which]
        assert found.names == ("A119",)
        np.testing.assert_allclose(found.mean, 14.2, atol=1e-9)
    assert posteriors[["A85", "Coma"]].names == ("A85", "Coma")
    assert len(posteriors[[]]) == 0
    assert [each.names[0] for each in posteriors] == ["Coma", "A119", "A85"]


@pytest.mark.parametrize(
    ("which", "kind", "message"),
    [
        ("A118", KeyError, "Did you mean 'A119'"),
        (3, IndexError, "no cluster at position 3: there are 2"),
        ([0, -3], IndexError, "no cluster at position -3"),
        ([True], IndexError, "mask of 1 values cannot pick from 2"),
        (1.0, IndexError, "float64"),
        ([[0]], IndexError, r"shape \(1, 1\)"),
    ],
)
def test_an_index_that_finds_nothing_says_why(which, kind, message):
    posteriors = MassPosteriors.from_log_prob(GRID, np.zeros((2, 256)), names=("Coma", "A119"))
    with pytest.raises(kind, match=message):
        posteriors[which]


def test_masses_that_are_not_one_a_cluster_are_refused():
    posteriors = MassPosteriors.from_normal([14.0, 14.1], 0.1, GRID)
    for ask in (posteriors.pit, posteriors.hdr_level, posteriors.log_prob_at):
        with pytest.raises(ValueError, match=r"2 clusters.*shape \(3,\)"):
            ask([14.0, 14.1, 14.2])
    np.testing.assert_array_equal(posteriors.log_prob_at([12.9, 15.7]), -np.inf)
    np.testing.assert_array_equal(posteriors.pit([12.9, 15.7]), [0, 1])


def test_likelihood_does_not_depend_on_the_prior_that_was_trained_with():
    likelihood = -0.5 * ((GRID - 14.3) / 0.15) ** 2
    steep = np.log(np.exp(-3 * (GRID - 13)))
    flat, tilted = (
        MassPosteriors.from_log_prob(GRID, (likelihood + prior)[None], log_prior=prior)
        for prior in (np.zeros_like(GRID), steep)
    )
    difference = flat.log_likelihood() - tilted.log_likelihood()
    np.testing.assert_allclose(difference, difference[:, :1] * np.ones_like(GRID), atol=1e-9)
    np.testing.assert_allclose(flat.with_prior(steep).log_prob, tilted.log_prob, atol=1e-9)


def test_parquet_gives_back_the_same_posteriors(tmp_path):
    posteriors = MassPosteriors.from_normal([14.0, 14.9, 13.4], [0.1, 0.2, 0.3], GRID)[[2, 0]]
    posteriors.to_parquet(tmp_path / "masses.parquet")
    again = MassPosteriors.from_parquet(tmp_path / "masses.parquet")
    assert again.names == posteriors.names == ("2", "0")
    np.testing.assert_array_equal(again.grid, GRID)
    np.testing.assert_allclose(again.log_prob, posteriors.log_prob, rtol=1e-6, atol=1e-5)  # stored as float32
    assert again.epistemic_std is None
    MassPosteriors.mixture([posteriors, posteriors[[0, 1]]]).to_parquet(tmp_path / "mixed.parquet")
    np.testing.assert_array_equal(MassPosteriors.from_parquet(tmp_path / "mixed.parquet").epistemic_std, 0)
    np.testing.assert_allclose(pq.read_table(tmp_path / "masses.parquet")["log10_mass_mean"], posteriors.mean)


def test_a_file_written_part_by_part_is_that_of_the_whole_with_the_mean_leakage(tmp_path):
    posteriors = MassPosteriors.from_normal([14.0, 14.9, 13.4], [0.1, 0.2, 0.3], GRID)
    with mass_file(tmp_path / "parts.parquet") as add:
        add(replace(posteriors[[0, 1]], leakage=0.3).rows())
        add(posteriors[[2]].rows())
    found = MassPosteriors.from_parquet(tmp_path / "parts.parquet")
    posteriors.to_parquet(tmp_path / "whole.parquet")
    np.testing.assert_array_equal(found.log_prob, MassPosteriors.from_parquet(tmp_path / "whole.parquet").log_prob)
    assert found.names == posteriors.names
    assert found.leakage == pytest.approx(0.2)


def test_a_file_without_clusters_is_read_as_such(tmp_path):
    posteriors = MassPosteriors.from_normal([14.0], [0.1], GRID)[[]]
    posteriors.to_parquet(tmp_path / "none.parquet")
    found = MassPosteriors.from_parquet(tmp_path / "none.parquet")
    assert len(found) == found.leakage == 0
    np.testing.assert_array_equal(found.grid, GRID)


def test_parts_of_other_masses_or_another_prior_leave_no_file(tmp_path):
    posteriors = MassPosteriors.from_normal([14.0], [0.1], GRID)
    for other in (posteriors.with_prior(-GRID), MassPosteriors.from_normal([14.0], [0.1], GRID[1:])):
        with suppress(ValueError), mass_file(tmp_path / "x.parquet") as add:
            add(posteriors.rows())
            with pytest.raises(ValueError, match="differ in"):
                add(other.rows())
            raise ValueError("as add did")
    assert not list(tmp_path.iterdir())


def test_foreign_and_damaged_files_say_what_they_are(tmp_path):
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    (tmp_path / "junk.parquet").write_bytes(b"PAR1 not really")
    for name, message in (("other", "not mass posteriors"), ("junk", "damaged")):
        with pytest.raises(ValueError, match=message):
            MassPosteriors.from_parquet(tmp_path / f"{name}.parquet")
    with pytest.raises(FileNotFoundError):
        MassPosteriors.from_parquet(tmp_path / "none.parquet")


def test_posteriors_that_are_zero_everywhere_or_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="zero on the whole grid"):
        MassPosteriors.from_log_prob(GRID, np.full((1, 256), -np.inf))
    with pytest.raises(ValueError, match="must be"):
        MassPosteriors(GRID, np.zeros((2, 255)), np.zeros(256), ("a", "b"))
    with pytest.raises(ValueError, match="an error that is not positive"):
        MassPosteriors.from_normal([14.0], [0.0], GRID)
