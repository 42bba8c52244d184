"""The demonstration in a smaller version: it writes the files it lists, and its folder is a model."""

import warnings
from functools import partial

import pytest
from rich.console import Console

from sbi_clustermass import MassEstimator, MassPosteriors, StackedAffine, train
from sbi_clustermass.cli import demo_chain
from sbi_clustermass.cli.demo_chain import Demo, run
from sbi_clustermass.cli.progress import console_stage


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    console = Console(record=True, width=100)
    small = partial(train, flow=StackedAffine(hidden=(64, 64)))  # the paper's widths cost ten times as much
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_chain, "train", small)
        warnings.filterwarnings("ignore", message="population fit")  # 60 clusters do not pin four parameters down
        summary = run(
            folder, Demo(n_clusters=3000, n_survey=6000, max_updates=100, draws=40, n_jobs=1), console_stage(console)
        )
    console.print(summary.table().rich())
    return folder, summary, console.export_text()


def test_every_file_is_there_and_explained(finished):
    folder, _, _ = finished
    readme = (folder / "README.md").read_text()
    for path in folder.iterdir():
        assert path.name == "README.md" or path.name in readme
    for name in ("clusters", "masses", "population", "training"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_folder_is_a_model_and_its_table_holds_posteriors(finished):
    folder, summary, _ = finished
    assert MassEstimator.load(folder, device="cpu").support == (13.0, 15.6)
    assert MassEstimator.load(folder / "survey", device="cpu").observation.min_galaxies == Demo.survey_min_galaxies
    assert len(MassPosteriors.from_parquet(folder / "masses.parquet")) == summary.n_test


def test_the_summary_is_sane_and_complete(finished):
    _, summary, printed = finished
    assert summary.residual_scatter.value < summary.inverse_scatter.value < summary.inverted_scatter.value
    assert summary.residual_scatter.value < 0.4
    assert 0.5 < summary.coverage_68.value < 0.9
    # the mass function at 10^14.3: Tinker et al. 2008 is steeper than -1.5 and shallower than -2 there
    assert -2 < summary.slope_put_in < -1.5
    assert abs(summary.slope.value - summary.slope_put_in) < 4 * summary.slope.error
    for word in ("residual mean (dex)", "residual scatter (dex)", "M-sigma", "68 %", "95 %", "slope", "put in"):
        assert word in printed
