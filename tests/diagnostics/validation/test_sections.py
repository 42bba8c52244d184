"""What a validation says of an estimator, and the command that writes it down."""

import numpy as np
import pytest

from clustermocks import FlatMasses, HaloMassFunction, HaloModel
from sbi_clustermass.baselines import Constant, MSigma
from sbi_clustermass.cli.main import main
from sbi_clustermass.diagnostics.validation import Validation
from sbi_clustermass.estimator.run_report import sections_of_run
from sbi_clustermass.report import load_sections

MASSES = HaloMassFunction(low=12.8, high=15.6)
pytestmark = pytest.mark.usefixtures("small_forests")


@pytest.fixture(scope="module")
def test_set():
    return HaloModel().simulate(MASSES.draw(300, seed=8), seed=88)


@pytest.fixture(scope="module")
def held_out():
    return HaloModel().simulate(FlatMasses(13.0, 15.6).draw(1800, seed=9), seed=99)


def test_marks_stand_only_under_the_prior_that_the_test_masses_have(estimator, test_set):
    as_trained = HaloModel().simulate(FlatMasses(13.0, 15.6).draw(300, seed=9), seed=99)
    flat = Validation({"small": estimator}, as_trained).sections()
    steep = Validation({"small": estimator}, test_set, MASSES).sections()
    assert [section.title for section in flat] == [section.title for section in steep]
    assert all("mark" in table.header for table in flat[1].tables[:2])
    reweighted, published = steep[1].tables[0], steep[1].tables[-2]
    assert "mark" in reweighted.header
    assert "mark" not in published.header
    assert "published protocol" in published.title
    for section in (flat[1], steep[1]):
        failed = [row[0] for row in section.tables[0].rows if "fails" in row]
        assert bool(failed) == bool(section.warnings)
        assert all(level in section.warnings[0] for level in failed)
    assert [row[1] for row in steep[0].tables[0].rows] in (["as trained", "test set's"], ["test set's", "as trained"])


def test_test_clusters_outside_the_support_are_left_out_for_every_method(estimator, mocks, test_set):
    found = Validation({"small": estimator}, test_set, MASSES, mocks, {"constant": Constant()})
    inside = (test_set.log10_mass >= 13.0) & (test_set.log10_mass <= 15.6)
    assert 0 < inside.sum() < len(test_set)
    assert len(found.clusters()) == inside.sum()
    assert {len(each.prediction.log10_mass) for each in found.results()} == {inside.sum()}
    low = test_set.select(~inside)
    with pytest.raises(ValueError, match="estimator's support"):
        Validation({"small": estimator}, low).clusters()
    with pytest.raises(ValueError, match="in the training and in the test set"):
        Validation({"small": estimator}, mocks, None, mocks).clusters()


def test_rivals_are_fitted_to_the_training_mocks_only(estimator, mocks, test_set):
    rivals = {"m_sigma": MSigma(), "constant": Constant()}
    found = {each.name: each for each in Validation({}, test_set, MASSES, mocks, rivals).results()}
    predicted = found["constant"].prediction.log10_mass
    np.testing.assert_allclose(predicted, mocks.log10_mass.mean())
    assert found["m_sigma"].scores.scatter.value > found["constant"].scores.scatter.value  # the published straw man


@pytest.mark.parametrize("trusted", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_command_writes_what_the_report_shows(model, mocks, test_set, request, tmp_path, capsys, trusted):
    given, catalogues = [], {"test": test_set, "mocks": mocks}
    if trusted:
        catalogues["held-out"] = request.getfixturevalue("held_out")
    for option, catalogue in catalogues.items():
        catalogue.to_parquet(tmp_path / f"{option}.parquet")
        given += [f"--{option}", str(tmp_path / f"{option}.parquet")]
    run = tmp_path / "run"
    run.mkdir()
    for file in model.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    out = ["--out", str(run / "validation"), "--drawn", "mass-function", "--baselines", "m_sigma,richness_prior"]
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(run), *given, *out])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "richness_prior" in said
    assert "results.md" in said
    sections = load_sections(run / "validation")
    titles = [section.title for section in sections]
    assert titles[0] == "Flows and their rivals, on the same clusters"
    assert (titles[-1] == "When not to trust run") == trusted
    assert sections[0].commands[0].startswith("clustermass")
    assert not trusted or sections[-1].tables[0].rows[0][0].startswith("held-out mocks")
    assert [title for title in (each.title for each in sections_of_run(run)) if title in titles] == titles


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--drawn", "massfunction"], "Did you mean 'mass-function'"),
        (["--mocks", "{mocks}", "--baselines", "m_sgima"], "Did you mean 'm_sigma'"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(model, mocks, tmp_path, capsys, options, message):
    mocks.to_parquet(tmp_path / "mocks.parquet")
    path = str(tmp_path / "mocks.parquet")
    given = [option.format(mocks=path) for option in options]
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(model), "--test", path, "--out", str(tmp_path / "out"), *given])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
