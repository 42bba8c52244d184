"""`clustermass simulate` writes the catalogue of each preset."""

import pytest

from clustermocks import Catalogue, SurveyPrior
from sbi_clustermass.cli.main import main


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
