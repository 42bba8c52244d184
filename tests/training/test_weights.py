"""What every entry of WEIGHTS must do, and posteriors of weights held against exact ones."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

from sbi_clustermass import FLOWS, MDN, DeepSets, KDEImage, MassEstimator, StackedAffine, Training, train
from sbi_clustermass.flows.density_estimator import DensityEstimator
from sbi_clustermass.flows.embed_once import EmbedOnce
from sbi_clustermass.training import DenseDataset, Split, TrainingData
from sbi_clustermass.training.dropout import InputMask
from sbi_clustermass.training.trained import Trained, last_layers
from sbi_clustermass.training.variational import Variational
from sbi_clustermass.training.weights import INDEPENDENT, WEIGHTS

SUPPORT = (13.0, 15.6)
RULE = Training(learning_rate=3e-3, max_updates=4, validate_every=2, batch_size=40, seed=1)
PAIRS = {
    "stacked_affine+kde": StackedAffine(blocks=2, hidden=(8,), embedding=KDEImage(bins=6)),
    "mdn+deep_sets": MDN(hidden_features=8, num_components=2, trunk=(8, 4), embedding=DeepSets(width=4, depth=1)),
}
FIRST = next(iter(PAIRS))
DRAWN = [name for name in WEIGHTS if name != INDEPENDENT]
NOISE = 0.3


@pytest.fixture(scope="module")
def trained_on(mocks):
    """Train one of the pairs on a few clusters; without further options, once."""
    clusters = mocks.select(np.arange(120))

    def trained(name, pair=FIRST, **options):
        options = {"training": RULE, "members": 3, "support": SUPPORT, "device": "cpu", **options}
        return train(clusters, flow=PAIRS[pair], weights=name, **options)

    return trained, cache(trained), clusters.select(np.arange(20))


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", WEIGHTS)
def test_members_differ_and_are_saved(trained_on, name, pair, tmp_path):
    _, once, some = trained_on
    estimator = once(name, pair)
    posterior = estimator.posterior(some)
    assert (estimator.epistemic_std(some) > 0).all()
    estimator.save(tmp_path)
    loaded = MassEstimator.load(tmp_path, device="cpu")
    assert np.array_equal(posterior.log_prob, loaded.posterior(some).log_prob)
    assert loaded.provenance.weights == name
    assert len(loaded.members) == len(loaded.histories) == 3


@pytest.mark.parametrize("name", DRAWN)
def test_an_interrupted_training_ends_in_the_same_networks(trained_on, name, tmp_path):
    def stop(_):
        raise KeyboardInterrupt

    train_again, once, _ = trained_on
    with pytest.raises(KeyboardInterrupt):
        train_again(name, checkpoint=tmp_path, progress=stop)
    resumed = train_again(name, checkpoint=tmp_path).network.state_dict()
    whole = once(name, FIRST).network.state_dict()
    assert all(torch.equal(resumed[each], whole[each]) for each in whole)


def test_too_few_draws_and_unknown_weights_are_refused(trained_on):
    trained, *_ = trained_on
    with pytest.raises(ValueError, match=r"draws the members of an ensemble; found members=1"):
        trained("dropout", members=1)
    with pytest.raises(ValueError, match=r"unknown weights 'dropuot'. Did you mean 'dropout'"):
        trained("dropuot")
    with pytest.raises(ValueError, match=r"'dropout' cannot be compiled"):
        trained("dropout", training=replace(RULE, compiled=True))


@pytest.mark.parametrize("name", FLOWS)
def test_the_last_layers_are_those_that_no_other_layer_follows(name):
    """The features of the trunk reach the loss through a layer of the flow only, unless the flow has none."""
    torch.manual_seed(0)
    theta, x = 13 + torch.rand(20, 1), torch.rand(20, 5, 3).round(decimals=2)
    x[..., 2] = 1
    little = {"hidden": (8,)} if name == "stacked_affine" else {}
    network = FLOWS[name](embedding=KDEImage(bins=4, v_max=2.0), **little)(theta, x)
    found = last_layers(network, theta, x, SUPPORT)
    assert found
    if name == "stacked_affine":
        assert [layer.out_features for layer in found] == [2, 2, 2]
    else:
        inside = {id(layer) for layer in network.net.modules()}
        assert all(id(layer) in inside for layer in found)


class Line(DensityEstimator):
    """N(feature, NOISE^2)."""

    def __init__(self):
        super().__init__(nn.Identity(), torch.Size([1]), torch.Size([1]))

    def log_prob(self, input, condition):
        return torch.distributions.Normal(condition, NOISE).log_prob(input)[..., 0]


def regression(n=400):
    """A linear network at the least squares of data with residuals of ±NOISE, its design matrix and its weights."""
    rng = np.random.default_rng(1)
    x = np.repeat(rng.standard_normal((n // 2, 3)) @ np.array([[1, 0.8, 0], [0, 1, 0.5], [0, 0, 1]]), 2, axis=0)
    design = np.column_stack([x, np.ones(n)])
    weight = np.array([0.5, -1.0, 0.3, 2.0])
    theta = design @ weight + NOISE * np.tile([1, -1], n // 2)
    linear = nn.Linear(3, 1)
    linear.load_state_dict({"weight": torch.tensor(weight[None, :3]), "bias": torch.tensor(weight[3:])})
    data = DenseDataset(torch.tensor(theta, dtype=torch.float32)[:, None], torch.tensor(x, dtype=torch.float32))
    split = Split(torch.arange(n), torch.arange(0))
    network = EmbedOnce(nn.Identity(), linear, Line(), (3,))
    trained = Trained(network, TrainingData(data, split), None, Training(learning_rate=1e-3, batch_size=n), 1.0)
    return trained, design, weight


@pytest.mark.slow
def test_variational_is_the_best_product_of_gaussians_of_bayesian_linear_regression():
    """Its precisions are the diagonal of the exact one (Bishop 2006, eq. 10.10 ff.), not the exact marginal ones."""
    trained, design, weight = regression()
    mean, std = Variational(updates=1500).fitted(trained)
    mean, std = (torch.cat([each.flatten() for each in part.values()]).numpy() for part in (mean, std))
    precision = 4 / (mean**2 + std**2).sum()
    diagonal = np.diag(design.T @ design) / NOISE**2 + precision
    np.testing.assert_allclose(std, diagonal**-0.5, rtol=0.1)  # a sample for each update
    np.testing.assert_allclose(mean, weight, atol=0.01)
    marginal = np.diag(np.linalg.inv(design.T @ design / NOISE**2 + precision * np.eye(4))) ** 0.5
    assert (marginal[:2] > 1.15 * std[:2]).all()


def test_masks_keep_the_mean_and_drop_their_share():
    mask = InputMask(20_000, 0.1, seed=3)
    weight = torch.ones(1, 20_000)
    first, second = mask(weight), mask(weight)
    assert float((first == 0).float().mean()) == pytest.approx(0.1, abs=0.01)  # error .002
    assert float(first.mean()) == pytest.approx(1, abs=0.01)
    assert not torch.equal(first, second)
    assert torch.equal(mask.eval()(weight), weight)
