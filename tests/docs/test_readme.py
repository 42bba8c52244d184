"""What the README shows runs as it stands."""

import re

import sbi_clustermass
from tests.paths import ROOT

README = ROOT / "README.md"


def test_the_example_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    exec(compile(example, "README", "exec"), {})
    assert "scatter 0." in capsys.readouterr().out
    assert sbi_clustermass.MassEstimator.load(tmp_path / "runs" / "readme", device="cpu").support == (13.0, 15.6)


SBIS = {"NPE", "DirectPosterior"}


def test_every_name_it_mentions_exists():
    text = README.read_text(encoding="utf-8")
    import clustermocks
    from sbi_clustermass import baselines, population

    homes = (sbi_clustermass, clustermocks, baselines, population)
    for name in re.findall(r"`(?:population\.|baselines\.)?([A-Z]\w+)(?:\(|`|\.)", text):
        assert any(hasattr(home, name) for home in homes) or name in SBIS, name


def test_every_picture_it_shows_is_there():
    for path in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).read_bytes().startswith(b"\x89PNG")
