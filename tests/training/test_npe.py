"""ClusterNPE: the paper's stopping rule, sbi's interface, the truncated loss against a closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform
from scipy import stats
from torch import nn

from sbi_clustermass import ClusterNPE, StackedAffine, Training, mass_prior
from sbi_clustermass.training import DenseDataset, Split, TrainingData, fit, split_by_group
from sbi_clustermass.training.box_prior import as_box, box_of
from sbi_clustermass.training.schedule import Schedule
from sbi_clustermass.training.tracker import NullTracker

LOW, HIGH, NOISE = 13.0, 15.0, 0.3
FLOW = StackedAffine(blocks=1, hidden=(16,), embedding=nn.Flatten())


def noisy_masses(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Masses flat in the support, each seen as one number with Gaussian noise: the posterior is a truncated normal."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(LOW, HIGH, (n, 1))
    x = np.zeros((n, 1, 3))
    x[:, 0, 0] = theta[:, 0] - 14 + NOISE * rng.standard_normal(n)
    return torch.tensor(theta, dtype=torch.float32), torch.tensor(x, dtype=torch.float32)


def quick(*, truncated: bool = True) -> Training:
    return Training(learning_rate=1e-2, batch_size=200, max_updates=450, seed=1, truncated=truncated)


def trained(training: Training, n: int = 6000, **options) -> tuple[ClusterNPE, torch.nn.Module]:
    inference = ClusterNPE(mass_prior(LOW, HIGH), density_estimator=FLOW, device="cpu")
    inference.append_simulations(*noisy_masses(n, 1))
    return inference, inference.train(training, **options)


@pytest.fixture(scope="module")
def truncated():
    return trained(quick())


def coverage_near_the_edge(network) -> float:
    """Share of true masses in the central 68 % interval of the truncated q, where q peaks within .3 dex of the edge."""
    theta, x = noisy_masses(20_000, 2)
    loc, scale = (part.detach().numpy()[:, 0] for part in network.net.normal(network.embed(x)))
    chosen = loc < LOW + 0.3
    posterior = stats.truncnorm((LOW - loc) / scale, (HIGH - loc) / scale, loc, scale)
    pit = posterior.cdf(theta.numpy()[:, 0])[chosen]
    return float((np.abs(pit - 0.5) < 0.34).mean())


def test_the_truncated_loss_learns_the_exact_posterior_up_to_the_edges(truncated):
    _, network = truncated
    x = torch.zeros(5, 1, 3)
    x[:, 0, 0] = torch.linspace(-1.1, 1.1, 5)
    loc, scale = network.net.normal(network.embed(x))
    # 6000 pairs fix the mean of a Gaussian of width .3 within about .03 where data are sparse (four standard errors
    # of 150 neighbours)
    np.testing.assert_allclose(loc[:, 0].detach(), 14 + x[:, 0, 0], atol=0.1)
    np.testing.assert_allclose(scale[:, 0].detach(), NOISE, rtol=0.2)


def test_coverage_holds_near_the_edge_with_the_truncated_loss_and_fails_with_the_plain_one(truncated):
    _, network = truncated
    _, plain = trained(quick(truncated=False))
    # 3000 clusters near the edge: binomial error .009; the fit's own error adds as much
    assert coverage_near_the_edge(network) == pytest.approx(0.68, abs=0.03)
    assert coverage_near_the_edge(plain) < 0.65


def test_the_papers_rule_stops_two_hundred_updates_after_the_best_and_restores_its_weights():
    inference, network = trained(Training(learning_rate=1e-2, seed=1, cooldown=0), n=1000)
    history = inference.history
    assert history.updates[-1] - history.best_update == 200
    assert all(update % 100 == 0 for update in history.updates)
    theta, x = inference.get_simulations()[:2]
    _, validating = split_by_group(np.arange(len(theta)), Training(seed=1))
    loss = network.truncated_loss(theta[validating], x[validating], low=LOW, high=HIGH).mean().item()
    assert loss == pytest.approx(min(history.validation_loss), abs=1e-6)  # float32 sums in another order


def test_the_cool_down_goes_on_from_the_best_weights_with_a_falling_rate():
    schedule = Schedule(Training(learning_rate=1.0, patience=200, cooldown=0.5, max_updates=1000))
    assert not schedule.starts_cooldown(300, best_update=200)
    assert schedule.learning_rate(400) == 1
    assert schedule.starts_cooldown(400, best_update=200)
    assert [schedule.learning_rate(update) for update in (401, 501, 600)] == [1, 0.5, 0.005]
    assert not schedule.starts_cooldown(500, best_update=200)
    assert schedule.end == 600
    late = Schedule(Training(cooldown=0.25, max_updates=1000))
    assert late.starts_cooldown(800, best_update=800)
    assert late.end == 1000


@pytest.mark.slow
def test_the_cool_down_takes_the_noise_out_of_the_weights():
    x = torch.zeros(41, 1, 3)
    x[:, 0, 0] = torch.linspace(-1, 1, 41)

    def error(cooldown: float, seed: int) -> float:
        rule = Training(learning_rate=1e-2, seed=seed, cooldown=cooldown, max_updates=600)
        network = trained(rule)[1]
        loc, _ = network.net.normal(network.embed(x))
        return float((loc[:, 0] - 14 - x[:, 0, 0]).square().mean().sqrt().detach())

    with_noise, without = (np.mean([error(cooldown, seed) for seed in range(4)]) for cooldown in (0.0, 0.5))
    assert without < 0.8 * with_noise  # measured .6; the error of the data themselves is in both


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_generator_alone():
    inference = ClusterNPE(mass_prior(LOW, HIGH), density_estimator=FLOW, device="cpu").append_simulations(
        *noisy_masses(500, 1)
    )
    before = torch.random.get_rng_state()
    first = inference.train(Training(seed=3, max_updates=20)).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    second = trained(Training(seed=3, max_updates=20), n=500)[1].state_dict()
    other = trained(Training(seed=4, max_updates=20), n=500)[1].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_posterior_is_sbis_and_no_log_folder_is_left(truncated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inference, _ = truncated
    x = torch.zeros(1, 1, 3)
    samples = inference.build_posterior().sample((2000,), x=x, show_progress_bars=False)
    # mean of 2000 draws of a normal of width .3: .007; the trained mean is within .1 of 14 (above)
    assert samples.mean().item() == pytest.approx(14.0, abs=0.13)
    ClusterNPE(mass_prior(LOW, HIGH), density_estimator=FLOW, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_lines_of_sight_of_one_host_stay_on_one_side():
    groups = np.repeat(np.arange(50), 3)
    fitting, validating = split_by_group(groups, Training(validation_fraction=0.2))
    assert not set(groups[fitting]) & set(groups[validating])
    assert len(fitting) + len(validating) == 150
    assert len(validating) == 30


def test_a_learned_summary_is_trained_and_a_fixed_one_is_computed_once():
    class Counting(nn.Module):
        def __init__(self, learned: bool):
            super().__init__()
            self.calls = 0
            if learned:
                self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x):
            self.calls += len(x)
            return x.flatten(1) * getattr(self, "scale", 1.0)

    theta, x = noisy_masses(300, 3)
    for learned in (False, True):
        flow = StackedAffine(blocks=1, hidden=(8,), embedding=Counting(learned))
        torch.manual_seed(0)
        network = flow(theta, x)
        counter = network.embedding[0] if learned else network.summary
        counter.calls = 0
        training = Training(max_updates=20, validate_every=10, batch_size=50)
        data = TrainingData(DenseDataset(theta, x), Split(torch.arange(200), torch.arange(200, 300)))
        fit(network, data, support=(LOW, HIGH), training=training)
        # fixed: 300 clusters once, and the probe that measures its shape; learned: 20 batches and two validations
        assert counter.calls <= 302 if not learned else counter.calls >= 20 * 50 + 2 * 100
        if learned:
            assert counter.scale.item() != 1.0


def test_stock_npe_takes_the_same_builder():
    inference = NPE(mass_prior(LOW, HIGH), density_estimator=FLOW, tracker=NullTracker())
    inference.append_simulations(*noisy_masses(500, 4)).train(max_num_epochs=1)
    assert inference.build_posterior().sample((3,), x=torch.zeros(1, 1, 3), show_progress_bars=False).shape == (3, 1)


def test_wrong_use_is_refused_with_the_cure():
    from torch.distributions import Normal

    inference = ClusterNPE(Normal(torch.tensor([14.0]), torch.tensor([1.0])), density_estimator=FLOW, device="cpu")
    inference.append_simulations(*noisy_masses(50, 5))
    with pytest.raises(ValueError, match="use mass_prior"):
        inference.train()
    with pytest.raises(RuntimeError, match="call train"):
        inference.build_posterior()
    inference = ClusterNPE(mass_prior(LOW, HIGH), density_estimator=FLOW, device="cpu")
    inference.append_simulations(*noisy_masses(50, 5))
    with pytest.raises(ValueError, match="3 groups for 50 simulations"):
        inference.train(groups=np.arange(3))
    with pytest.raises(ValueError, match="cooldown must be 0 or more"):
        Training(cooldown=-0.1)
    with pytest.raises(ValueError, match="patience must be a whole number of at least 1"):
        Training(patience=0)


def test_the_prior_goes_to_the_device_as_a_copy_and_only_a_box_is_a_box():
    from torch.distributions import ExpTransform, Independent, TransformedDistribution, Uniform

    prior = mass_prior(LOW, HIGH)
    moved = as_box(prior, "cpu")
    assert moved is not prior  # BoxUniform.to would have moved this one and returned None
    assert float(moved.base_dist.low) == float(prior.base_dist.low) == LOW
    log_uniform = TransformedDistribution(Uniform(torch.zeros(1), torch.ones(1)), ExpTransform())
    assert box_of(prior) == ((LOW,), (HIGH,))
    assert box_of(Independent(log_uniform, 1)) is None


def two_parameters() -> tuple[BoxUniform, torch.Tensor, torch.Tensor]:
    """A box prior of masses and concentrations, and pairs of these with an observation of the mass."""
    prior = BoxUniform(torch.tensor([LOW, 0.3]), torch.tensor([HIGH, 1.1]))
    mass, x = noisy_masses(400, 1)
    return prior, torch.cat([mass, 0.3 + 0.8 * torch.rand(400, 1, generator=torch.Generator().manual_seed(1))], 1), x


def test_over_several_parameters_the_truncated_loss_is_the_flow_in_the_prior():
    prior, theta, x = two_parameters()
    inference = ClusterNPE(prior, density_estimator=FLOW, device="cpu").append_simulations(theta, x)
    network = inference.train(quick_in_a_box())
    assert (network.log_prob(torch.tensor([[14.0, 1.2], [12.9, 0.5]])[:, None], x[:1]) == -torch.inf).all()
    posterior = inference.build_posterior()
    inside = torch.tensor([[14.0, 0.7], [13.1, 1.0]])
    found = posterior.log_prob(inside, x=x[:1])  # normalised by sbi's leakage correction
    torch.testing.assert_close(found, network.log_prob(inside[:, None], x[:1])[:, 0], rtol=0, atol=1e-6)
    assert posterior.leakage_correction(x[:3]).tolist() == [1, 1, 1]
    plain = ClusterNPE(prior, density_estimator=FLOW, device="cpu").append_simulations(theta, x)
    leaking = plain.train(replace(quick_in_a_box(), truncated=False))
    assert leaking.log_prob(torch.tensor([[14.0, 1.2]])[:, None], x[:1]).isfinite().all()


def quick_in_a_box() -> Training:
    return Training(learning_rate=1e-2, batch_size=200, max_updates=20, seed=1)


def test_what_does_not_fit_the_prior_is_refused_in_one_message():
    prior, theta, x = two_parameters()
    for wrong, message in (
        (torch.cat([theta, theta], 1), "theta has 4 parameters, the prior 2"),
        (theta + 0.5, "Widen"),
    ):
        inference = ClusterNPE(prior, density_estimator=FLOW, device="cpu").append_simulations(wrong, x)
        with pytest.raises(ValueError, match=message):
            inference.train(quick_in_a_box())
    normal = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), torch.ones(2)), 1)
    inference = ClusterNPE(normal, density_estimator=FLOW, device="cpu").append_simulations(theta, x)
    with pytest.raises(ValueError, match="needs a box prior"):
        inference.train(quick_in_a_box())


@pytest.mark.parametrize(
    "device", ["tpu", pytest.param("cuda", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is here"))]
)
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match=device):
        ClusterNPE(mass_prior(LOW, HIGH), density_estimator=FLOW, device=device)
