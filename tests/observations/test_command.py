"""`clustermass infer` with all its outputs at once, with options that do not go together, and its start."""

import subprocess
import sys

import pandas
import pytest

from sbi_clustermass import MassPosteriors
from sbi_clustermass.cli.main import main
from sbi_clustermass.observations.tables.options import parse_centre


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
    status, printed = run(capsys, "infer", tmp_path / "small.csv", tmp_path / "no.csv", "--model", model, *options)
    assert status == 0, printed
    for path in (*files.values(), out / "p_samples.parquet"):
        assert str(path) in printed
        assert path.exists()
    assert (out / "pictures" / "small.png").is_file()
    assert MassPosteriors.from_parquet(files["--posteriors"]).names == ("small",)
    for words in ("What every mass here assumes", "What the mass of small assumes", "no such file"):
        assert words in printed


def test_where_files_hold_all_clusters_only_the_first_are_printed(capsys, model, survey, tmp_path):
    status, printed = run(capsys, "infer", survey, "--model", model, "--out", tmp_path / "m.csv")
    assert status == 0
    assert printed.count("log10 M200c [h^-1 Msun]") == 20
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 41
    status, printed = run(capsys, "infer", survey, "--model", model)
    assert printed.count("log10 M200c [h^-1 Msun]") == 40


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--samples", 10), "--posteriors"),
        (("--samples", 1, "--posteriors", "p.parquet"), "one draw is no posterior"),
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
    status, printed = run(capsys, "infer", survey, "--model", model, *options)
    assert status == 2
    assert word in printed
    assert "log10" not in printed


@pytest.fixture
def galaxies(tmp_path, some, monkeypatch):
    """A folder to work in, with one cluster's galaxies in a.csv."""
    monkeypatch.chdir(tmp_path)
    return save_cluster(some, tmp_path / "a.csv")


def save_cluster(some, path, n=None):
    R_proj, v_los = some.galaxies(int(some.n_galaxies.argmin()))
    rows = [f"A 85,{R},{v},0.117" for R, v in zip(R_proj, v_los, strict=True)]
    path.write_text("\n".join(["cluster,R_proj_cMpc_h,v_los,z_cluster", *rows[:n]]) + "\n")
    return path


@pytest.mark.parametrize(
    "options",
    [
        ("--out", "a.csv"),
        ("--out", "../{folder}/a.csv"),
        ("--out", "link.csv"),
        ("--out", "clusters.csv", "--clusters", "clusters.csv"),
        ("--out", "p.csv", "--pictures", "pictures", "--published", "p.csv"),
        ("--out", "m.parquet", "--posteriors", "m.parquet"),
        ("--out", "m_samples.parquet", "--posteriors", "m.parquet", "--samples", "3"),
        ("--out", "m.csv", "--pictures", "m.csv"),
        ("--out", "model/history.csv"),
    ],
)
def test_no_output_overwrites_an_input_or_another_output(capsys, model, galaxies, options):
    folder = galaxies.parent
    (folder / "model").symlink_to(model)
    (folder / "link.csv").symlink_to(galaxies)
    for name in ("clusters.csv", "p.csv"):
        (folder / name).write_text("name,z\nA 85,0.117\n")
    before = {path: path.read_bytes() for path in folder.glob("*.csv")}
    options = [option.format(folder=folder.name) for option in options]
    status, printed = run(capsys, "infer", "a.csv", "--model", "model", *options)
    assert status == 2
    assert "would be written over" in printed
    assert len(printed.splitlines()) == 2
    assert {path: path.read_bytes() for path in folder.glob("*.csv")} == before
    assert not list(folder.glob("*.parquet"))


def test_a_run_without_masses_leaves_no_posteriors_of_an_earlier_one(capsys, model, galaxies, some):
    posteriors = galaxies.with_name("p.parquet")
    options = ("--model", model, "--out", "m.csv", "--posteriors", posteriors)
    assert run(capsys, "infer", galaxies, *options)[0] == 0
    assert posteriors.exists()
    save_cluster(some, galaxies, n=2)
    status, printed = run(capsys, "infer", galaxies, *options)
    assert status == 2
    assert "Wrote m.csv." in printed
    assert f"No masses: {posteriors} not written." in printed
    assert f"Wrote {posteriors}" not in printed
    assert not posteriors.exists()


def test_pictures_into_a_file_are_refused_in_words(capsys, model, galaxies):
    galaxies.with_name("file").write_text("")
    status, printed = run(capsys, "infer", galaxies, "--model", model, "--pictures", galaxies.with_name("file"))
    assert status == 2
    assert "no folder can be made here" in printed
    assert "Errno" not in printed


@pytest.mark.parametrize("n", [None, 2])
def test_a_name_cannot_command_the_terminal(capsys, model, galaxies, some, n):
    table = pandas.read_csv(save_cluster(some, galaxies, n=n)).assign(cluster="\x1b[2J\x9bA\u202e 85\x07")
    table.to_parquet("a.parquet")  # text with such characters is refused as binary data
    printed = run(capsys, "infer", "a.parquet", "--model", model, "--explain")[1]
    assert "[2JA 85" in printed
    assert not set("\x1b\x9b\x07\u202e") & set(printed)


def test_clusters_of_one_name_in_several_tables_get_names_of_their_own(capsys, model, galaxies, some):
    other = save_cluster(some, galaxies.with_name("b.csv"))
    options = ("--model", model, "--posteriors", "p.parquet")
    assert run(capsys, "infer", galaxies, other, other, *options)[0] == 0
    assert MassPosteriors.from_parquet("p.parquet").names == ("A 85", "b:A 85", "b:A 85 (2)")


@pytest.mark.parametrize("words", ["194.95,27.98", "194.95 27.98", "12:59:48,+27:58:48", "12h59m48s, 27d58m48s"])
def test_the_centre_is_read_in_degrees_and_in_hours(words):
    assert parse_centre(words) == pytest.approx((194.95, 27.98), abs=1e-9)


@pytest.mark.parametrize("words", ["194.95", "1,2,3", "here,there", "12:59:48", "12:59:48,+27:98:48:1"])
def test_a_centre_that_is_none_is_refused_with_an_example(words):
    with pytest.raises(ValueError, match=r"such as 194\.95,27\.98, or 12:59:48"):
        parse_centre(words)


def test_an_inference_with_the_shipped_model_waits_for_no_slow_library_that_it_does_not_need(survey):
    slow = "sbi nflows zuko pyro sklearn matplotlib tensorboard scipy.stats astropy.coordinates clustermocks.simulators"
    code = (
        "import sys; from sbi_clustermass.cli.main import main\n"
        f"try: main(['infer', {str(survey)!r}])\n"
        f"except SystemExit as end: print(end.code, [name for name in {slow.split()} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
