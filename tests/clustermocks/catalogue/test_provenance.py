"""The provenance of a catalogue is typed: it goes to a file and back, and becomes the simulator again."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from clustermocks import BoxView, Catalogue, HaloModel, Observation, RadialCompleteness, SphericalJeans
from clustermocks.catalogue.provenance import Change, Provenance
from clustermocks.catalogue.text_provenance import literal, provenance_from_text
from clustermocks.io.settings import from_json, to_json
from clustermocks.perturbations import cleaned, thinned
from clustermocks.simulators import provenance_as_text, simulator_of

MODELS = {
    "default": HaloModel(),
    "ho2019": HaloModel.ho2019(),
    "dark matter": HaloModel.dark_matter(),
    "radial": HaloModel(completeness=RadialCompleteness(0.3, 0.9)),
    "numpy": HaloModel(velocity_error=np.float64(30.0), centre_error=np.float32(0.25)),
    "jeans": SphericalJeans(free=("beta",)),
    "box": BoxView.ho2019(),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_simulator_survives_json(name):
    model = MODELS[name]
    assert from_json(type(model), json.loads(json.dumps(to_json(model)))) == model


def test_a_catalogue_becomes_its_simulator_again_after_a_file(tmp_path):
    model = HaloModel(velocity_error=np.float64(30.0), completeness=RadialCompleteness(0.8, 0.5))
    changed = thinned(cleaned(model.simulate([14.5, 14.8], seed=1), "clipping"), np.float64(0.9), seed=2)
    changed.to_parquet(tmp_path / "mocks.parquet")
    back = Catalogue.from_parquet(tmp_path / "mocks.parquet").provenance
    assert back == changed.provenance
    assert simulator_of(back) == model  # the observation is the default one here
    assert back.cleaning == "clipping"
    assert [change.name for change in back.changes] == ["cleaned", "thinned"]
    assert provenance_as_text(back)["changed"] == "cleaned by clipping; thinned to 0.9"
    assert (
        provenance_as_text(back)["completeness"]
        == "RadialCompleteness(centre=0.8, edge=0.5, power=1, core=0, outside=1)"
    )


def test_settings_of_another_version_or_simulator_give_no_simulator():
    assert simulator_of(Provenance("HaloModel", {"velocity_error": -1.0})) is None
    assert simulator_of(Provenance("a simulator of somebody's own", {"depth": 3})) is None


def test_texts_of_version_0_1_are_read_as_the_settings_they_were():
    texts = {
        "simulator": "HaloModel",
        "simulator_revision": "2",
        "seed": "7",
        "lines_of_sight": "1 to 3 (SHA-256 0123456789abcdef)",
        "interlopers": "'all'",
        "tracer_density": "0.0245; a third of the clusters: 0.0735",
        "velocity_error": "np.float64(30.0)",
        "completeness": "RadialCompleteness(centre=0.3, edge=0.9)",
        "galaxies": "HaloGalaxies(richness=28.2, velocity_bias=None, shapes=Shapes(position=0.66))",
        "changed": "recentred; cleaned by clipping",
        "completeness_range": "0.2 to 1",
        "velocity_error_range": "0 to 150",
        "redshifts": "0.1, 0.05",
        "sample": "members",
        "remark": "by hand",
    }
    found = provenance_from_text(texts)
    model = simulator_of(found)
    assert isinstance(model, HaloModel)
    assert (model.velocity_error, model.completeness) == (30.0, RadialCompleteness(0.3, 0.9))
    assert model == replace(HaloModel(), velocity_error=30.0, completeness=RadialCompleteness(0.3, 0.9))
    assert (found.revision, found.seed, found.lines_of_sight) == (2, 7, (1, 3))
    assert (found.completeness, found.velocity_error, found.redshifts) == ((0.2, 1.0), (0.0, 150.0), (0.05, 0.1))
    assert (found.cleaning, found.sample) == ("clipping", "members")
    shown = provenance_as_text(found)
    for name in ("tracer_density", "interlopers", "changed", "completeness_range", "remark"):
        assert shown[name] == texts[name]


@pytest.mark.parametrize("text", ["", "f(", "f(x)", "__import__('os').getpid()", "f(**{})", "open('x', 'y')", "a.b"])
def test_text_that_is_no_literal_is_refused_and_not_evaluated(text):
    with pytest.raises((ValueError, SyntaxError)):
        literal(text)


def test_a_file_of_version_0_1_is_read(tmp_path):
    mocks = HaloModel(observation=Observation(min_galaxies=5)).simulate([14.5, 14.8], seed=1)
    mocks.to_parquet(tmp_path / "new.parquet")
    table = pq.read_table(tmp_path / "new.parquet")
    header = json.loads(table.schema.metadata[b"clustermocks"])
    del header["provenance"]
    header["metadata"] = {"simulator": "HaloModel", "recentre": "True", "changed": "recentred"}
    pq.write_table(table.replace_schema_metadata({b"clustermocks": json.dumps(header)}), tmp_path / "old.parquet")
    old = Catalogue.from_parquet(tmp_path / "old.parquet")
    assert old.clusters.equals(mocks.clusters)
    assert old.provenance == Provenance("HaloModel", {"recentre": True}, changes=(Change("recentred", "recentred"),))
