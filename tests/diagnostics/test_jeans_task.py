"""SphericalJeans as an sbi task: shapes sbi accepts, posteriors that are the product of prior and likelihood."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from clustermocks import JeansGalaxies, Observation, SphericalJeans
from sbi_clustermass import JeansTask, MassPosteriors
from sbi_clustermass.diagnostics.grid_posterior import GridPosterior

FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed


def test_simulations_have_the_shape_and_type_that_sbi_wants_and_follow_the_seed():
    task = JeansTask(SphericalJeans(background=5.0))
    torch.manual_seed(1)
    theta = task.prior.sample((40,))
    x = task.simulator(theta)
    assert theta.shape == (40, 1)
    assert x.shape == (40, task.width, 3)
    assert x.dtype == torch.float32
    assert int(x[..., 2].sum(1).min()) >= 10
    torch.manual_seed(1)
    assert torch.equal(task.simulator(task.prior.sample((40,))), x)
    assert not torch.equal(task.simulator(theta), x)


def test_stock_sbi_simulates_and_trains_on_it():
    from sbi.inference import NPE, simulate_for_sbi
    from sbi.utils.user_input_checks import process_prior, process_simulator

    from sbi_clustermass import StackedAffine

    task = JeansTask(SphericalJeans(richness="independent"))
    prior, _, numpy_prior = process_prior(task.prior)
    simulator = process_simulator(task.simulator, prior, numpy_prior)
    theta, x = simulate_for_sbi(simulator, prior, num_simulations=120, show_progress_bar=False)
    inference = NPE(prior, density_estimator=StackedAffine(hidden=(16,)), show_progress_bars=False)
    network = inference.append_simulations(theta, x).train(max_num_epochs=2)
    assert torch.isfinite(network.log_prob(theta[None], x)).all()


@pytest.mark.parametrize("richness", ["mass", "independent"])
def test_reference_posterior_of_selected_clusters_is_calibrated(richness):
    """At 10^13 one in 200 is selected with richness "mass": without that factor the ranks pile up."""
    task = JeansTask(SphericalJeans(richness=richness), low=(13.0,), high=(14.0,))
    torch.manual_seed(2)
    theta = task.prior.sample((250,))
    reference = task.reference_posterior(task.simulator(theta), points=61)
    assert kstest(reference.pit(theta[:, 0].numpy()), "uniform").pvalue > FAILURE_RATE
    if richness == "mass":
        log_selected = task.model.log_selected(reference.grid)
        without = reference.with_prior(reference.log_prior + log_selected)
        assert kstest(without.pit(theta[:, 0].numpy()), "uniform").pvalue < FAILURE_RATE


def test_further_parameters_are_integrated_out_over_their_prior():
    model = SphericalJeans(observation=Observation(min_galaxies=0), background=2.0, free=("beta",))
    task = JeansTask(model, low=(14.0, -0.5), high=(14.4, 0.5))
    torch.manual_seed(3)
    x = task.simulator(task.prior.sample((2,)))
    reference = task.reference_posterior(x, points=4)
    beta = np.linspace(-0.5, 0.5, 25)
    rows = np.stack(np.meshgrid(reference.grid, beta, indexing="ij"), axis=-1).reshape(-1, 2)
    joint = task.reference_log_prob(x, rows).reshape(2, 4, 25)
    marginal = np.trapezoid(np.exp(joint - joint.max(axis=(1, 2), keepdims=True)), beta, axis=2)
    with np.errstate(divide="ignore"):
        expected = MassPosteriors.from_log_prob(reference.grid, np.log(marginal)).prob
    np.testing.assert_allclose(reference.prob, expected, atol=2e-3 * expected.max())  # trapezoid over 25 anisotropies


@pytest.fixture(scope="module")
def joint():
    """Two clusters whose concentration and anisotropy are free, and their exact joint posteriors."""
    model = SphericalJeans(background=10.0, free=("log10_c200c", "beta"))
    task = JeansTask(model, low=(14.0, 0.3, -0.5), high=(14.3, 1.1, 0.5))
    torch.manual_seed(5)
    x = task.simulator(torch.tensor([[14.12, 0.5, 0.1], [14.2, 0.8, -0.2]]))
    return task, x, task.reference_joint(x, masses=31, nodes=4)


def test_a_joint_posterior_is_that_of_a_grid_twice_as_fine(joint):
    task, x, found = joint
    fine = task.reference_joint(x, masses=61, nodes=6)
    # a few thousandths; more within .01 dex of a kink, where the radius of a mass reaches a galaxy
    wrong = [found.log_prob_at(theta) - fine.log_prob_at(theta) for theta in fine.sample(20, seed=1).swapaxes(0, 1)]
    assert np.mean(np.abs(wrong)) < 0.01
    np.testing.assert_allclose(found.mean, fine.mean, atol=1e-3)
    np.testing.assert_allclose(found.std, fine.std, rtol=0.01)


def test_a_joint_posterior_is_the_likelihood_between_its_nodes(joint):
    task, x, found = joint
    theta = found.sample(12, seed=2)
    for i in range(2):
        truth = task.reference_log_prob(x[[i]], theta[i])[0]
        one = GridPosterior(found.low, found.high, found.log_prob[[i]])
        wrong = np.concatenate([one.log_prob_at(row[None]) for row in theta[i]]) - truth
        assert np.mean(np.abs(wrong - np.median(wrong))) < 0.02  # up to the evidence, as above


def test_the_mass_of_a_joint_posterior_is_that_with_the_others_integrated_out(joint):
    task, x, found = joint
    of_mass = task.reference_posterior(x, points=16)
    together, alone = np.log(found.marginals[0][:, ::2]), of_mass.log_prob
    np.testing.assert_allclose(together - together[:, [7]], alone - alone[:, [7]], atol=5e-3)  # two rules of quadrature


def test_density_is_zero_outside_the_prior():
    task = JeansTask(SphericalJeans(background=1.0))
    x = task.simulator(torch.tensor([[14.0]]))
    log_prob = task.reference_log_prob(x, [13.4, 13.5, 15.3, 15.4])[0]
    np.testing.assert_array_equal(np.isfinite(log_prob), [False, True, True, False])


def test_width_holds_the_richest_clusters():
    task = JeansTask(SphericalJeans(background=10.0, galaxies=JeansGalaxies(number_scatter=0.4)))
    x = task.simulator(torch.full((200, 1), 15.3))
    assert x.shape[1] == task.width > x[..., 2].sum(1).max()


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"low": (15.3,), "high": (13.5,)}, "rise"),
        ({"low": (13.5, 0.1), "high": (15.3, 0.2)}, "one value"),
        ({"low": (13.5,), "high": (16.5,)}, "log10_mass"),
        ({"low": (np.nan,), "high": (15.3,)}, "rise"),
        ({"low": (12.5,), "high": (15.3,)}, "min_galaxies"),
    ],
)
def test_impossible_tasks_are_refused(fields, match):
    with pytest.raises(ValueError, match=match):
        JeansTask(SphericalJeans(), **fields)


def test_parameters_outside_the_models_range_are_refused():
    with pytest.raises(ValueError, match="log10_mass"):
        JeansTask().simulator(torch.tensor([[float("nan")]]))
