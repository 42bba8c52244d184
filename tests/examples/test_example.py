"""examples/paper.py, small: it writes all results, goes on from what it kept, and its seed decides everything."""

import runpy

import numpy as np
import pytest

from sbi_clustermass.report import load_sections
from tests.paths import ROOT

EXAMPLES = ROOT / "examples"
FIGURES = ("figure1", "figure2", "figure4", "figure5", "figure6", "figure7", "figure9")


@pytest.fixture(scope="module")
def example():
    """The example's names, and its small size made smaller."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLES))
        names = runpy.run_path(str(EXAMPLES / "paper.py"))
    return names, names["Size"](150, 60, 150, hidden=(16,), max_updates=20, learning_rate=1e-3)


@pytest.fixture(scope="module")
def run(example, tmp_path_factory):
    """A first run."""
    names, size = example
    folder = tmp_path_factory.mktemp("paper")
    names["main"](folder, size, seed=1)
    return folder


def test_all_figures_and_tables_are_written(run):
    sections = load_sections(run / "paper")
    pictures = [picture for section in sections for picture in section.pictures]
    assert {picture.name.split("-")[0] for picture in pictures} == set(FIGURES)
    assert all((run / "paper" / f"{picture.name}.png").stat().st_size > 10_000 for picture in pictures)
    text = (run / "results.md").read_text(encoding="utf-8")
    for number in ("0.126", "0.089", "0.067", "0.058", "-0.028"):
        assert number in text
    assert "another simulator" in text
    assert (run / "report.html").stat().st_size > 100_000


def test_what_is_kept_is_used_again(example, run, capsys):
    names, size = example
    experiment = names["Experiment"](run, size, 1, names["Console"]())
    contaminated, pure = experiment.sets()
    for pair in (contaminated, pure):
        name = f"{pair.kind}-0.15"
        estimator = experiment.network(name, pair.training, 0.15, names["PAPERS_RULE"])
        kept = experiment.sample(name, pair.kind, estimator, pair.test)
        # kept posteriors are in float32
        np.testing.assert_allclose(kept.posteriors.mean, estimator.posterior(pair.test).mean, atol=1e-5)
        assert not set(pair.training.host_id) & set(pair.test.host_id)
    assert not capsys.readouterr().out  # nothing was simulated, trained or inferred


def test_a_folder_of_another_seed_or_size_is_refused(example, run):
    names, size = example
    with pytest.raises(ValueError, match="another size or seed"):
        names["main"](run, size, seed=2)
    with pytest.raises(ValueError, match="another size or seed"):
        names["main"](run, names["FAST"], seed=1)


@pytest.mark.slow
def test_the_seed_decides_everything_and_a_second_run_finds_the_same(example, run, tmp_path):
    names, size = example
    before = (run / "results.md").read_text(encoding="utf-8")
    for folder in (run, tmp_path / "again"):
        names["main"](folder, size, seed=1)
        assert (folder / "results.md").read_text(encoding="utf-8") == before
