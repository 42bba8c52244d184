"""`JeansTask` as a task of sbibm: its methods, with its signatures, driven as its run scripts do."""

import numpy as np
import pytest
import torch
from sbi.inference import MCABC, NPE, simulate_for_sbi
from scipy.stats import kstest
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier
from torch import nn
from torch.distributions import Distribution

from clustermocks import JeansGalaxies, SphericalJeans
from sbi_clustermass import JeansTask, StackedAffine, SummaryStatistics
from sbi_clustermass.training.tracker import NullTracker

FAILURE_RATE = 1e-3  # of each statistical test, had the seed not been fixed
SMALL = SphericalJeans(background=3.0, galaxies=JeansGalaxies(number=20.0), richness="independent")


@pytest.fixture(scope="module")
def task():
    return JeansTask(SMALL)


@pytest.fixture(scope="module")
def of_three():
    return JeansTask(
        SphericalJeans(background=10.0, free=("log10_c200c", "beta")), low=(14.0, 0.3, -0.5), high=(14.6, 1.1, 0.5)
    )


def run_npe(task, num_samples, num_simulations, num_observation):
    """The lines of sbibm's `algorithms/sbi/snpe.py` with one round, and an embedding for sets."""
    prior = task.get_prior_dist()
    observation = task.get_observation(num_observation)
    simulator = task.get_simulator(max_calls=num_simulations)
    transforms = task._get_transforms(False)["parameters"]

    class OfRows(nn.Module):
        summary = SummaryStatistics()

        def forward(self, x):
            return self.summary(task.unflatten_data(x))

    flow = StackedAffine(blocks=1, hidden=(32,), embedding=OfRows())
    inference_method = NPE(prior, density_estimator=flow, tracker=NullTracker(), show_progress_bars=False)
    theta, x = simulate_for_sbi(
        simulator, prior, num_simulations=num_simulations, simulation_batch_size=500, show_progress_bar=False
    )
    density_estimator = inference_method.append_simulations(theta, x, proposal=prior).train(training_batch_size=200)
    posterior = inference_method.build_posterior(density_estimator).set_default_x(observation)
    assert simulator.num_simulations == num_simulations
    samples = posterior.sample((num_samples,), show_progress_bars=False).detach()
    assert torch.equal(transforms.inv(samples), samples)
    return samples, simulator.num_simulations, posterior.log_prob(task.get_true_parameters(num_observation))


def run_rejection(task, num_simulations, num_observation, quantile):
    """The lines of sbibm's `algorithms/sbi/mcabc.py`."""
    simulator = task.get_simulator(max_calls=num_simulations)

    def distance(observed, simulated):
        one, many = (SummaryStatistics()(task.unflatten_data(rows))[:, 1] for rows in (observed, simulated))
        return (many - one).abs()

    method = MCABC(simulator, task.get_prior_dist(), distance, simulation_batch_size=500, show_progress_bars=False)
    samples = method(task.get_observation(num_observation), num_simulations, quantile=quantile)
    return samples, simulator.num_simulations


def c2st(one, other):
    """Accuracy of a classifier that tells samples of two distributions apart; .5 for the same (sbibm's metric)."""
    data = torch.cat([one, other])
    data = ((data - one.mean(0)) / one.std(0)).numpy()
    label = np.repeat([0, 1], [len(one), len(other)])
    return cross_val_score(MLPClassifier((10,), random_state=1, max_iter=200), data, label, cv=3).mean()


def test_the_interface_is_that_of_a_task(task):
    """The lines of sbibm's `tests/tasks/test_task_interface.py` and of its README."""
    prior, simulator = task.get_prior(), task.get_simulator()
    assert prior().shape == (1, 1)
    thetas = prior(num_samples=8)
    assert thetas.shape == (8, task.dim_parameters)
    xs = simulator(thetas)
    assert xs.shape == (8, task.dim_data)
    observation = task.get_observation(num_observation=1)
    assert observation.shape == (1, task.dim_data) == simulator(thetas[0]).shape
    assert len(task.get_labels_data()) == len(set(task.get_labels_data())) == task.dim_data
    assert len(task.get_labels_parameters()) == task.get_true_parameters(num_observation=1).shape[-1]
    assert isinstance(task.get_prior_dist(), Distribution)
    assert torch.isfinite(task.get_prior_dist().log_prob(thetas)).all()
    assert task.get_prior_params() == {"low": torch.tensor([13.5]), "high": torch.tensor([15.3])}
    assert (task.name, task.name_display, task.num_observations) == ("spherical_jeans", "Spherical Jeans", 10)
    assert (simulator.name, simulator.dim_parameters, simulator.dim_data) == (task.name, 1, task.dim_data)
    torch.testing.assert_close(task.flatten_data(task.unflatten_data(xs)), xs)
    assert task.unflatten_data(xs).shape == (8, task.width, 3)


