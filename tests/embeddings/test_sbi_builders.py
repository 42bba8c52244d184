"""Embeddings in sbi's own builders: with or without weights, alone or inside another module, trained end to end."""

import warnings
from itertools import product

import pytest
import torch
from sbi.inference import FMPE, NPE, NPSE, NRE
from sbi.neural_nets import classifier_nn, likelihood_nn, posterior_flow_nn, posterior_nn, posterior_score_nn
from sbi.utils.sbiutils import standardizing_net
from torch import nn

from sbi_clustermass import mass_prior
from sbi_clustermass.embeddings import EMBEDDINGS
from sbi_clustermass.embeddings.galaxies import stages
from tests.sky import as_taken

PRIOR = mass_prior(13.5, 15.3)
SMALL = {"hidden_features": 4, "z_score_x": "none"}
TRAINERS = {
    "posterior_nn": lambda net: NPE(PRIOR, density_estimator=posterior_nn("maf", embedding_net=net, **SMALL)),
    "classifier_nn": lambda net: NRE(PRIOR, classifier=classifier_nn("mlp", embedding_net_x=net, **SMALL)),
    "posterior_flow_nn": lambda net: FMPE(PRIOR, vf_estimator=posterior_flow_nn("mlp", embedding_net=net, **SMALL)),
    "posterior_score_nn": lambda net: NPSE(PRIOR, vf_estimator=posterior_score_nn("mlp", embedding_net=net, **SMALL)),
}
WITHOUT_WEIGHTS = "kde", "summary"
every_pair = pytest.mark.parametrize(
    ("name", "builder"),
    [
        pytest.param(name, builder, marks=[] if name in WITHOUT_WEIGHTS else [pytest.mark.slow])
        for name, builder in product(EMBEDDINGS, TRAINERS)
    ],
)


def embedding(name):
    torch.manual_seed(0)
    kind = EMBEDDINGS[name]
    return kind(bins=6) if "bins" in kind().config() else kind()


def clusters(name, n=60):
    """Galaxies whose velocities follow mass, which is (n, 1), as an embedding takes them."""
    generator = torch.Generator().manual_seed(1)
    mass = 13.5 + 1.8 * torch.rand(n, 1, generator=generator)
    x = torch.ones(n, 12, 3)
    x[..., 0] = 1.6 * torch.rand(n, 12, generator=generator).sqrt()
    x[..., 1] = 700 * 10 ** ((mass - 14.5) / 3) * torch.randn(n, 12, generator=generator)
    return mass, as_taken(embedding(name), x)


@every_pair
@pytest.mark.filterwarnings("ignore")  # of sbi: the flag of a galaxy is constant, one parameter is a Gaussian
def test_it_trains_and_infers_through_sbis_own_builder(name, builder):
    theta, x = clusters(name)
    inference = TRAINERS[builder](embedding(name))
    network = inference.append_simulations(theta, x).train(max_num_epochs=1, training_batch_size=20)
    assert network is not None
    posterior = inference.build_posterior()
    if builder == "classifier_nn":  # sbi would sample it by a Markov chain, for half a minute
        assert posterior.potential(theta[:5], x=x[:1]).isfinite().all()
    else:
        assert posterior.sample((4,), x=x[:1], show_progress_bars=False).shape == (4, 1)


@pytest.mark.parametrize("standardise", ["independent", "structured"])  # the first is sbi's default
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.filterwarnings("ignore:Data has constant values")
def test_galaxies_that_sbi_standardised_are_refused_with_the_option_that_prevents_it(name, padded, standardise):
    theta, x = clusters(name)
    if padded:
        x[::2, 7:] = 0
    with pytest.raises(ValueError, match=r'third column of x must be 1 .*(?s:.)*z_score_x="none"'):
        posterior_nn("maf", embedding_net=embedding(name), hidden_features=4, z_score_x=standardise)(theta, x).loss(
            theta, x
        )


@pytest.mark.parametrize("standardise", ["independent", "structured"])
@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.filterwarnings("ignore:Data has constant values")
def test_a_single_cluster_that_was_standardised_is_refused_too(name, standardise):
    _, x = clusters(name)
    x[::2, 7:] = 0
    standardised = standardizing_net(x, structured_dims=standardise == "structured")(x)
    net = embedding(name).eval()
    for row in range(4):
        with pytest.raises(ValueError, match=r'third column of x must be 1 .*(?s:.)*z_score_x="none"'):
            net(standardised[row : row + 1])
    assert net(x[:1]).isfinite().all()
    assert net(torch.randn(1, 12, x.shape[2])).shape == net(x[:1]).shape  # which sbi 0.27's `mdn` tries


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_sbis_likelihood_of_something_given_galaxies_is_built_and_has_gradients(name):
    theta, x = clusters(name)
    build = likelihood_nn("mdn", embedding_net=embedding(name), z_score_theta="none", num_components=2, **SMALL)
    likelihood = build(x, theta)
    loss = likelihood.loss(theta, x)
    loss.mean().backward()
    assert loss.isfinite().all()


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_inside_another_module_and_as_a_fixed_stage_it_works_too(name):
    theta, x = clusters(name)
    for net in (nn.Sequential(embedding(name), nn.Flatten()), stages(embedding(name))[0]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            flow = posterior_nn("maf", embedding_net=net, **SMALL)(theta, x)
        assert flow.loss(theta, x).isfinite().all()


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_what_shows_its_device_is_no_weight_is_not_saved_and_moves(name):
    net = embedding(name)
    shown = next(net.parameters())
    assert shown.numel() == 0
    assert not shown.requires_grad
    assert net.state_dict() == {}
    net.load_state_dict({})
    assert next(net.to("meta").parameters()).device.type == "meta"
    optimizer = torch.optim.Adam(embedding(name).parameters())
    optimizer.step()
    assert not optimizer.state
