"""Usual mistakes, command by command: exit status 2 and a message that says where, what was found and what to do."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import vstack

from sbi_clustermass import MassPosteriors
from tests.reliability.conftest import cluster


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, mocks, plain_model) -> dict[str, Path]:
    """Good and bad files by name."""
    folder = tmp_path_factory.mktemp("inputs")
    names = ("mocks.parquet", "masses.parquet", "text.parquet", "none", "notes.txt", "survey.csv", "empty")
    found = {name.partition(".")[0]: folder / name for name in names}
    mocks.select(np.arange(150)).to_parquet(found["mocks"])
    normal = MassPosteriors.from_normal(np.full(20, 14.5), np.full(20, 0.2), np.linspace(13, 15.6, 64))
    normal.to_parquet(found["masses"])
    found["text"].write_text("not a table")
    found["notes"].write_text("dear diary")
    vstack([cluster(30, seed, f"c{seed}") for seed in range(2)]).write(found["survey"])
    found["empty"].mkdir()
    return {**found, "model": plain_model}


@pytest.fixture
def files(inputs, tmp_path) -> dict[str, Path]:
    """These files, and a path for the output that is new to each test."""
    return {**inputs, "out": tmp_path / "out"}


MISTAKES = [  # arguments, with names of files in braces; words that the message must have
    ("simulate {out}/m.csv", "unknown kind of file"),
    ("simulate {empty} --preset ho2018", "Did you mean 'ho2019'"),
    ("simulate {out}/m.parquet --masses steep", "flat, mass-function, power-law"),
    ("simulate {out}/m.parquet --low 15 --high 14", "14"),
    ("simulate {out}/m.parquet --low nan", "nan"),
    ("simulate {out}/m.parquet --n 0", "--n"),
    ("simulate {out}/m.parquet --n many", "--n"),
    ("simulate {out}/m.parquet --jobs 0", "0 processes"),
    ("simulate {notes}/m.parquet", "no folder can be made here"),
    ("train {none} --out {out}", "none: no such file"),
    ("train {text} --out {out}", "not a readable Parquet file"),
    ("train {masses} --out {out}", "not a catalogue"),
    ("train {empty} --out {out}", "simulate_to"),
    ("train {mocks} --out {out} --flow maff", "Did you mean 'maf'"),
    ("train {mocks} --out {out} --embedding kdee", "Did you mean 'kde'"),
    ("train {mocks} --out {out} --device tpu", "tpu"),
    ("train {mocks} --out {out} --learning-rate -1 --max-updates 2", "learning_rate"),
    ("train {mocks} --out {notes} --max-updates 2", "notes.txt"),
    ("infer {survey} --model {none}", "none"),
    ("infer {survey} --model {empty}", "no estimator.json"),
    ("infer {survey} --model {notes}", "notes.txt"),
    ("infer {none} --model {model}", "none"),
    ("infer {empty} --model {model}", "a folder gives tables of masses in a folder"),
    ("infer {mocks} --model {model}", "mocks.parquet"),
    ("infer {survey} --model {model} --redshift fast", "--redshift"),
    ("infer {survey} --model {model} --redshift -3", "redshift"),
    ("infer {survey} --model {model} --column z=colour", "colour"),
    ("infer {survey} --model {model} --out {out}/a.xlsx", "unknown kind of file"),
    ("infer {survey} --model {model} --clusters {none}", "none"),
    ("posteriors {none} --model {model} --out {out}/a.parquet", "none: no such file"),
    ("posteriors {mocks} --model {none} --out {out}/a.parquet", "no such folder"),
    ("population {none} --out {out} --form normal", "none: no such file"),
    ("population {mocks} --out {out} --form normal", "not mass posteriors"),
    ("population {masses} --out {out}", "--mocks FILE and --complete"),
    ("population {masses} --out {out} --form mrpp --complete", "Did you mean 'mrp'"),
    ("population {masses} --out {out} --form normal --sampler nutz", "Did you mean 'nuts'"),
    ("population {masses} --out {out} --form normal --model scaling-relation", "--observable"),
    ("validate {none} --test {mocks} --out {out}", "no such folder"),
    ("validate {model} --test {none} --out {out}", "none: no such file"),
    ("validate {model} --test {mocks} --out {out} --drawn flat", "training"),
    ("compare --out {out}", "--mocks FILE and --jeans"),
    ("compare --out {out} --jeans mas", "Did you mean 'mass'"),
    ("compare --out {out} --mocks {none}", "none: no such file"),
    ("report {none}", "no such folder"),
    ("report {empty}", "empty"),
    ("reprot {none}", "report"),
]


@pytest.mark.parametrize(("line", "words"), MISTAKES, ids=[line for line, _ in MISTAKES])
def test_a_usual_mistake_ends_with_status_2_and_one_message_that_helps(command, files, line, words):
    arguments = [part.format_map(files) for part in line.split()]
    status, out, err = command(*arguments)
    assert status == 2, (out, err)
    message = " ".join((out + err).replace("│", " ").split())  # the command line's own refusals stand in a frame
    assert words in message
    assert "Traceback" not in message
    assert "[Errno" not in message  # the system's own words for it are no help
    assert not any(path.name.startswith(".") for path in files["out"].rglob("*"))
