"""MassEstimator: the posterior is the network's own, and what is saved is what is loaded."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from clustermocks import MDPL2, Catalogue, Observation
from sbi_clustermass import MassEstimator, StackedAffine, Tabulated, Training, TrialMasses, as_tensors, train
from sbi_clustermass.diagnostics import residuals


def test_the_posterior_is_the_networks_normal_truncated_to_the_support(estimator, mocks):
    some = mocks.select(np.arange(20))
    posteriors = estimator.posterior(some)
    with torch.no_grad():
        loc, scale = (
            p.double().numpy()[:, 0] for p in estimator.network.net.normal(estimator.network.embed(as_tensors(some)[1]))
        )
    truth = stats.truncnorm((13.0 - loc) / scale, (15.6 - loc) / scale, loc, scale)
    # trapezoid rule, h = .0102: h^2 / 12 times the slope of (m - mean) q at the cut, at most .1 / (.24 sigma^2)
    np.testing.assert_allclose(posteriors.mean, truth.mean(), atol=0.0102**2 / 12 * 0.1 / (0.24 * scale.min() ** 2))
    np.testing.assert_allclose(posteriors.prob, truth.pdf(posteriors.grid[:, None]).T, rtol=2e-3, atol=1e-4)


def test_padding_chunks_and_company_do_not_change_an_answer(estimator, mocks):
    together = estimator.posterior(mocks.select(np.arange(600)))  # crosses a chunk of 500
    alone = estimator.posterior(mocks.select(np.array([570])))
    np.testing.assert_allclose(alone.log_prob[0], together.log_prob[570], atol=1e-3)  # float32 sums in another order


def test_even_a_short_training_beats_a_constant(estimator, mocks):
    from clustermocks import FlatMasses, HaloModel

    fresh = HaloModel().simulate(FlatMasses(13.0, 15.6).draw(300, seed=9), seed=9)
    scatter = residuals(estimator.posterior(fresh).mean, fresh.log10_mass)[1]
    assert scatter.value < 0.5 * fresh.log10_mass.std()  # a constant has the standard deviation, .75


def test_loading_gives_back_the_same_posteriors_bit_for_bit(estimator, model, mocks):
    again = MassEstimator.load(model, device="cpu")
    some = mocks.select(np.arange(10))
    assert np.array_equal(again.posterior(some).log_prob, estimator.posterior(some).log_prob)
    for name in ("prior", "observation", "cosmology", "richness", "histories", "provenance"):
        assert getattr(again, name) == getattr(estimator, name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda f: (f / "estimator.safetensors").write_bytes((f / "estimator.safetensors").read_bytes()[:1000]),
            "damaged or truncated",
        ),
        (lambda f: (f / "estimator.json").write_text("{"), "not readable JSON"),
        (lambda f: (f / "estimator.json").write_text('{"format": 99}'), "reads format 3"),
        (lambda f: (f / "estimator.json").write_text("[]"), "model format 'list'"),
        (lambda f: _edit(f, flow={"name": "stacked_afine"}), "Did you mean 'stacked_affine'"),
        (lambda f: _edit(f, flow={"name": "stacked_affine", "hidden": [8]}), "do not fit the network"),
        (lambda f: _edit(f, observation={"colour": 1}), "damaged"),
        (lambda f: _edit(f, prior=None), "damaged"),
    ],
)
def test_a_damaged_model_says_what_is_wrong(model, tmp_path, damage, message):
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        MassEstimator.load(folder)


def _edit(folder, **changes):
    card = json.loads((folder / "estimator.json").read_text())
    (folder / "estimator.json").write_text(json.dumps({**card, **changes}))


def test_a_table_of_trial_masses_from_before_the_edge_was_a_choice_has_it(mocks, tmp_path):
    embedding = TrialMasses(14.3, 2.6, trials=20, edge=True)
    estimator = train(mocks, flow=Tabulated(embedding=embedding), training=Training(max_updates=2), device="cpu")
    estimator.save(tmp_path)
    card = tmp_path / "estimator.json"
    content = json.loads(card.read_text())
    del content["flow"]["embedding"]["edge"]
    card.write_text(json.dumps(content))
    again = MassEstimator.load(tmp_path, device="cpu")
    some = mocks.select(np.arange(5))
    np.testing.assert_array_equal(again.posterior(some).prob, estimator.posterior(some).prob)


def test_a_missing_model_or_file_is_named(tmp_path, model):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        MassEstimator.load(tmp_path / "none")
    (tmp_path / "estimator.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no estimator\.safetensors"):
        MassEstimator.load(tmp_path)


def test_clusters_observed_otherwise_and_grids_beyond_the_support_are_refused(estimator, mocks):
    other = replace(mocks, observation=Observation(aperture=1.1))
    with pytest.raises(ValueError, match=r"aperture 1.1, the training set with 1.6"):
        estimator.posterior(other)
    with pytest.raises(ValueError, match="beyond the prior's support"):
        estimator.posterior(mocks, grid=np.linspace(12, 15, 10))
    with pytest.raises(ValueError, match="no clusters"):
        estimator.posterior(mocks.select(np.zeros(len(mocks), bool)))


def test_training_on_observed_clusters_is_refused():
    catalogue = Catalogue.from_arrays(
        Observation(),
        MDPL2,
        clusters={"log10_mass": np.full(2, np.nan), "host_id": np.arange(2)},
        galaxies={"R_proj": np.ones(20), "v_los": np.zeros(20)},
        offsets=np.array([0, 10, 20]),
    )
    with pytest.raises(ValueError, match="known mass"):
        train(catalogue, flow=StackedAffine())


def test_a_cluster_outside_the_training_range_gets_quantified_warnings(estimator, mocks):
    rich = Catalogue.from_arrays(
        mocks.observation,
        MDPL2,
        clusters={"log10_mass": np.array([np.nan]), "host_id": np.array([0]), "redshift": np.array([0.5])},
        galaxies={
            "R_proj": np.full(3000, 0.5),
            "v_los": np.random.default_rng(0).normal(0, 2000, 3000).clip(-2499, 2499),
        },
        offsets=np.array([0, 3000]),
    )
    found = estimator.warnings(rich, estimator.posterior(rich))[0]
    assert any("3000 galaxies" in d for d in found)
    assert any("redshift 0.500" in d for d in found)
    middle = mocks.select(np.abs(mocks.log10_mass - 14.3) < 0.1)
    assert estimator.warnings(middle, estimator.posterior(middle))[0] == ()


def test_a_flow_that_could_not_be_saved_is_refused_before_training(mocks):
    with pytest.raises(TypeError, match="EMBEDDINGS"):
        train(mocks, flow=StackedAffine(embedding=torch.nn.Flatten()))


def test_a_model_of_members_warns_on_observed_clusters(mocks, estimator):
    pure = mocks.pure()
    assert pure.provenance.sample == "members"
    members = replace(estimator, provenance=replace(estimator.provenance, mocks=pure.provenance))
    found = members.warnings(mocks.select(np.array([0])), estimator.posterior(mocks.select(np.array([0]))))
    assert "true members only" in found[0][0]


def test_clusters_placed_with_another_cosmology_and_tiny_training_sets_are_refused(mocks, estimator):
    with pytest.raises(ValueError, match=r"cosmology=estimator\.cosmology"):
        estimator.posterior(replace(mocks, cosmology=replace(MDPL2, Om0=0.25)))
    with pytest.raises(ValueError, match="at least 100 clusters"):
        train(mocks.select(np.arange(20)), support=(13.0, 15.6))
