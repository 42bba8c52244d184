"""The provenance of an estimator is typed: it goes to the card and back, and old cards are read as they were meant."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clustermocks import HaloModel
from clustermocks.simulators import simulator_of
from sbi_clustermass import Augmentation, MassEstimator, Training
from sbi_clustermass.estimator.text_provenance import estimator_provenance_from_text

OLD = Path(__file__).parents[1] / "reliability" / "models" / "format-2-ensemble"


def test_a_numpy_number_in_a_setting_survives_the_card(estimator, tmp_path):
    training = Training(
        learning_rate=np.float64(3e-4),
        max_updates=int(np.int64(50)),
        augmentation=Augmentation(completeness=(np.float64(0.3), 1.0), velocity_error=(0.0, np.float32(150.0))),
    )
    replace(estimator, provenance=replace(estimator.provenance, training=training)).save(tmp_path)
    again = MassEstimator.load(tmp_path, device="cpu")
    assert again.provenance.training == training
    stored = json.loads((tmp_path / "estimator.json").read_text())["provenance"]["training"]
    assert stored["learning_rate"] == 3e-4
    assert stored["augmentation"]["completeness"] == [0.3, 1.0]


def test_the_simulator_of_the_mocks_is_in_the_card(model):
    assert simulator_of(MassEstimator.load(model, device="cpu").provenance.mocks) == HaloModel()


def test_a_card_of_format_2_is_read_as_it_was_meant():
    provenance = MassEstimator.load(OLD, device="cpu").provenance
    text = json.loads((OLD / "estimator.json").read_text())["provenance"]
    assert provenance.training == Training(
        learning_rate=0.001, patience=200, validate_every=100, max_updates=100, seed=1
    )
    assert simulator_of(provenance.mocks) == HaloModel()  # fields that came later have the values that it meant
    assert (provenance.training_clusters, provenance.versions["sbi"]) == (1500, "0.27.0")
    shown = provenance.as_text()
    written = {name: text[name] for name in shown}  # nothing that the card says reads otherwise
    later = {"galaxies", "neighbours"}  # with fields of later versions
    assert {n: v for n, v in shown.items() if n not in later} == {n: v for n, v in written.items() if n not in later}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Training(learning_rate=np.float64(0.001), truncated=False)", Training(learning_rate=0.001, truncated=False)),
        (
            "Training(augmentation=Augmentation(completeness=(0.5, 1.0), v_cut=inf))",
            Training(augmentation=Augmentation(completeness=(0.5, 1.0), recentre=False)),
        ),
        ("", None),
        ("Training(", None),
        ("Training(learning_rate=__import__('os').getpid())", None),
        ("Training(seed='x')", None),
        ("Training(new_field=1)", None),
        ("Training(patience=0)", None),
        ("[1]", None),
    ],
)
def test_settings_as_text_are_read_and_never_evaluated(text, found):
    assert estimator_provenance_from_text({"training": text}).training == found


def test_a_plain_loss_and_the_versions_are_read_from_text():
    found = estimator_provenance_from_text({"loss": "plain", "mirror": "False", "version_sbi": "0.27.0"})
    assert (found.truncated, found.mirror, found.versions) == (False, False, {"sbi": "0.27.0"})
