"""Posteriors of several parameters against scipy's distributions, and as other libraries read them."""

import numpy as np
import pytest
from scipy import stats

from clustermocks.haloes.cosmology import MDPL2
from sbi_clustermass import MassPosteriors, Posteriors
from sbi_clustermass.posterior.plots import corner

NAMES = ("log10_mass", "log10_c200c", "beta")
LOW, HIGH = np.array([13.0, 0.0, -1.0]), np.array([15.6, 1.5, 0.5])
MEAN = np.array([[14.2, 0.6, -0.3], [14.8, 0.9, -0.2]])
COVARIANCE = np.array([[0.01, -0.004, 0.0], [-0.004, 0.02, 0.005], [0.0, 0.005, 0.01]])
N = 20_000


@pytest.fixture(scope="module")
def posteriors():
    """Gaussians that are 5 widths away from the support's ends."""
    rng = np.random.default_rng(1)
    samples = np.stack([rng.multivariate_normal(mean, COVARIANCE, N) for mean in MEAN])
    log_prob = np.stack(
        [stats.multivariate_normal(m, COVARIANCE).logpdf(s) for m, s in zip(MEAN, samples, strict=True)]
    )
    inside = np.clip(samples, LOW, HIGH).astype(np.float32)
    return Posteriors(NAMES, inside, LOW, HIGH, ("A383", "Coma"), log_prob.astype(np.float32), np.array([0.19, 0.023]))


def test_summaries_are_those_of_the_gaussians_that_were_drawn_from(posteriors):
    width = np.sqrt(np.diag(COVARIANCE))
    error = 4 * width / np.sqrt(N)  # one in 16 000 values is farther off
    assert (np.abs(posteriors.mean - MEAN) < error).all()
    assert (np.abs(posteriors.std - width) < error).all()
    scale = np.outer(width, width)
    assert (np.abs(posteriors.covariance - COVARIANCE) < 6 * scale / np.sqrt(N)).all()  # (1 + rho^2)^.5 of scale a draw
    np.testing.assert_allclose(np.sqrt(np.einsum("cpp->cp", posteriors.covariance)), posteriors.std, rtol=1e-6)
    expected = stats.norm(MEAN, width).ppf(np.array([0.16, 0.5, 0.84])[:, None, None])
    found = posteriors.quantile([0.16, 0.5, 0.84])
    assert found.shape == (3, 2, 3)
    assert (np.abs(found - expected) < 1.6 * error).all()
    np.testing.assert_array_equal(posteriors.quantile(0.5), found[1])


def test_clusters_are_picked_as_from_mass_posteriors(posteriors):
    assert len(posteriors) == 2
    assert posteriors["Coma"].names == posteriors[1].names == posteriors[[False, True]].names == ("Coma",)
    np.testing.assert_array_equal(posteriors[::-1].column("beta"), posteriors.samples[::-1, :, 2])
    assert posteriors["Coma"].redshift == pytest.approx([0.023])
    with pytest.raises(KeyError, match=r"no cluster is named 'A384'\. Did you mean 'A383'"):
        posteriors["A384"]
    with pytest.raises(ValueError, match=r"unknown parameter 'betta'\. Did you mean 'beta'"):
        posteriors.column("betta")


def test_a_file_comes_back_as_it_was_written(posteriors, tmp_path):
    posteriors.to_parquet(tmp_path / "joint.parquet")
    back = Posteriors.from_parquet(tmp_path / "joint.parquet")
    assert (back.parameters, back.names) == (posteriors.parameters, posteriors.names)
    for name in ("samples", "low", "high", "log_prob", "redshift"):
        np.testing.assert_array_equal(getattr(back, name), getattr(posteriors, name))
        assert getattr(back, name).dtype == getattr(posteriors, name).dtype
    bare = Posteriors(NAMES, posteriors.samples, LOW, HIGH, posteriors.names)
    bare.to_parquet(tmp_path / "bare.parquet")
    assert Posteriors.from_parquet(tmp_path / "bare.parquet").log_prob is None
    assert Posteriors.from_parquet(tmp_path / "bare.parquet").redshift is None


def test_pandas_reads_the_summaries_of_a_file(posteriors, tmp_path):
    import pandas

    posteriors.to_parquet(tmp_path / "joint.parquet")
    table = pandas.read_parquet(tmp_path / "joint.parquet").set_index("name")
    assert table.loc["Coma", "beta_p50"] == pytest.approx(posteriors.quantile(0.5)[1, 2])
    assert table.loc["A383", "log10_mass_std"] == pytest.approx(posteriors.std[0, 0])
    np.testing.assert_array_equal(table.loc["Coma", "log10_c200c"], posteriors.column("log10_c200c")[1])


def test_files_of_something_else_are_refused(posteriors, tmp_path):
    path = tmp_path / "masses.parquet"
    MassPosteriors.from_normal(14.0, 0.1, np.linspace(13, 15, 16)).to_parquet(path)
    with pytest.raises(ValueError, match="not posteriors of several parameters"):
        Posteriors.from_parquet(path)
    posteriors.to_parquet(path)
    with pytest.raises(ValueError, match="not mass posteriors"):
        MassPosteriors.from_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        Posteriors.from_parquet(path)
    with pytest.raises(FileNotFoundError):
        Posteriors.from_parquet(tmp_path / "none.parquet")


