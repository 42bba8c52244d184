"""A published folder: all of the model, a card that says what it is, and checksums that anyone can check."""

import hashlib
import json
import subprocess
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from markdown_it import MarkdownIt

from benchmarks.mocks_to_ship import drawn
from clustermocks import FlatMasses, HaloModel
from clustermocks.mocks.chunk import DRAW
from sbi_clustermass import MassEstimator
from sbi_clustermass.cli.main import main
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.estimator.hub import SHIPPED, resolve_model, shipped_note
from sbi_clustermass.estimator.hub.card_metadata import CardMetadata
from sbi_clustermass.estimator.hub.model_card import publish, render_card
from sbi_clustermass.report import Section, Table, save_sections

ABOUT = CardMetadata(
    "Clusters of *my* survey | [v1]", "A. Name <a@b.org>", "CC-BY-4.0", "Name et al. 2026", ("No groups.",)
)


def test_a_published_folder_gives_the_masses_of_the_model(model, estimator, mocks, tmp_path):
    publish(model, tmp_path / "mine", ABOUT)
    few = mocks.select(np.arange(20))
    found = MassEstimator.load(tmp_path / "mine").posterior(few)
    np.testing.assert_array_equal(found.log_prob, MassEstimator.load(model).posterior(few).log_prob)


def test_the_checksums_are_those_that_sha256sum_finds(model, tmp_path):
    publish(model, tmp_path / "mine", ABOUT)
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "mine", check=False)
    assert done.returncode == 0
    manifest = json.loads((tmp_path / "mine" / "model.json").read_text())
    for name, digest in manifest["sha256"].items():
        assert hashlib.sha256((tmp_path / "mine" / name).read_bytes()).hexdigest() == digest


def test_publishing_twice_gives_the_same_bytes(model, tmp_path):
    first = publish(model, tmp_path / "mine", ABOUT)
    before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()}
    assert publish(model, tmp_path / "mine", ABOUT) == first
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before
    assert hashlib.sha256((tmp_path / "mine.zip").read_bytes()).hexdigest() == first


def headings(markdown):
    """Text of each heading, by a Markdown parser that is not ours."""
    tokens = MarkdownIt().enable("table").parse(markdown)
    return [
        "".join(part.content for part in (inline.children or ()))
        for opening, inline in pairwise(tokens)
        if opening.type == "heading_open"
    ]


def test_the_card_says_what_a_user_must_know(estimator):
    section = Section("On fresh mocks", tables=[Table("Scores", ("mocks", "scatter"), (("mine", "0.20"),))])
    text = render_card(estimator, ABOUT, [section])
    assert headings(text)[0] == ABOUT.title
    assert {"Limits", "On fresh mocks", "Licence, and how to cite", "Versions"} <= set(headings(text))
    for said in (
        "HaloModel",
        "1 500 mock clusters",
        "CC-BY-4.0",
        "Name et al. 2026",
        "No groups.",
        "2003.05951",
        "0.20",
    ):
        assert said in text


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"]), min_size=1))
def test_no_title_turns_into_markup(estimator, title):
    text = render_card(estimator, CardMetadata(title))
    assert headings(text)[0] == title


def test_other_files_are_not_overwritten(model, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"other files, thesis\.tex"):
        publish(model, tmp_path / "mine", ABOUT)
    with pytest.raises(ValueError, match="own folder"):
        publish(model, model, ABOUT)


def test_a_model_that_cannot_be_read_is_not_published(tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(FileNotFoundError):
        publish(tmp_path / "model", tmp_path / "mine", ABOUT)
    assert not (tmp_path / "mine").exists()


def test_a_title_is_asked_for():
    with pytest.raises(ValueError, match="needs a title"):
        CardMetadata(" ")


def run(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as done:
        main(["publish", *map(str, arguments)])
    printed = capsys.readouterr()
    assert not done.value.code, printed.err
    return printed.out


def test_the_command_takes_a_validation_into_the_card(capsys, model, tmp_path):
    save_sections(tmp_path / "run", [Section("Measured", tables=[Table("Scores", ("a", "b"), (("scatter", "0.19"),))])])
    printed = run(capsys, model, tmp_path / "mine", "--title", "T", "--validation", tmp_path / "run")
    assert "0.19" in (tmp_path / "mine" / "README.md").read_text()
    digest = hashlib.sha256((tmp_path / "mine.zip").read_bytes()).hexdigest()
    assert f"mine.zip#sha256={digest}" in printed


def test_the_command_measures_on_mocks_now(capsys, model, tmp_path):
    HaloModel().simulate(FlatMasses(13.0, 15.6).draw(150, seed=7), seed=7).to_parquet(tmp_path / "mocks.parquet")
    out = tmp_path / "mine"
    run(capsys, model, out, "--mocks", tmp_path / "mocks.parquet")
    assert "scatter \\[dex\\]" in (out / "README.md").read_text()


# ---- what ships ------------------------------------------------------------------------------------------------------


def test_the_shipped_estimator_loads_is_small_and_says_what_it_assumes():
    estimator = MassEstimator.load(resolve_model(None), device="cpu")
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 1.5e6  # of mass, what follows, and memberships
    assert estimator.parameters == ("log10_mass", "log10_c200c", "beta")
    assert estimator.membership is not None
    low, high = estimator.provenance.mocks.surveys["redshift"]
    assert f"redshifts of {low} to {high}" in shipped_note()
    assert estimator.takes_conditions
    assert f"from {estimator.support[0]} to {estimator.support[1]}" in shipped_note()
    assert estimator.provenance.mocks.surveys["completeness"] == [0.1, 1.0]
    assert estimator.alarm is not None


def test_the_shipped_estimators_error_bars_are_true_on_fresh_mocks():
    estimator = MassEstimator.load(resolve_model(None), device="cpu")
    mocks = drawn(4000, seed=77, n_jobs=1)
    low, high = estimator.posterior(mocks).quantile([0.16, 0.84])
    inside = (mocks.log10_mass > low) & (mocks.log10_mass < high)
    error = mean_of(inside, mocks.column(DRAW)).error  # clusters of one survey err together
    # three standard errors, of some .015, and .02 for what the networks leave to be learnt
    assert inside.mean() == pytest.approx(0.68, abs=3 * error + 0.02)
    assert error < 0.025
