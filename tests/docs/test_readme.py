"""What the README and the overview show runs as it stands."""

import re

import numpy as np
import pytest
from astropy.table import Table

import sbi_clustermass
from tests.paths import ROOT

README = ROOT / "README.md"
OVERVIEW = ROOT / "docs" / "overview.md"


def example(page):
    """The page's one block of Python."""
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return code


def test_the_five_lines_give_a_mass(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    sky = {"ra": rng.normal(150, 0.1, 80), "dec": rng.normal(2, 0.1, 80), "z": rng.normal(0.05, 0.0025, 80)}
    Table(sky).write("cluster.csv")
    assert len([line for line in example(README).splitlines() if line.strip()]) <= 5
    exec(compile(example(README), "README", "exec"), {})
    assert "log10 M200c [h^-1 Msun]" in capsys.readouterr().out
    assert len(Table.read("masses.ecsv")) == 1
    assert (tmp_path / "cluster.png").read_bytes().startswith(b"\x89PNG")


def test_the_chain_of_the_overview_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(example(OVERVIEW), "overview", "exec"), {})
    assert "scatter 0." in capsys.readouterr().out
    assert sbi_clustermass.MassEstimator.load(tmp_path / "runs" / "readme", device="cpu").support == (13.0, 15.6)


SBIS = {"NPE", "DirectPosterior"}


@pytest.mark.parametrize("page", [README, OVERVIEW], ids=lambda page: page.stem)
def test_every_name_it_mentions_exists(page):
    text = page.read_text(encoding="utf-8")
    import clustermocks
    from sbi_clustermass import baselines, population

    homes = (sbi_clustermass, clustermocks, baselines, population)
    for name in re.findall(r"`(?:population\.|baselines\.)?([A-Z]\w+)(?:\(|`|\.)", text):
        assert any(hasattr(home, name) for home in homes) or name in SBIS, name


def test_every_picture_it_shows_is_there():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).read_bytes().startswith(b"\x89PNG")


def test_every_page_it_links_to_is_there():
    for path in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).exists(), path
