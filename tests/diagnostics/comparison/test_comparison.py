"""The comparison of flows and embeddings, held against posteriors whose score is known."""

import json
import runpy
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.stats import norm

from clustermocks import Catalogue, FlatMasses, SphericalJeans
from sbi_clustermass import KDEImage, MassEstimator, MassPosteriors, StackedAffine, Training
from sbi_clustermass.cli.main import main
from sbi_clustermass.diagnostics import Measured
from sbi_clustermass.diagnostics.comparison import Comparison, ComparisonSetup, Entry, Failure, compare
from sbi_clustermass.diagnostics.comparison.plots import comparison
from sbi_clustermass.diagnostics.comparison.score import PosteriorScore, log_prob_of_truth
from tests.paths import ROOT

QUICK = Training(max_updates=20, validate_every=10, seed=3)
SMALL = StackedAffine(hidden=(8,))
YARDSTICK = ROOT / "benchmarks" / "yardstick.py"


@dataclass(frozen=True)
class Broken(StackedAffine):
    def __call__(self, theta, x):
        raise RuntimeError("no such thing as a free lunch")


@pytest.fixture(scope="module")
def setup():
    model = SphericalJeans(richness="independent")
    return ComparisonSetup.from_jeans(model, 400, training=QUICK)


@pytest.fixture(scope="module")
def small():
    return KDEImage(bins=6)


def normal(name, log10_mass, std, *, shift=0.0):
    """The entry of posteriors N(truth + a known noise + shift, std^2)."""
    grid = np.linspace(13.0, 16.0, 601)
    mean = log10_mass + shift + std * np.random.default_rng(1).standard_normal(len(log10_mass))
    return Entry(
        name,
        "kde",
        PosteriorScore.from_posteriors(MassPosteriors.from_normal(mean, std, grid), log10_mass),
        10,
        100,
        2.0,
        1e-3,
    )


def test_the_score_of_gaussian_posteriors_is_the_one_in_closed_form():
    masses = np.random.default_rng(2).uniform(14, 15, 4000)
    score = normal("a", masses, 0.1).score
    # E log N(x; mu, s^2) = -log s - log(2 pi e) / 2; error 1 / sqrt(2 n) = .011, four of them
    assert score.log_prob.mean() == pytest.approx(-np.log(0.1) - 0.5 * np.log(2 * np.pi * np.e), abs=0.045)
    assert score.residual_scatter.value == pytest.approx(0.1, rel=0.05)
    assert abs(score.coverage_error.value) < 4 * score.coverage_error.error


def test_rows_rank_by_log_likelihood_and_differences_are_paired():
    masses = np.random.default_rng(2).uniform(14, 15, 500)
    best, biased = normal("best", masses, 0.1), normal("biased", masses, 0.1, shift=0.1)
    rows = Comparison((biased, Failure("bad", "kde", "why"), best), exact=best.score).rows
    assert [row.entry.flow for row in rows] == ["best", "biased"]
    assert rows[0].below_best == Measured(0.0, 0.0)
    # the same noise in both: log q differs by 1/2 + noise, so that its deviation is 1 and not that of log q
    assert rows[1].below_best.value == pytest.approx(0.5, abs=4 / np.sqrt(500))
    assert rows[1].below_best.error == pytest.approx(1 / np.sqrt(500), rel=0.2)
    assert rows[1].gap == rows[1].below_best


def test_the_log_density_of_the_truth_is_that_of_a_fine_grid(setup, small):
    found = compare(replace(setup, members=2), {"a": SMALL}, {"kde": small}).results[0]
    assert isinstance(found, Entry)
    assert found.updates == 40
    estimator = _trained(setup, small, members=2)
    masses = setup.test_set.log10_mass
    posteriors = estimator.posterior(setup.test_set, grid=np.linspace(*setup.support, 4001))
    # linear between points: (.00045 / sigma)^2 / 8 = 1e-5 at sigma = .05
    np.testing.assert_allclose(
        log_prob_of_truth(estimator, setup.test_set),
        PosteriorScore.from_posteriors(posteriors, masses).log_prob,
        atol=1e-3,
    )
    np.testing.assert_allclose(found.score.log_prob, log_prob_of_truth(estimator, setup.test_set), atol=1e-6)


def _trained(setup, embedding, *, members):
    from sbi_clustermass import train

    flow = replace(SMALL, embedding=embedding)
    return train(setup.train_set, flow=flow, support=setup.support, training=QUICK, members=members, device="cpu")


def test_no_posterior_beats_the_exact_one_and_its_coverage_is_right(setup, small):
    found = compare(setup, {"a": SMALL}, {"kde": small})
    assert found.exact is not None
    gap, share = found.rows[0].gap, found.exact.coverage_error
    assert gap is not None
    assert gap.value > 3 * gap.error  # 20 updates
    assert abs(share.value) < 4 * share.error
    assert found.exact.residual_scatter.value < found.rows[0].entry.score.residual_scatter.value


def test_exactly_the_clusters_asked_for_and_the_exact_posterior_is_calibrated_where_a_cut_bites():
    setup = ComparisonSetup.from_jeans(SphericalJeans(), 600, training=QUICK)
    assert (len(setup.train_set), len(setup.test_set)) == (450, 150)
    assert len(setup.test_set.attempted()[0]) > 600
    # half of the lowest masses fail the cut of ten galaxies: a posterior that forgot it would be off at that end
    pit = setup.exact.pit(setup.test_set.log10_mass)
    assert abs(pit.mean() - 0.5) < 4 / np.sqrt(12 * 150)
    assert norm.ppf(np.clip(pit, 1e-6, 1 - 1e-6)).std() == pytest.approx(1, abs=4 / np.sqrt(300))


