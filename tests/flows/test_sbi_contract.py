"""What sbi does with an estimator beyond shapes: batches, copies, files, ensembles and its samplers."""

import pickle
from copy import deepcopy

import pytest
import torch
from sbi.inference import NPE
from sbi.inference.posteriors import EnsemblePosterior
from sbi.utils import BoxUniform

from tests.flows.test_contract import HIGH, LOW, built, every_flow, small, toy

QUIET = {"show_progress_bars": False}


def posterior_of(name, seed=0, theta=1):
    """sbi's own posterior after one epoch of sbi's own training."""
    torch.manual_seed(seed)
    prior = BoxUniform(torch.full((theta,), LOW), torch.full((theta,), HIGH))
    inference = NPE(prior, density_estimator=small(name), **QUIET)
    inference.append_simulations(*toy(theta=theta)).train(max_num_epochs=1, training_batch_size=60)
    return inference, inference.build_posterior()


def seeded(posterior, x):
    torch.manual_seed(3)
    return posterior.sample((5,), x=x, **QUIET)


@every_flow
@torch.no_grad()
def test_a_batch_of_conditions_has_the_samples_and_densities_of_each(name):
    network, (mass, x) = built(name), toy(2000)
    together = network.log_prob(mass[:3][None], x[:3])
    alone = torch.cat([network.log_prob(mass[i][None, None], x[i : i + 1]) for i in range(3)], 1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)  # float32 in other matrix products
    torch.manual_seed(2)
    both = network.sample((4, 250), x[:2])
    for i in range(2):
        one = network.sample((1000,), x[i : i + 1])[:, 0]
        spread = one.std(0) + both[:, :, i].std()
        # five standard errors of the difference of two means of 1000
        assert (both[:, :, i].mean((0, 1)) - one.mean(0)).abs() < 5 * spread / 1000**0.5


@every_flow
def test_posterior_and_trainer_survive_pickling_and_copying(name):
    inference, posterior = posterior_of(name)
    x, mass = toy()[1][:1], torch.full((3, 1), 14.4)
    expected = seeded(posterior, x), posterior.log_prob(mass, x=x, norm_posterior=False)
    for again in (pickle.loads(pickle.dumps(posterior)), deepcopy(posterior)):
        assert torch.equal(seeded(again, x), expected[0])
        assert torch.equal(again.log_prob(mass, x=x, norm_posterior=False), expected[1])
    resumed = pickle.loads(pickle.dumps(inference))
    torch.manual_seed(1)
    assert resumed.train(resume_training=True, max_num_epochs=2, training_batch_size=60) is not None


@every_flow
def test_a_network_survives_pickling_copying_and_its_state_dict(name, tmp_path):
    network, (mass, x) = built(name), toy(20)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    loaded = small(name).template(1, x.shape[1:]).eval()
    loaded.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for again in (pickle.loads(pickle.dumps(network)), deepcopy(network), loaded):
        assert torch.equal(again.loss(mass, x), network.loss(mass, x))


@every_flow
def test_sbis_ensemble_of_two_is_the_mean_of_their_densities(name):
    members = [posterior_of(name, seed)[1] for seed in (1, 2)]
    ensemble, x = EnsemblePosterior(members), toy()[1][:1]
    mass = torch.linspace(LOW + 0.1, HIGH - 0.1, 7)[:, None]
    alone = torch.stack([member.log_prob(mass, x=x, norm_posterior=False) for member in members])
    found = ensemble.log_prob(mass, x=x, individually=False, norm_posterior=False)
    expected = alone.logsumexp(0) - torch.log(torch.tensor(2.0))
    torch.testing.assert_close(found.squeeze(), expected.squeeze(), rtol=1e-5, atol=1e-5)  # float32
    assert ensemble.sample((6,), x=x, **QUIET).shape == (6, 1)


@every_flow
@pytest.mark.slow
def test_three_parameters_are_sampled_by_rejection_importance_and_chains(name):
    inference, _ = posterior_of(name, theta=3)
    x = toy()[1][:1]
    for method, options in (
        ("rejection", {}),
        ("importance", {}),
        ("mcmc", {"mcmc_method": "slice_np_vectorized", "mcmc_parameters": {"num_chains": 4, "warmup_steps": 5}}),
    ):
        posterior = inference.build_posterior(sample_with=method, **options)
        samples = posterior.sample((8,), x=x, **QUIET)
        assert samples.shape == (8, 3)
        assert samples.isfinite().all()
