"""Training sets: parts of a catalogue larger than memory, thinned clusters, and the command that trains."""

import csv
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from clustermocks import Catalogue, FlatMasses, HaloModel
from clustermocks.catalogue.folder import StoredCatalogue
from sbi_clustermass import EMBEDDINGS, Augmentation, KDEImage, MassEstimator, StackedAffine, Training, train
from sbi_clustermass.embeddings import embedding_config
from sbi_clustermass.estimator import training_run
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for, run_training, training_for
from sbi_clustermass.posterior.prior import fit_effective_prior
from sbi_clustermass.training import Storage
from sbi_clustermass.training.training_set import TrainingSet

SUPPORT = (13.0, 15.6)
FLOW = StackedAffine(blocks=1, hidden=(16,), embedding=KDEImage(bins=8))
RULE = Training(learning_rate=3e-3, max_updates=40, validate_every=20, seed=1)


@pytest.fixture(scope="module")
def clusters(mocks):
    return mocks.select(np.arange(400))


def in_parts(catalogue: Catalogue, n: int) -> list[Catalogue]:
    """The clusters divided; the attempts go with the first part."""
    rows = np.array_split(np.arange(len(catalogue)), n)
    parts = [catalogue.select(some) for some in rows]
    return [part if i == 0 else replace(part, attempts=part.attempts.slice(0, 0)) for i, part in enumerate(parts)]


@pytest.fixture(scope="module")
def folder(clusters, tmp_path_factory):
    """A stored catalogue in three parts, as `simulate_to` writes."""
    parts = in_parts(clusters, 3)
    stored = StoredCatalogue.begin(
        tmp_path_factory.mktemp("stored") / "mocks", [part.attempts.num_rows for part in parts], {"model": "test"}
    )
    for index, part in enumerate(parts):
        stored.write(index, part)
    return stored.folder


@pytest.mark.parametrize("augmentation", [None, Augmentation()])
def test_a_folder_of_parts_trains_the_network_that_memory_trains(clusters, folder, augmentation):
    rule = replace(RULE, augmentation=augmentation)
    memory, stored = (
        train(source, flow=FLOW, support=SUPPORT, training=rule, device="cpu")
        for source in (clusters, StoredCatalogue.open(folder))
    )
    state, expected = stored.network.state_dict(), memory.network.state_dict()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    for name in ("prior", "richness", "observation", "histories", "provenance"):
        assert getattr(stored, name) == getattr(memory, name)


def test_one_part_is_held_at_a_time_and_files_are_removed(clusters, tmp_path):
    n = 12
    whole = n * clusters.n_galaxies.sum() * 2 * 4

    def peak(copies: int) -> int:
        tracemalloc.start()
        parts = (replace(clusters, provenance=replace(clusters.provenance)) for _ in range(copies))
        rows = TrainingSet.from_catalogue(parts, Storage(torch.device("cpu"), tmp_path), SUPPORT).dataset
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(rows.flat) == copies * clusters.n_galaxies.sum()
        return found

    peak(1)  # what is imported and cached on first use
    # twelve times the galaxies; masses, hosts and numbers of galaxies of each cluster may stay
    assert peak(n) - peak(1) < 0.25 * whole
    before = len(list(tmp_path.iterdir()))
    train([clusters], flow=FLOW, support=SUPPORT, training=RULE, device="cpu", checkpoint=tmp_path)
    assert {path.name for path in list(tmp_path.iterdir())} >= {"member-0.safetensors"}
    assert len(list(tmp_path.iterdir())) == before + 1


@pytest.mark.parametrize(
    ("centre_error", "richness", "warned"), [(0.0, False, True), (0.05, False, False), (0.0, True, False)]
)
def test_a_galaxy_in_the_very_centre_gives_the_number_away_to_a_network_that_should_not_see_it(
    centre_error, richness, warned, recwarn
):
    mocks = HaloModel(centre_error=centre_error).simulate(FlatMasses(13.5, 15.0).draw(150, seed=1), seed=1)
    flow = StackedAffine(blocks=1, hidden=(8,), embedding=KDEImage(richness=richness))
    train(mocks, flow=flow, training=replace(RULE, max_updates=2), device="cpu")
    assert any("gives the number of galaxies away" in str(each.message) for each in recwarn) == warned