def test_observations_are_the_same_at_every_call_and_leave_torchs_generator_alone(task):
    before = torch.random.get_rng_state()
    seen = [task.get_observation(number) for number in range(1, 11)]
    true = torch.cat([task.get_true_parameters(number) for number in range(1, 11)])
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(7)
    assert all(torch.equal(task.get_observation(number), seen[number - 1]) for number in (1, 10))
    assert len(torch.unique(true)) == 10
    assert torch.equal(task.get_reference_posterior_samples(2), task.get_reference_posterior_samples(2))
    for number in (0, 11):
        with pytest.raises(ValueError, match="numbered 1 to 10"):
            task.get_observation(number)


def test_an_observation_is_a_simulation_of_its_parameters(task):
    torch.manual_seed(1_000_003)
    theta = task.get_prior()(num_samples=1)
    assert torch.equal(theta, task.get_true_parameters(3))
    assert torch.equal(task.get_simulator()(theta), task.get_observation(3))


def test_transforms_unbind_the_prior_or_do_nothing(of_three):
    """The lines of sbibm's `test_transforms_shapes`, and the ends of the box."""
    theta = of_three.get_prior()(num_samples=5)
    free, same = (of_three._get_transforms(enabled)["parameters"] for enabled in (True, False))
    torch.testing.assert_close(free.inv(free(theta)), theta)
    assert torch.equal(same(theta), theta)
    assert free.log_abs_det_jacobian(theta, free(theta)).shape == same.log_abs_det_jacobian(theta, theta).shape == (5,)
    ends = free.inv(torch.tensor([[-50.0] * 3, [50.0] * 3]))
    torch.testing.assert_close(ends, torch.tensor([of_three.low, of_three.high]))


def test_the_budget_is_counted_and_kept(task):
    simulator, theta = task.get_simulator(max_calls=10), task.get_prior()(num_samples=4)
    simulator(theta)
    simulator(theta)
    with pytest.raises(RuntimeError, match="4 simulations after 8 exceed the budget of 10"):
        simulator(theta)
    simulator(theta[:2])
    assert simulator.num_simulations == 10
    with pytest.raises(ValueError, match=r"must be \(batch, 1\)"):
        simulator(torch.zeros(2, 3))


@pytest.mark.parametrize("number", [1, 4])
def test_reference_samples_follow_the_product_of_prior_and_likelihood(task, number):
    samples = task.get_reference_posterior_samples(number)
    assert samples.shape == (10_000, 1)
    assert samples.dtype == torch.float32
    x = task.unflatten_data(task.get_observation(number)).numpy()
    grid = np.linspace(13.5, 15.3, 1501)  # a trapezoid of the simulator's own likelihood
    log_like = (task.model.log_likelihood(x, grid) - task.model.log_selected(grid))[0]
    cdf = np.append(0, np.cumsum(np.exp(log_like - log_like.max())[:-1]))
    assert kstest(samples[:, 0], lambda mass: np.interp(mass, grid, cdf / cdf[-1])).pvalue > FAILURE_RATE


@pytest.mark.slow
def test_reference_samples_of_several_parameters_have_the_exact_marginal_of_the_mass(of_three):
    samples = of_three.get_reference_posterior_samples(1)
    assert samples.shape == (10_000, 3)
    assert len(torch.unique(samples, dim=0)) == 10_000
    assert (of_three.get_prior_dist().log_prob(samples) > -torch.inf).all()
    exact = of_three.reference_posterior(of_three.unflatten_data(of_three.get_observation(1)), points=31)
    levels = np.interp(samples[:, 0], exact.grid, exact.cdf[0])
    assert np.abs(np.sort(levels) - np.linspace(0, 1, 10_000)).max() < 0.03  # Kolmogorov .02, and two quadratures


def test_sbibms_rejection_script_runs_and_finds_the_reference(task):
    samples, calls = run_rejection(task, num_simulations=2000, num_observation=1, quantile=0.05)
    reference = task.get_reference_posterior_samples(1)
    assert calls == 2000
    # 100 samples by the rms speed alone: wider than the posterior, and within its width of the mean
    assert abs(float(samples.mean() - reference.mean())) < float(samples.std())
    assert samples.std() > 0.8 * reference.std()


@pytest.mark.slow
def test_sbibms_npe_script_runs_and_its_samples_are_like_the_references(task):
    torch.manual_seed(1)
    samples, calls, log_prob = run_npe(task, num_samples=1000, num_simulations=4000, num_observation=2)
    reference = task.get_reference_posterior_samples(2)[:1000]
    assert calls == 4000
    assert torch.isfinite(log_prob).all()
    prior = c2st(reference, task.get_prior()(num_samples=1000))
    assert c2st(reference, samples) < 0.65 < prior  # .54 and .82; .50 for other samples of the reference
