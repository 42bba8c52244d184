"""`clustermass infer` with all its outputs at once, and with options that do not go together."""

import pytest

from sbi_clustermass import MassPosteriors
from sbi_clustermass.cli import main


def run(capsys, *arguments: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(each) for each in arguments])
    out = capsys.readouterr()
    return int(exit_.value.code or 0), out.out + out.err


@pytest.fixture
def published(tmp_path):
    (tmp_path / "published.csv").write_text("name,log10_mass,err,method\nsmall,14.3,.2,caustic\n")
    return tmp_path / "published.csv"


def test_every_output_is_written_and_named(capsys, model, some, tmp_path, published):
    R_proj, v_los = some.galaxies(int(some.n_galaxies.argmin()))
    rows = [f"{R},{v},0.117" for R, v in zip(R_proj, v_los, strict=True)]
    (tmp_path / "small.csv").write_text("\n".join(["R_proj_cMpc_h,v_los,z_cluster", *rows]) + "\n")
    out = tmp_path / "out"
    files = {
        "--out": out / "m.ecsv",
        "--posteriors": out / "p.parquet",
        "--pictures": out / "pictures",
        "--page": out / "page.html",
    }
    words = [word for pair in files.items() for word in pair]
    options = (*words, "--samples", 10, "--published", published, "--explain")
    status, said = run(capsys, "infer", tmp_path / "small.csv", tmp_path / "no.csv", "--model", model, *options)
    assert status == 0, said
    for path in (*files.values(), out / "p_samples.parquet"):
        assert str(path) in said
        assert path.exists()
    assert (out / "pictures" / "small.png").is_file()
    assert MassPosteriors.from_parquet(files["--posteriors"]).names == ("small",)
    for words in ("What every mass here assumes", "What the mass of small assumes", "no such file"):
        assert words in said


def test_where_files_hold_all_clusters_only_the_first_are_printed(capsys, model, survey, tmp_path):
    status, said = run(capsys, "infer", survey, "--model", model, "--out", tmp_path / "m.csv")
    assert status == 0
    assert said.count("log10 M200c [h^-1 Msun]") == 20
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 41
    status, said = run(capsys, "infer", survey, "--model", model)
    assert said.count("log10 M200c [h^-1 Msun]") == 40


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--samples", 10), "--posteriors"),
        (("--published", "p.csv"), "--pictures"),
        (("--posteriors", "p.csv"), ".parquet"),
        (("--page", "p.pdf"), ".html"),
        (("--pictures", "p", "--picture-format", "gif"), "png"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_work(
    capsys, model, survey, tmp_path, monkeypatch, options, word
):
    monkeypatch.chdir(tmp_path)
    status, said = run(capsys, "infer", survey, "--model", model, *options)
    assert status == 2
    assert word in said
    assert "log10" not in said