def test_samples_outside_the_support_and_misshapen_ones_are_refused(posteriors):
    outside = posteriors.samples.copy()
    outside[1, 7, 2] = 0.6
    with pytest.raises(ValueError, match=r"1 samples are not finite or outside the support .* first of cluster 'Coma'"):
        Posteriors(NAMES, outside, LOW, HIGH, posteriors.names)
    with pytest.raises(ValueError, match=r"must be \(cluster, sample, parameter\)"):
        Posteriors(NAMES[:2], posteriors.samples, LOW, HIGH, posteriors.names)
    with pytest.raises(ValueError, match=r"must be \(cluster, sample, parameter\)"):
        Posteriors(NAMES, posteriors.samples, LOW, HIGH, posteriors.names, posteriors.log_prob[:, 1:])


def test_m500c_and_radii_of_each_sample_agree_with_colossus(posteriors):
    from colossus.halo.mass_defs import changeMassDefinition

    from clustermocks.haloes.cosmology import _colossus

    some = Posteriors(NAMES, posteriors.samples[:, :50], LOW, HIGH, posteriors.names, None, posteriors.redshift)
    mass, c = 10 ** some.column("log10_mass").astype(float), 10 ** some.column("log10_c200c").astype(float)
    for row, z in enumerate(some.redshift):
        with _colossus(MDPL2):
            M, R, _ = changeMassDefinition(mass[row], c[row], z, "200c", "500c")
        np.testing.assert_allclose(some.log10_m500c[row], np.log10(M), atol=1e-4)  # colossus' root is in a table
        np.testing.assert_allclose(some.radius_500c()[row] / (1 + z), R / 1e3, rtol=2e-4)
    radius = np.array([0.5, 1.0])
    closer, farther = some.enclosed_mass(radius), some.escape_velocity(radius)
    assert closer.shape == farther.shape == (2, 50, 2)
    inside_r500c = some.log10_m500c > np.log10(closer[..., 1])
    np.testing.assert_array_equal(inside_r500c, some.radius_500c() > 1.0)


def test_radii_need_a_redshift_and_a_concentration(posteriors):
    with pytest.raises(ValueError, match="need the clusters' redshifts"):
        Posteriors(NAMES, posteriors.samples, LOW, HIGH, posteriors.names).radius_500c()
    with pytest.raises(ValueError, match="unknown parameter 'log10_c200c'"):
        _ = Posteriors(NAMES[:1], posteriors.samples[..., :1], LOW[:1], HIGH[:1], posteriors.names).log10_m500c


def test_arviz_summarises_every_cluster_and_parameter(posteriors):
    import arviz

    idata = posteriors.to_arviz()
    summary = arviz.summary(idata, kind="stats", round_to="none")
    np.testing.assert_allclose(summary.loc["beta[Coma]", ["mean", "sd"]], [posteriors.mean[1, 2], posteriors.std[1, 2]])
    np.testing.assert_array_equal(idata["sample_stats"]["lp"].sel(cluster="A383")[0], posteriors.log_prob[0])


def test_getdist_finds_the_same_moments_and_knows_the_ends_of_the_support(posteriors):
    chain = posteriors.to_getdist("Coma")
    np.testing.assert_allclose(chain.getMeans()[:3], posteriors.mean[1], rtol=1e-6)
    np.testing.assert_allclose(chain.cov(NAMES), posteriors.covariance[1], rtol=1e-3)
    assert chain.getLabel() == "Coma"
    flat = np.random.default_rng(1).uniform(LOW, HIGH, (1, N, 3))
    density = Posteriors(NAMES, flat, LOW, HIGH, ("flat",)).to_getdist(0).get1DDensity("beta")
    assert density.Prob(-0.999) == pytest.approx(density.Prob(-0.25), rel=0.1)  # half of it without the ends


def test_chainconsumer_finds_the_same_moments(posteriors):
    pytest.importorskip("chainconsumer", reason="needs pandas < 3")
    chain = posteriors.to_chainconsumer("Coma")
    assert chain.data_columns == list(NAMES)
    np.testing.assert_allclose(chain.get_covariance().matrix, posteriors.covariance[1], rtol=1e-4)
    best = chain.get_max_posterior_point()
    assert best.log_posterior == pytest.approx(posteriors.log_prob[1].max())


def test_a_corner_plot_has_a_panel_for_each_pair_and_marks_the_truth(posteriors):
    figure = corner(posteriors, "Coma", truth={"log10_mass": 14.8, "beta": -0.2})
    axes = np.array(figure.axes).reshape(3, 3)
    assert [each.axison for each in axes.ravel()] == [True, False, False, True, True, False, True, True, True]
    assert axes[2, 0].get_xlim()[0] < 14.8 < axes[2, 0].get_xlim()[1]
    dashed = [[line.get_linestyle() for line in each.get_lines()].count("--") for each in axes.ravel()]
    assert dashed == [1, 0, 0, 1, 0, 0, 2, 1, 1]
