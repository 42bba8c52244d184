"""Odd paths, odd text, and much of it: the same answers as from a plain table."""

import resource
import time

import numpy as np
import pytest

from sbi_clustermass.observations.tables import TableOptions, read_clusters, read_table

NAMES = ("a b c", "Ünïcödé 銀河団 ✨", 'it\'s "quoted"', "-leading", "--out", "$HOME `x`;", "a" * 200, "dots.v1.2", " ")


def masses(path) -> list[str]:
    """Lines of a table of masses without what depends on the file's name."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    at = rows[0].index("log10_mass")
    return [row[at] for row in rows if row[at:]]


@pytest.fixture
def text(survey):
    return survey(3, 40).read_text()


def test_paths_of_any_letters_work_from_table_and_model_to_output(tmp_path, command, plain, text):
    found = set()
    for name in NAMES:
        folder = tmp_path / name / "in"
        folder.mkdir(parents=True)
        (folder / f"{name}.csv").write_text(text)
        plain.save(folder / name)
        out = tmp_path / name / f"{name}.csv"
        status, said, err = command("infer", folder / f"{name}.csv", "--model", folder / name, "--out", out)
        assert status == 0, said + err
        found.add(tuple(masses(out)))
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted(["in", f"{name}.csv"])
    assert len(found) == 1


def test_a_name_with_a_leading_dash_is_taken_after_two_dashes(tmp_path, command, plain_model, text, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-x.csv").write_text(text)
    status, said, err = command("infer", "--model", plain_model, "--", "-x.csv")
    assert status == 0, said + err
    assert "c0" in said
    status, _, err = command("infer", "--model", plain_model, "-x.csv")
    assert status == 2
    assert "-x" in err


def test_links_are_followed_and_an_output_link_is_replaced_not_written_through(tmp_path, command, plain_model, text):
    (tmp_path / "real.csv").write_text(text)
    (tmp_path / "table.csv").symlink_to(tmp_path / "real.csv")
    (tmp_path / "model").symlink_to(plain_model)
    (tmp_path / "precious.csv").write_text("precious")
    (tmp_path / "out.csv").symlink_to(tmp_path / "precious.csv")
    status, said, err = command(
        "infer", tmp_path / "table.csv", "--model", tmp_path / "model", "--out", tmp_path / "out.csv"
    )
    assert status == 0, said + err
    assert (tmp_path / "precious.csv").read_text() == "precious"
    assert len(masses(tmp_path / "out.csv")) == 4
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    status, said, err = command("infer", tmp_path / "loop.csv", "--model", plain_model)
    assert status == 2
    assert "loop.csv" in said + err


ENDS = {
    "Windows": lambda text: text.replace("\n", "\r\n"),
    "old Macintosh": lambda text: text.replace("\n", "\r"),
    "byte order mark": lambda text: "\ufeff" + text,
    "both": lambda text: "\ufeff" + text.replace("\n", "\r\n"),
    "no last line end": lambda text: text.rstrip("\n"),
    "empty lines": lambda text: "\n\n" + text.replace("\n", "\n\n"),
    "trailing delimiters": lambda text: text.replace("\n", ",\n"),
    "trailing blanks": lambda text: text.replace("\n", "  \n"),
    "tabs": lambda text: text.replace(",", "\t"),
    "semicolons": lambda text: text.replace(",", ";"),
    "quotes": lambda text: "\n".join(",".join(f'"{f}"' for f in line.split(",")) for line in text.splitlines()),
    "a mark of the end": lambda text: text + "\x1a",  # as DOS wrote it
}


@pytest.mark.parametrize("ends", ENDS)
def test_line_ends_marks_and_delimiters_change_nothing(tmp_path, text, ends):
    plain, odd = tmp_path / "plain.csv", tmp_path / "odd.csv"
    plain.write_bytes(text.encode())
    odd.write_bytes(ENDS[ends](text).encode())
    first, second = (list(read_clusters(path)) for path in (plain, odd))
    assert [cluster.name for cluster in second] == [cluster.name for cluster in first]
    for one, other in zip(first, second, strict=True):
        assert one.counts == other.counts
        assert one.warnings == other.warnings
        assert np.array_equal(one.catalogue.galaxies(0)[1], other.catalogue.galaxies(0)[1])


def rows_of_one_cluster(path, n: int) -> None:
    rng = np.random.default_rng(1)
    ra, dec = 150 + rng.normal(0, 0.4, n), 2 + rng.normal(0, 0.4, n)
    z = np.where(rng.random(n) < 0.3, 0.05 + 0.002 * rng.normal(size=n), rng.uniform(0.01, 0.3, n))
    np.savetxt(path, np.stack([ra, dec, z], 1), fmt="%.6f", delimiter=",", header="ra,dec,z", comments="")


@pytest.mark.slow
def test_a_million_rows_are_read_in_time_and_memory_that_grow_with_their_number(tmp_path):
    seconds = {}
    for n in (100_000, 1_000_000):
        rows_of_one_cluster(tmp_path / "galaxies.csv", n)
        began = time.process_time()
        cluster = read_table(tmp_path / "galaxies.csv", options=TableOptions(centre=(150.0, 2.0), redshift=0.05))
        seconds[n] = time.process_time() - began
        assert cluster.counts.rows == n
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # of the whole process [GB]
    print(
        f"{seconds[100_000]:.1f} and {seconds[1_000_000]:.1f} s of work for 10^5 and 10^6 rows, {peak:.1f} GB at most"
    )
    assert seconds[1_000_000] < 20 * seconds[100_000]  # linear would be 10
    assert peak < 4


@pytest.mark.slow
def test_a_hundred_thousand_clusters_in_one_table_are_separated_in_linear_time(tmp_path):
    rng = np.random.default_rng(2)
    seconds = {}
    for n in (5_000, 100_000):
        each = 3  # too few for a mass: what is measured is how clusters are separated
        names = np.repeat(np.arange(n), each)
        ra = (np.repeat(rng.uniform(0, 360, n), each) + rng.normal(0, 0.05, n * each)) % 360
        dec = np.repeat(rng.uniform(-60, 60, n), each) + rng.normal(0, 0.05, n * each)
        z = 0.1 + 0.001 * rng.normal(size=n * each)
        with (tmp_path / "survey.csv").open("w") as file:
            file.write("cluster,ra,dec,z\n")
            file.writelines(f"c{a},{b:.5f},{c:.5f},{d:.5f}\n" for a, b, c, d in zip(names, ra, dec, z, strict=True))
        began = time.process_time()
        assert sum(1 for _ in read_clusters(tmp_path / "survey.csv")) == n
        seconds[n] = time.process_time() - began
    print(f"{seconds[5_000]:.1f} and {seconds[100_000]:.1f} s of work for 5000 and 100 000 clusters")
    assert seconds[100_000] < 2 * 20 * seconds[5_000]  # linear would be 20
