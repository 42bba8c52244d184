"""ClusterNPE takes NPE's calls: names, options, priors, rounds and posteriors, or says what to do instead."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sbi.inference import NPE
from sbi.inference.posteriors import MCMCPosterior, RejectionPosterior
from sbi.neural_nets import posterior_nn
from sbi.utils import BoxUniform, RestrictedPrior
from sbi.utils.user_input_checks import process_prior
from scipy import stats
from torch import nn
from torch.distributions import Independent, LogNormal, MultivariateNormal, Normal, Uniform

from sbi_clustermass import ClusterNPE, KDEImage, StackedAffine, Training, mass_prior, register
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.exact_leakage import ExactLeakage
from sbi_clustermass.training.box_prior import box_of

pytestmark = pytest.mark.usefixtures("sbis_names_as_before")
LOW, HIGH = 13.0, 15.0
FLOW = StackedAffine(blocks=1, hidden=(8,), embedding=nn.Flatten())
SHORT = Training(learning_rate=1e-2, batch_size=50, max_updates=40, seed=1)
BOX = BoxUniform(torch.tensor([LOW, 0.0]), torch.tensor([HIGH, 1.0]))
TWO = torch.tensor([LOW]), torch.tensor([HIGH])


def pairs(n=300, parameters=1):
    rng = np.random.default_rng(1)
    theta = np.concatenate([rng.uniform(LOW, HIGH, (n, 1)), rng.uniform(0, 1, (n, parameters - 1))], 1)
    x = np.zeros((n, 1, 3))
    x[:, 0, 0] = theta[:, 0] - 14 + 0.5 * rng.standard_normal(n)
    x[:, 0, 2] = 1
    return torch.tensor(theta, dtype=torch.float32), torch.tensor(x, dtype=torch.float32)


def seen(value):
    x = torch.zeros(1, 1, 3)
    x[0, 0, 0], x[0, 0, 2] = value, 1
    return x


def npe(prior=None, flow=FLOW, parameters=1):
    """Ready to be trained."""
    prior = (mass_prior(LOW, HIGH) if parameters == 1 else BOX) if prior is None else prior
    return ClusterNPE(prior, flow, device="cpu").append_simulations(*pairs(parameters=parameters))


# rounds


def test_simulations_from_anything_but_the_prior_are_refused():
    inference, (theta, x) = npe(), pairs()
    inference.train(SHORT)
    posterior = inference.build_posterior().set_default_x(seen(0.3))
    restricted = RestrictedPrior(mass_prior(LOW, HIGH), lambda theta: theta[:, 0] > 14, sample_with="rejection")
    others = posterior, restricted, mass_prior(LOW, 14.5), Normal(torch.tensor([14.0]), torch.tensor([1.0])), BOX
    for proposal in others:
        with pytest.raises(ValueError, match=r"trains one round(.|\n)*sbi's NPE\(prior"):
            inference.append_simulations(theta, x, proposal=proposal)
        with pytest.raises(ValueError, match="trains one round"):
            inference.append_simulations(theta, x, proposal)
    assert len(inference.get_simulations()[0]) == 300


@pytest.mark.parametrize(
    ("prior", "equal"),
    [
        (mass_prior(LOW, HIGH), mass_prior(LOW, HIGH)),
        (mass_prior(LOW, HIGH), Uniform(*TWO)),
        (MultivariateNormal(torch.ones(2), torch.eye(2)), MultivariateNormal(torch.ones(2), torch.eye(2))),
        (Independent(Normal(*TWO), 1), Independent(Normal(*TWO), 1)),
    ],
)
def test_simulations_from_the_prior_itself_or_an_equal_one_may_be_appended_twice(prior, equal):
    inference, (theta, x) = ClusterNPE(prior, FLOW, device="cpu"), pairs()
    for proposal in (None, prior, equal):
        inference.append_simulations(theta, x, proposal=proposal)
    assert len(inference.get_simulations()[0]) == 900
    if equal.event_shape == (1,):
        assert inference.train(Training(max_updates=2, truncated=False)).input_shape == (1,)


def test_simulations_outside_the_prior_are_refused_for_one_parameter_too():
    theta, x = pairs()
    inference = ClusterNPE(mass_prior(LOW, 14.0), FLOW, device="cpu").append_simulations(theta, x)
    with pytest.raises(ValueError, match="lie outside the prior's box"):
        inference.train(SHORT)


def test_simulations_are_compared_with_the_prior_on_their_own_device(monkeypatch):
    devices = set()

    def in_box(*given):
        devices.update(each.device.type for each in given)
        return torch.ones(5, dtype=torch.bool)

    monkeypatch.setattr("sbi_clustermass.training.npe.in_box", in_box)
    npe()._within_prior(torch.zeros(5, 1, device="meta"))
    assert devices == {"meta"}


@pytest.mark.gpu
@pytest.mark.parametrize("parameters", [1, 2])
def test_on_a_gpu_it_trains_and_takes_observations_from_the_cpu(parameters):
    prior = mass_prior(LOW, HIGH) if parameters == 1 else BOX
    inference = ClusterNPE(prior, FLOW, device="cuda").append_simulations(*pairs(parameters=parameters))
    inference.train(SHORT)
    posterior, theta = inference.build_posterior(), pairs(5, parameters)[0].cuda()
    found = [posterior.log_prob(theta, x=seen(0.3).to(device)) for device in ("cpu", "cuda")]
    torch.testing.assert_close(*found)


# simulations


def test_training_without_simulations_says_what_to_call_first():
    with pytest.raises(RuntimeError, match=r"call append_simulations\(theta, x\) first"):
        ClusterNPE(mass_prior(LOW, HIGH), FLOW, device="cpu").train(SHORT)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            lambda theta, x: (theta, x.repeat(1, 2, 1)),
            r"x of shape \(2, 3\), those before \(1, 3\)(.|\n)*padded with zeros",
        ),
        (lambda theta, x: (theta, x.repeat(1, 1, 2)), r"x of shape \(1, 6\), those before \(1, 3\)"),
        (lambda theta, x: (theta, x.flatten(1)), r"x of shape \(3,\), those before \(1, 3\)"),
        (lambda theta, x: (theta.repeat(1, 2), x), r"theta of shape \(2,\), those before \(1,\)"),
        (lambda theta, x: (theta[:5], x), r"theta has shape \(5, 1\), x \(300, 1, 3\)(.|\n)*same number of rows"),
        (lambda theta, x: (theta[:0], x[:0]), "no simulation"),
        (lambda theta, x: (theta[:, 0], x), r"theta\[:, None\]"),
    ],
)
def test_simulations_unlike_those_before_are_refused_and_leave_them_as_they_are(other, message):
    inference, (theta, x) = npe(), pairs()
    with pytest.raises(ValueError, match=message):
        inference.append_simulations(*other(theta, x))
    assert inference.append_simulations(theta[:1], x[:1]) is inference
    assert len(inference.get_simulations()[0]) == 301


def test_simulations_that_are_no_tensors_are_refused_with_their_type():
    theta, x = pairs()
    with pytest.raises(TypeError, match=r"x is a numpy\.ndarray(.|\n)*torch\.as_tensor\(x"):
        npe().append_simulations(theta, x.numpy())


# posteriors


@pytest.mark.parametrize("truncated", [True, False])
def test_the_posterior_of_one_parameter_is_normalised_for_each_default_observation(truncated):
    inference = npe()
    network = inference.train(Training(learning_rate=1e-2, max_updates=40, seed=1, truncated=truncated))
    ours, stock = inference.build_posterior(), NPE.build_posterior(inference, network)
    theta, errors = torch.tensor([[13.1], [14.8]]), []
    for posterior in (ours, stock):
        for value in (0.0, 1.5, -2.5):
            found = posterior.set_default_x(seen(value)).log_prob(theta).numpy()
            loc, scale = (float(part.detach()) for part in network.net.normal(network.embed(seen(value))))
            truth = stats.truncnorm((LOW - loc) / scale, (HIGH - loc) / scale, loc, scale).logpdf(theta[:, 0])
            errors.append(np.abs(found - truth).max())
    assert max(errors[:3]) < 1e-5  # float32
    assert max(errors[4:]) > 0.1  # stock sbi 0.27 keeps the first observation's


def leakage(network, prior, x, n=400_000):
    """Share of many samples inside a box prior, and its standard error."""
    torch.manual_seed(1)
    share = float((prior.log_prob(network.sample((n,), x)[:, 0]) > -torch.inf).float().mean())
    return share, (share * (1 - share) / n) ** 0.5


@pytest.mark.parametrize("own", [True, False])
def test_the_posterior_of_several_parameters_is_normalised_for_each_default_observation(own):
    torch.manual_seed(0)  # of the other's embedding
    other = posterior_nn("mdn", embedding_net=nn.Sequential(nn.Flatten(), nn.Linear(3, 3)))
    inference = npe(flow=FLOW if own else other, parameters=2)
    network = inference.train(Training(learning_rate=1e-2, max_updates=40, seed=1, truncated=False))
    posterior, theta, found = inference.build_posterior(), torch.tensor([[14.0, 0.5]]), []
    for value in (0.0, 2.5, -0.5):
        x = seen(value)
        torch.manual_seed(2)
        inside = posterior.set_default_x(x).log_prob(theta, norm_posterior=False) - posterior.log_prob(theta)
        truth, error = leakage(network, BOX, x)
        # sbi's estimate from 10 000 draws or more; four standard errors
        assert float(inside.exp()) == pytest.approx(truth, abs=4 * (error + (truth * (1 - truth) / 1e4) ** 0.5))
        found.append(truth)
        assert posterior.log_prob(theta) == posterior.log_prob(theta)  # not drawn again for the same observation
    assert max(found) > min(found) + 0.1


def test_under_a_narrower_prior_a_network_in_a_box_leaks_and_is_corrected():
    inference = npe(parameters=2)
    network = inference.train(SHORT)
    assert inference.build_posterior().leakage_correction(seen(0.0)).tolist() == [1]
    narrow = BoxUniform(torch.tensor([13.5, 0.2]), torch.tensor([14.5, 0.9]))
    inside = float(inference.build_posterior(prior=narrow).leakage_correction(seen(0.0)))
    truth, error = leakage(network, narrow, seen(0.0))
    assert 0.05 < truth < 0.95
    assert inside == pytest.approx(truth, abs=4 * (error + 0.005))


def test_other_ways_to_sample_are_sbis_own():
    inference = npe()
    inference.train(SHORT)
    assert type(inference.build_posterior()) is ExactLeakage
    assert type(inference.build_posterior(sample_with="mcmc")) is MCMCPosterior
    assert type(inference.build_posterior(sample_with="rejection")) is RejectionPosterior


# priors


@pytest.mark.parametrize(
    ("prior", "parameters"),
    [
        (Independent(Uniform(*TWO), 1), 1),
        (Uniform(*TWO), 1),
        (Uniform(LOW, HIGH), 1),
        (process_prior(Uniform(*TWO))[0], 1),
        (Independent(Uniform(BOX.low, BOX.high), 1), 2),
        (Independent(Uniform(BOX.low.double(), BOX.high.double()), 1), 2),
        (process_prior([Uniform(*TWO), Uniform(torch.zeros(1), torch.ones(1))])[0], 2),
    ],
)
def test_every_flat_prior_in_a_box_is_one(prior, parameters):
    inference = npe(prior, parameters=parameters)
    assert inference.box == ((LOW, 0.0)[:parameters], (HIGH, 1.0)[:parameters])
    same = npe(parameters=parameters).train(SHORT).state_dict()
    assert all(torch.equal(value, same[name]) for name, value in inference.train(SHORT).state_dict().items())
    posterior = inference.build_posterior(prior=prior).set_default_x(seen(0.0))
    outside = torch.tensor([[LOW - 0.1, 0.5][:parameters]])
    assert posterior.log_prob(outside).item() == -torch.inf
    assert posterior.sample((5,), show_progress_bars=False).shape == (5, parameters)


@pytest.mark.parametrize(
    "prior", [LogNormal(*TWO), Uniform(BOX.low, BOX.high), Independent(LogNormal(*TWO), 1), None, BOX.sample]
)
def test_what_is_not_flat_in_a_box_is_none(prior):
    assert box_of(prior) is None


@pytest.mark.parametrize("prior", [[mass_prior(LOW, HIGH)], (LOW, HIGH), stats.uniform(LOW, HIGH - LOW), "flat"])
def test_what_is_no_distribution_of_torchs_is_refused_in_sbis_words(prior):
    with pytest.raises(AssertionError, match=r"must be a PyTorch Distribution(.|\n)*process_prior"):
        ClusterNPE(prior, FLOW, device="cpu")
    inference = npe()
    inference.train(Training(max_updates=2))
    with pytest.raises(AssertionError, match=r"must be a PyTorch Distribution(.|\n)*process_prior"):
        inference.build_posterior(prior=prior)


# names and classes


@pytest.mark.parametrize("returned", [None, nn.Linear(1, 1), FLOW])
@pytest.mark.parametrize("truncated", [True, False])
def test_a_builder_that_returns_no_density_estimator_is_refused_by_its_name(returned, truncated):
    def mine(theta, x):
        return returned

    with pytest.raises(TypeError, match=rf"builder mine returned a {type(returned).__name__}(.|\n)*loss, log_prob"):
        npe(flow=mine).train(replace(SHORT, truncated=truncated))


def test_a_name_is_sbis_and_ours_after_register():
    register()
    network = npe(flow="stacked_affine").train(Training(max_updates=2))
    assert isinstance(network, EmbedOnce)
    assert npe(flow="clustermass_tabulated", parameters=2).train(Training(max_updates=2)).input_shape == (2,)
    flat = ClusterNPE(mass_prior(LOW, HIGH), "maf", device="cpu")
    theta, x = pairs()
    sbis = flat.append_simulations(theta, x.flatten(1)).train(Training(max_updates=2, truncated=False))
    assert not isinstance(sbis, EmbedOnce)
    with pytest.raises(TypeError, match="use truncated=False"):
        flat.train(Training(max_updates=2))


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(ValueError, match=r"register\(\) before; or StackedAffine\(\)"):
        ClusterNPE(mass_prior(LOW, HIGH), "stacked_affine")
    with pytest.raises(ValueError, match="Did you mean 'maf'"):
        ClusterNPE(mass_prior(LOW, HIGH), "maff")


def test_a_class_instead_of_an_object_is_refused_at_once():
    with pytest.raises(TypeError, match=r"StackedAffine\(\) instead of StackedAffine"):
        ClusterNPE(mass_prior(LOW, HIGH), StackedAffine)


# options of NPE.train


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ({"training_batch_size": 20}, {"batch_size": 20}),
        ({"learning_rate": 1e-3}, {"learning_rate": 1e-3}),
        ({"validation_fraction": 0.3}, {"validation_fraction": 0.3}),
        ({"clip_max_norm": 1.0}, {"clip_norm": 1.0}),
        ({"clip_max_norm": None}, {"clip_norm": np.inf}),
        ({"max_num_epochs": 3}, {"max_updates": 3 * 5}),  # 270 fitted, in batches of 50
        ({"max_num_epochs": 3, "training_batch_size": 27}, {"max_updates": 3 * 10, "batch_size": 27}),
        ({"stop_after_epochs": 2}, {"patience": 10, "validate_every": 5}),
        ({"num_atoms": 5, "retrain_from_scratch": True, "force_first_round_loss": True, "resume_training": False}, {}),
    ],
)
def test_an_option_of_sbis_is_the_setting_that_it_stands_for(options, fields):
    one, other = npe(), npe()
    ours, theirs = one.train(replace(SHORT, **fields)), other.train(SHORT, **options)
    assert one.history == other.history
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_the_call_of_sbibms_run_script_is_taken(capsys):
    npe().train(
        num_atoms=10,
        training_batch_size=100,
        retrain_from_scratch=False,
        discard_prior_samples=False,
        use_combined_loss=False,
        show_train_summary=True,
        max_num_epochs=2,
    )
    assert "updates/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"resume_training": True}, ValueError, r"try:    train\(checkpoint=FILE\)"),
        ({"calibration_kernel": torch.ones_like}, ValueError, "sbi's NPE with the same builder"),
        ({"dataloader_kwargs": {"shuffle": False}}, ValueError, r"Training\(batch_size=..., seed=...\)"),
        ({"patience": 5}, TypeError, r"try:    train\(Training\(patience=5\)\)"),
        ({"max_num_epoch": 5}, TypeError, "Did you mean 'max_num_epochs'"),
        ({"max_num_epochs": 0}, ValueError, "max_num_epochs must be a whole number of at least 1, got 0"),
        ({"max_num_epochs": 2.5}, ValueError, "max_num_epochs must be a whole number of at least 1, got 2.5"),
        ({"stop_after_epochs": None}, ValueError, "stop_after_epochs must be a whole number of at least 1, got None"),
        ({"training_batch_size": "50"}, ValueError, "batch_size must be a whole number of at least 1, got '50'"),
        ({"learning_rate": "fast"}, ValueError, "learning_rate must be a number, got 'fast'"),
        ({"training": 200}, TypeError, r"found 200(.|\n)*train\(Training\(...\)\)"),
    ],
)
def test_what_has_no_counterpart_is_refused_with_the_way_out(options, error, message):
    with pytest.raises(error, match=message):
        npe().train(**options)


def test_an_image_as_a_class_is_refused_where_it_is_given():
    with pytest.raises(ValueError, match=r"such as KDEImage\(\)"):
        StackedAffine(embedding=KDEImage)
