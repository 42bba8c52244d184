"""Home folders and odd names in paths, in every function of clustermocks that takes one."""

import os
from pathlib import Path

import pytest

from clustermocks import Catalogue, HaloModel
from clustermocks.io.atomic import check_output, make_folder, new_folder, replacing, scratch_folder
from clustermocks.io.lock import claimed
from clustermocks.io.paths import as_path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty home folder; the working folder is another one."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def untouched(home):
    """Fails where a test has left anything in the working folder, such as a folder called ~."""
    yield
    assert os.listdir(home.parent / "work") == []


def test_a_home_folder_is_expanded_as_shells_do_and_other_names_stay(home):
    assert as_path("~/a/b.csv") == home / "a" / "b.csv"
    assert as_path(Path("~")) == home
    for name in ("a~/b", "b~", "/~/c", "c.csv", ""):
        assert as_path(name) == Path(name)
    for name in ("~nobody.csv", "./~/a.csv"):  # no user; what is meant is the file of that name
        assert as_path(as_path(name)) == Path(os.path.abspath(name))


@pytest.mark.usefixtures("untouched")
def test_everything_that_writes_takes_the_home_folder(home):
    with replacing(Path("~/a/file.txt")) as temporary:
        temporary.write_text("a")
    with new_folder(Path("~/new")) as temporary:
        assert temporary.parent == home
    check_output(Path("~/b/file.txt"), (".txt",))
    assert make_folder(Path("~/c")) == home / "c"
    with claimed(Path("~/d")), scratch_folder(Path("~/e"), "clusters") as scratch:
        assert scratch.parent == home / "e"
    assert sorted(os.listdir(home)) == ["a", "b", "c", "d", "e", "new"]
    assert os.listdir(home / "a") == ["file.txt"]


@pytest.mark.usefixtures("untouched")
def test_catalogues_are_written_and_read_in_the_home_folder(home):
    mocks = HaloModel().simulate([14.5], seed=1)
    before = set(os.listdir(home))  # colossus keeps a cache there
    mocks.to_parquet("~/mocks.parquet")
    assert {*os.listdir(home)} - before == {"mocks.parquet"}  # and no hidden file with the rows
    assert Catalogue.from_parquet("~/mocks.parquet").log10_mass == pytest.approx([14.5])
    stored = HaloModel().simulate_to("~/mocks", [14.5], seed=1)
    assert stored.folder == home / "mocks"
    assert len(Catalogue.from_parquet("~/mocks")) == len(type(stored).open("~/mocks")) == 1


@pytest.mark.parametrize("name", ["~", "~old", "~root", "a:b", "s3:b", "file:b", "a%20b", "a?b#c", "ü é", "[a]", "*"])
def test_a_relative_path_of_any_name_holds_what_was_written_and_nothing_else_does(name, home):
    path = f"./{name}/{name}.parquet"
    HaloModel().simulate([14.5], seed=1).to_parquet(path)
    assert len(Catalogue.from_parquet(path)) == 1
    assert os.listdir(f"./{name}") == [f"{name}.parquet"]


def test_through_a_link_and_a_slash_at_the_end_the_rows_land_where_they_should(home):
    (home / "data").mkdir()
    Path("link").symlink_to(home / "data")
    mocks = HaloModel().simulate([14.5], seed=1)
    mocks.to_parquet("link/mocks.parquet")
    mocks.to_parquet("link/../second.parquet/")
    assert os.listdir(home / "data") == ["mocks.parquet"]
    assert (
        len(Catalogue.from_parquet("link/mocks.parquet")) == len(Catalogue.from_parquet(home / "second.parquet")) == 1
    )
