"""Estimators that are told where on the sky galaxies lie."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sbi.inference import NPE

from clustermocks import FlatMasses, SphericalJeans
from sbi_clustermass import (
    MDN,
    Augmentation,
    CubeCNN,
    DeepSets,
    MassEstimator,
    StackedAffine,
    Training,
    as_tensors,
    mass_prior,
    train,
)
from sbi_clustermass.embeddings.conditions import reading
from sbi_clustermass.estimator.reproduce import training_command
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for
from sbi_clustermass.training.defaults import default_training

SET = DeepSets(width=8, depth=1, features=4, sky=True)
CUBE = CubeCNN(bins=4)
SHORT = Training(max_updates=20, augmentation=Augmentation(completeness=(0.8, 1.0)))


@pytest.fixture(scope="module")
def mocks():
    model = SphericalJeans(free=("log10_c200c",))
    theta = np.stack([FlatMasses(14, 15).draw(300, seed=1), np.random.default_rng(1).uniform(0.3, 1.1, 300)], 1)
    return model.simulate(theta, seed=1)


@pytest.fixture(scope="module", params=[SET, CUBE], ids=["deep_sets", "cnn_3d"])
def told(request, mocks):
    return train(mocks, flow=MDN(embedding=request.param), training=SHORT, device="cpu", seed=1)


def test_positions_reach_the_network_in_training_in_a_file_and_in_inference(told, mocks, tmp_path):
    told.save(tmp_path)
    again, some = MassEstimator.load(tmp_path, device="cpu"), mocks.select(np.arange(20))
    assert again.takes_sky
    assert not again.takes_conditions
    np.testing.assert_array_equal(again.posterior(some).log_prob, told.posterior(some).log_prob)
    angles = np.random.default_rng(2).uniform(-3, 3, some.n_galaxies.sum())
    elsewhere = some.with_galaxies(some.galaxy_columns | {"position_angle": angles}, some.cluster_of_galaxy)
    assert (np.abs(told.posterior(elsewhere).mean - told.posterior(some).mean) > 1e-6).any()
    with pytest.raises(ValueError, match="ra and dec"):
        told.posterior(some.without_sky())


def test_the_sky_is_an_option_of_set_networks_and_the_command_that_repeats_a_training_has_it(told):
    assert flow_for(TrainingOptions(embedding="attention", sky=True)).embedding.sky
    assert flow_for(TrainingOptions(embedding="cnn_3d", sky=True)) == flow_for(TrainingOptions(embedding="cnn_3d"))
    with pytest.raises(ValueError, match="sky"):
        flow_for(TrainingOptions(embedding="kde", sky=True))
    flow = flow_for(TrainingOptions(flow="mdn", embedding="deep_sets", sky=True))
    provenance = replace(told.provenance, training=default_training(flow.embedding))
    assert "--sky" in training_command(replace(told, flow=flow, provenance=provenance), "mocks", "out")


def test_stock_npe_takes_positions_as_further_columns(mocks):
    theta, x = as_tensors(mocks, sky=True)
    flow = StackedAffine(hidden=(8,), embedding=SET)
    inference = NPE(mass_prior(14, 15), density_estimator=flow, show_progress_bars=False)
    network = inference.append_simulations(theta, x).train(max_num_epochs=1, training_batch_size=50)
    samples = inference.build_posterior(network).sample((10,), x=x[:1], show_progress_bars=False)
    assert samples.shape == (10, 1)


def test_a_concentration_given_the_mass_is_learned_from_positions_too(mocks):
    both = train(mocks, flow=MDN(embedding=SET), parameters=("log10_mass", "log10_c200c"), training=SHORT, device="cpu")
    assert np.isfinite(both.joint(mocks.select(np.arange(5)), n=4, seed=1).samples).all()


@pytest.mark.parametrize("more", [0, 1, 3, 4, 5])  # a mass, conditions, both, a cosmology
def test_lengths_on_the_sky_are_in_the_units_of_the_redshift_or_the_mass_like_distances(more):
    x = torch.rand(4, 12, 3 + more)
    x[..., 2] = 1
    x[..., 3:] = x[:, :1, 3:]  # known of a cluster: the same for all of its galaxies
    sky = torch.cat([x[..., :1], torch.zeros(4, 12, 1)], -1)  # galaxies on a line, at their distances
    seen = []
    torch.manual_seed(0)
    module = reading(_Lengths(seen), 5 + more)
    module(torch.cat([x[..., :3], sky, x[..., 3:]], -1))
    (inside,) = seen
    torch.testing.assert_close(inside[..., 3], inside[..., 0])
    assert more == 0 or not torch.equal(inside[..., 0], x[..., 0])


class _Lengths(torch.nn.Module):
    """Notes what it is shown."""

    sky = True

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, x):
        self.seen.append(x)
        return x.mean(1)
