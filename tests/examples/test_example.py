"""examples/paper.py, small: it writes all results, goes on from what it kept, and its seed decides everything."""

import runpy

import numpy as np
import pytest
from kodi_ramanah_2020.experiment import FAST, PAPERS_RULE, Experiment, Size
from kodi_ramanah_2020.published import TABLE_1
from rich.console import Console

from sbi_clustermass.report import load_sections
from tests.paths import ROOT

EXAMPLES = ROOT / "examples"
FIGURES = ("figure1", "figure2", "figure4", "figure5", "figure6", "figure7", "figure9")


SIZE = Size(150, 60, 150, hidden=(16,), max_updates=20, learning_rate=1e-3)


@pytest.fixture(scope="module")
def main():
    """The example's program."""
    return runpy.run_path(str(EXAMPLES / "paper.py"))["main"]


@pytest.fixture(scope="module")
def run(main, tmp_path_factory):
    """A first run."""
    folder = tmp_path_factory.mktemp("paper")
    main(folder, SIZE, seed=1)
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


def test_every_number_of_the_paper_stands_beside_ours_with_a_reason(run):
    table = load_sections(run / "paper")[0].tables[0]
    rows = {row[1]: row for row in table.rows}
    assert all(row[2] and row[3] and row[4] for row in table.rows)
    assert rows["redshift"][2:] == ("0.117", "0.117", "the same")
    assert rows["extent and bins of the image"][2] == rows["extent and bins of the image"][3]
    assert rows["width of a mask in pixels"][2] == rows["width of a mask in pixels"][3]
    assert rows["kernel over sample covariance"][2:4] == ("0.15", "0.15")
    assert rows["noise of a dispersion of 100 galaxies [dex]"][3] == "0.092"  # 3 / (sqrt(200) ln 10)
    assert [row[1] for row in table.rows][-len(TABLE_1) :] == [f"{row.name}, log10 M200c" for row in TABLE_1]


def test_steps_lead_from_the_papers_scatter_to_our_best(run):
    table = load_sections(run / "paper")[1].tables[0]
    scatters = [float(row[2].split(" ")[0]) for row in table.rows]
    assert scatters[0] == 0.126
    changes = [float(row[3]) for row in table.rows[1:]]
    np.testing.assert_allclose(np.diff(scatters), changes, atol=1.1e-3)  # of numbers rounded to .001


def test_what_is_kept_is_used_again(run, capsys):
    experiment = Experiment(run, SIZE, 1, Console())
    contaminated, pure = experiment.sets()
    for pair in (contaminated, pure):
        name = f"{pair.kind}-0.15"
        estimator = experiment.network(name, pair.training, experiment.papers_flow(0.15), PAPERS_RULE)
        kept = experiment.sample(name, pair.kind, estimator, pair.test)
        # kept posteriors are in float32
        np.testing.assert_allclose(kept.posteriors.mean, estimator.posterior(pair.test).mean, atol=1e-5)
        assert not set(pair.training.host_id) & set(pair.test.host_id)
    assert not capsys.readouterr().out  # nothing was simulated, trained or inferred


def test_a_folder_of_another_seed_or_size_is_refused(main, run):
    with pytest.raises(ValueError, match="another size or seed"):
        main(run, SIZE, seed=2)
    with pytest.raises(ValueError, match="another size or seed"):
        main(run, FAST, seed=1)


@pytest.mark.slow
def test_the_seed_decides_everything_and_a_second_run_finds_the_same(main, run, tmp_path):
    before = (run / "results.md").read_text(encoding="utf-8")
    for folder in (run, tmp_path / "again"):
        main(folder, SIZE, seed=1)
        assert (folder / "results.md").read_text(encoding="utf-8") == before
