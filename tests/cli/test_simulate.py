"""`clustermass simulate` writes the catalogue of each preset."""

import pytest

from clustermocks import Catalogue, SurveyPrior
from sbi_clustermass.cli.main import main


@pytest.mark.parametrize("masses", ["flat", "power-law", "mass-function"])
def test_a_folder_is_extended_by_a_larger_number_and_by_nothing_else(masses, tmp_path, capsys):
    def simulate(folder, n, *more):
        with pytest.raises(SystemExit) as exit_:
            main(["simulate", f"{tmp_path / folder}/", "--n", str(n), "--masses", masses, "--low", "14", "-j1", *more])
        return exit_.value.code, capsys.readouterr()

    assert simulate("grown", 40)[0] == 0
    assert simulate("grown", 60)[0] == simulate("whole", 60)[0] == 0
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "grown" / path.name).read_bytes() == path.read_bytes()
    status, out = simulate("grown", 70, "--seed", "2")
    assert (status, "seed: 1 there, 2 asked for" in out.err) == (2, True)


@pytest.mark.parametrize("preset", ["realistic", "clustered", "surveys", "ho2019"])
def test_a_preset_is_written_and_read_back(preset, tmp_path, capsys):
    path = tmp_path / "mocks.parquet"
    arguments = ["--n", "60", "--low", "14", "--preset", preset, "--jobs", "1"]
    with pytest.raises(SystemExit, match="0"):
        main(["simulate", str(path), *arguments])
    mocks = Catalogue.from_parquet(path)
    assert f"{len(mocks)} of 60 clusters" in capsys.readouterr().out
    assert ("redshift" in mocks.columns) == (preset == "surveys")
    if preset == "surveys":
        assert mocks.provenance.priors["surveys"]["aperture"] == list(SurveyPrior().aperture)
        assert mocks.observation.min_galaxies == 5
        assert mocks.attempts["eligible"].to_numpy().all()  # dominant, by lines drawn again