def test_an_estimator_trained_on_thinned_clusters_says_so(clusters, tmp_path):
    changed = Augmentation(completeness=(0.3, 1.0), velocity_error=(0.0, 100.0))
    estimator = train(
        clusters.with_min_galaxies(30), flow=FLOW, support=SUPPORT, training=replace(RULE, augmentation=changed)
    )
    assert estimator.richness[0] == estimator.observation.min_galaxies == 30
    shown = estimator.provenance.training.augmentation
    assert (shown.completeness, shown.v_cut) == ((0.3, 1.0), 2500.0)
    # the prior is that of the clusters before they are thinned
    assert estimator.prior == fit_effective_prior(clusters.with_min_galaxies(30), SUPPORT)
    raised = train(
        clusters, flow=FLOW, support=SUPPORT, training=replace(RULE, augmentation=replace(changed, min_galaxies=15))
    )
    assert raised.richness[0] == raised.observation.min_galaxies == 15
    poor = clusters.select(np.flatnonzero(clusters.n_galaxies < 15)[:1])
    with pytest.warns(UserWarning, match="clusters of 10 galaxies or more, a training set of 15 or more"):
        posterior = raised.posterior(poor)
    assert "the training clusters had 15 to" in raised.warnings(poor, posterior)[0][0]
    raised.save(tmp_path)
    assert MassEstimator.load(tmp_path).observation.min_galaxies == 15


def test_a_run_writes_the_model_and_its_history_and_goes_on_where_it_was_interrupted(
    clusters, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(training_run, "flow_for", lambda options: StackedAffine(blocks=1, hidden=(8,)))
    monkeypatch.setattr(training_run, "training_for", lambda options: replace(RULE, seed=options.seed))
    options, out = TrainingOptions(members=2, device="cpu"), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_training(options, folder, out)
    assert (out / "checkpoint" / "member-1.safetensors").exists()
    with pytest.raises(ValueError, match="checkpoint of another training"):
        run_training(replace(options, seed=2), folder, out)
    estimator = run_training(options, folder, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "estimator.json",
        "estimator.safetensors",
        "history.csv",
        "history.png",
        "training.json",
    ]
    with (out / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["member"]), int(row["updates"])) for row in rows] == [
        (member, update) for member, record in enumerate(estimator.histories) for update in record.updates
    ]
    kept = [int(row["updates"]) for row in rows if row["weights_kept"] == "1"]
    assert kept == [record.best_update for record in estimator.histories]
    monkeypatch.undo()
    assert MassEstimator.load(out).histories == estimator.histories


def test_the_choices_of_a_run_are_names_and_numbers():
    assert training_for(TrainingOptions()).augmentation is None
    changed = training_for(TrainingOptions(completeness=0.5, velocity_error=100.0)).augmentation
    assert changed == Augmentation(completeness=(0.5, 1.0), velocity_error=(0.0, 100.0))
    with pytest.raises(ValueError, match=r"unknown embedding 'kdee'\. Did you mean 'kde'"):
        flow_for(TrainingOptions(embedding="kdee"))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_the_number_of_galaxies_counts_only_if_asked_for(name):
    for richness in (False, True):
        built = flow_for(TrainingOptions(embedding=name, richness=richness)).embedding
        assert embedding_config(built)["richness"] == richness
    assert not TrainingOptions().richness


def test_an_estimator_that_counts_galaxies_says_so(clusters):
    some = clusters.select(np.arange(3))
    for richness in (False, True):
        flow = replace(FLOW, embedding=KDEImage(bins=8, richness=richness))
        estimator = train(clusters, flow=flow, support=SUPPORT, training=RULE, device="cpu")
        doubts = estimator.warnings(some, estimator.posterior(some))
        assert all(any("the number of galaxies counts" in doubt for doubt in of) == richness for of in doubts)