def test_what_fails_has_a_row_with_its_reason_and_the_rest_goes_on(setup, small):
    found = compare(setup, {"broken": Broken(), "fine": SMALL}, {"kde": small})
    assert [row.entry.name for row in found.rows] == ["fine+kde"]
    assert [failure.name for failure in found.failures] == ["broken+kde"]
    assert "RuntimeError: no such thing as a free lunch" in found.markdown()
    table = found.as_table()
    assert table["failed"][1] == "RuntimeError: no such thing as a free lunch"
    assert np.isnan(table["log_prob"][1])
    assert table["residual_scatter"].unit == "dex"


def test_what_is_done_is_read_back_and_not_trained_again_unless_something_changed(setup, small, tmp_path):
    first = compare(setup, {"a": SMALL}, {"kde": small}, folder=tmp_path)
    again = compare(setup, {"a": SMALL}, {"kde": small}, folder=tmp_path)
    assert again.rows[0].entry.training_seconds == first.rows[0].entry.training_seconds
    np.testing.assert_array_equal(again.rows[0].entry.score.log_prob, first.rows[0].entry.score.log_prob)
    other = compare(setup.with_training(replace(QUICK, max_updates=30)), {"a": SMALL}, {"kde": small}, folder=tmp_path)
    assert other.rows[0].entry.updates == 30
    flow = compare(
        setup.with_training(replace(QUICK, max_updates=30)),
        {"a": replace(SMALL, blocks=1)},
        {"kde": small},
        folder=tmp_path,
    )
    assert flow.rows[0].entry.weights < other.rows[0].entry.weights
    assert len(MassEstimator.load(tmp_path / "a+kde").posterior(setup.test_set)) == 100


def test_the_table_in_text_and_in_numbers_say_the_same(setup, small, tmp_path):
    from astropy.table import Table

    found = compare(setup, {"a": SMALL}, {"kde": small})
    found.write(tmp_path)
    table, text = Table.read(tmp_path / "comparison.ecsv"), (tmp_path / "comparison.md").read_text()
    gap = found.rows[0].gap
    assert table["gap"][0] == gap.value
    assert str(gap) in text
    lines = [line for line in text.splitlines() if line]
    assert len({len(line) for line in lines}) == 1
    assert "exact posterior" in lines[2]
    assert table["rule"][0] == "0.0001 x 100, 200"


def test_the_picture_shows_each_combination_at_its_gap(setup, small):
    found = compare(setup, {"a": SMALL, "b": replace(SMALL, blocks=1)}, {"kde": small})
    axes = comparison(found).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [row.entry.name for row in found.rows[::-1]]
    points = np.asarray(axes.lines[0].get_xdata(), float)
    np.testing.assert_allclose(points, [row.gap.value for row in found.rows[::-1]])


def test_a_setup_that_would_mislead_is_refused(setup):
    with pytest.raises(ValueError, match="training and in the test set"):
        replace(setup, test_set=setup.train_set, exact=None)
    with pytest.raises(ValueError, match="prior's support"):
        replace(setup, support=(14.0, 15.0))
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(setup, {}, {"kde": KDEImage()})


def test_the_command_prints_and_writes_one_table(tmp_path, capsys):
    main_quietly("--jeans independent --n 240 --flows stacked_affine --embeddings summary --max-updates 20", tmp_path)
    assert "| stacked_affine+summary |" in capsys.readouterr().out
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"comparison.md", "comparison.ecsv", "comparison.png", "stacked_affine+summary"}


def test_the_command_takes_mocks_from_a_file_and_then_knows_no_exact_posterior(tmp_path, capsys):
    model = SphericalJeans(richness="independent")
    model.simulate(FlatMasses(13.6, 15.2).draw(250, seed=1), seed=1).to_parquet(tmp_path / "mocks.parquet")
    mocks = f"--mocks {tmp_path / 'mocks.parquet'}"
    main_quietly(f"{mocks} --n 240 --flows stacked_affine --embeddings summary --max-updates 20", tmp_path / "out")
    out = capsys.readouterr().out
    assert "exact posterior" not in out
    entry = json.loads((tmp_path / "out" / "stacked_affine+summary" / "entry.json").read_text())
    again = ComparisonSetup.from_mocks(
        Catalogue.from_parquet(tmp_path / "mocks.parquet"), 240, training=Training(seed=1)
    )
    assert len(entry["score"]["log_prob"]) == len(again.test_set)
    assert len(again.train_set) + len(again.test_set) == 240


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--flows maff --jeans mass", "unknown flow 'maff'. Did you mean 'maf'?"),
        ("--embeddings kdee --jeans mass", "unknown embedding 'kdee'. Did you mean 'kde'?"),
        ("--jeans masses", "unknown jeans setting 'masses'. Did you mean 'mass'?"),
        ("", "one of --mocks FILE and --jeans SETTING"),
    ],
)
def test_a_mistake_gets_one_message(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        main(["compare", "--out", str(tmp_path), *arguments.split()])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def main_quietly(arguments, folder):
    with pytest.raises(SystemExit) as done:
        main(["compare", "--out", str(folder), "--device", "cpu", *arguments.split()])
    assert done.value.code == 0


@pytest.mark.slow
def test_the_yardstick_runs(tmp_path, monkeypatch, capsys):
    arguments = ["yardstick", "--quick", "--out", str(tmp_path), "independent", "--pairs", "stacked_affine+kde"]
    monkeypatch.setattr("sys.argv", arguments)
    runpy.run_path(str(YARDSTICK))["main"]()
    assert "independent: 600 clusters to train on, 200 for the test" in capsys.readouterr().out
