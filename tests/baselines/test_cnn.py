"""ClusterImages are scipy's, networks are the published ones, and what they say of their error is true."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import gaussian_kde, norm
from torch import nn

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.observation import Observation
from sbi_clustermass.baselines.cnn import CNN, POINTS, DropoutCNN, FittedCNN, split_by_host
from sbi_clustermass.baselines.cnn_images import ClusterImages
from sbi_clustermass.baselines.cnn_network import Architecture, CNNTraining, SharedDropout, gaussian_nll

QUICK = CNNTraining(epochs=8)


def error_of(prediction):
    """The errors, which these methods all have."""
    assert prediction.std is not None
    return prediction.std


def with_masses(clusters, log10_mass):
    """The clusters with other masses."""
    return Catalogue.from_arrays(
        clusters.observation,
        clusters.cosmology,
        clusters={"log10_mass": log10_mass, "host_id": clusters.host_id},
        galaxies={name: clusters.galaxy_column(name) for name in ("R_proj", "v_los")},
        offsets=np.concatenate([[0], np.cumsum(clusters.n_galaxies)]),
    )


@pytest.fixture(scope="module")
def halves(mocks):
    return mocks.split(0.7, seed=1)


@pytest.fixture(scope="module")
def point(halves):
    return CNN(1, QUICK, "cpu").fit(halves[0])


def test_an_image_of_velocities_is_scipys(mocks):
    some = mocks.select(np.arange(20))
    pixels = (np.arange(48) + 0.5) * 5000 / 48 - 2500
    for image, i in zip(ClusterImages(1, 1.6, 2500.0)(some).numpy(), range(20), strict=True):
        v = some.galaxies(i)[1].astype(float)
        assert 0.25 * np.std(v, ddof=1) > 5000 / 48 / 4  # wide enough to need no pixel
        expected = gaussian_kde(v, 0.25)(pixels)
        np.testing.assert_allclose(image[0] / 48, expected / expected.sum(), atol=1e-6)  # float32


def test_an_image_of_velocities_and_distances_is_scipys(mocks):
    some = mocks.select(np.arange(10))
    R, v = np.meshgrid((np.arange(48) + 0.5) * 1.6 / 48, (np.arange(48) + 0.5) * 5000 / 48 - 2500, indexing="ij")
    for image, i in zip(ClusterImages(2, 1.6, 2500.0)(some).numpy(), range(10), strict=True):
        kde = gaussian_kde(np.stack([part.astype(float) for part in some.galaxies(i)]), 0.25)
        expected = kde(np.stack([R.ravel(), v.ravel()])).reshape(48, 48)
        np.testing.assert_allclose(image / 48**2, expected / expected.sum(), atol=1e-6)  # float32


@pytest.mark.parametrize(
    ("dimensions", "published"),
    [
        # filters of 5 on 48 rings, of 3 on 24 channels; 10 channels of 48 / 4 pixels; 128, 64 and 1 with their biases
        (2, [48 * 24 * 5 + 24, 24 * 10 * 3 + 10, 120 * 128 + 128, 128 * 64 + 64, 64 + 1]),
        # filters of 5 on 1 channel, of 3 on 10; 5 channels of 48 / 2 pixels
        (1, [10 * 5 + 10, 10 * 5 * 3 + 5, 120 * 128 + 128, 128 * 64 + 64, 64 + 1]),
    ],
)
def test_layers_have_the_published_number_of_weights(dimensions, published):
    network = POINTS[dimensions].build(ClusterImages(dimensions, 1.6, 2500.0).channels, 48)
    layers = [layer for layer in network if isinstance(layer, nn.Conv1d | nn.Linear)]
    assert [sum(p.numel() for p in layer.parameters()) for layer in layers] == published
    assert sum(p.numel() for p in network.parameters()) == sum(published)


def test_dropout_stands_before_every_layer_of_the_dropout_network():
    network = Architecture(outputs=2, before_layers=0.1).build(48, 48)
    for before, layer in zip(network, list(network)[1:], strict=False):
        if isinstance(layer, nn.Conv1d | nn.Linear):
            assert isinstance(before, nn.Dropout)
            assert before.p == 0.1


@pytest.mark.parametrize(("dimensions", "share"), [(1, 0.65), (2, 0.5)])  # velocities alone know less
def test_the_network_beats_a_constant_by_far_and_knows_its_error(dimensions, share, halves, point):
    train, test = halves
    prediction = (point if dimensions == 1 else CNN(2, QUICK, "cpu").fit(train)).predict(test)
    residual = prediction.log10_mass - test.log10_mass
    assert np.std(residual) < share * np.std(test.log10_mass)
    # from 105 clusters kept aside, the best of 8 epochs: 7 % for Gaussian residuals, twice that for tails; 2.5 sigma
    assert error_of(prediction) == pytest.approx(np.sqrt(np.mean(residual**2)), rel=0.35)


def test_the_best_validation_loss_is_the_mean_squared_residual_of_the_clusters_kept_aside(halves, point):
    fitted, aside = split_by_host(halves[0], 0.1, seed=1)
    assert not set(fitted.host_id) & set(aside.host_id)
    residual = point.predict(aside).log10_mass - aside.log10_mass
    assert np.mean((residual / point.scale) ** 2) == pytest.approx(min(point.history), rel=1e-4)  # float32
    assert error_of(point.predict(aside)) == pytest.approx(np.sqrt(np.mean(residual**2)), rel=1e-4)


def test_a_seed_means_the_same_network_and_leaves_torchs_generator_as_it_was(halves):
    few = halves[1].select(np.arange(100))
    before = torch.get_rng_state()
    first, again, other = (CNN(1, QUICK, "cpu").fit(few, seed=seed).predict(few).log10_mass for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_gaussian_loss_is_scipys_density():
    rng = np.random.default_rng(1)
    mean, log_variance, mass = rng.normal(size=(3, 50))
    loss = gaussian_nll(torch.tensor(np.stack([mean, log_variance], 1)), torch.tensor(mass))
    expected = -norm.logpdf(mass, mean, np.exp(log_variance / 2)).mean() - 0.5 * np.log(2 * np.pi)
    assert float(loss) == pytest.approx(expected, rel=1e-9)  # rounding


@pytest.mark.slow
def test_the_mixture_over_dropout_has_the_mean_and_variance_of_its_closed_form(mocks):
    """One linear layer on dropped pixels, even in velocity: variance sum (w x)^2 p / (1 - p), and a constant noise.

    The same pixels of all clusters are dropped in a pass.
    """
    share, passes, some = 0.2, 4000, mocks.select(np.arange(5))
    linear = nn.Linear(48, 2)
    weight = torch.linspace(-1, 1, 48).abs()
    linear.weight.data = torch.stack([weight, torch.zeros(48)])
    linear.bias.data = torch.tensor([0.3, float(np.log(0.5**2))])
    images = ClusterImages(1, 1.6, 2500.0)
    fitted = FittedCNN(
        images, nn.Sequential(SharedDropout(share), nn.Flatten(), linear), 14.0, 2.0, passes, (0.0,), seed=1
    )
    prediction, terms = fitted.predict(some), (images(some)[:, 0] * weight).double().numpy()
    spread = np.sqrt((terms**2).sum(1) * share / (1 - share))
    # standard errors of a mean and of a standard deviation over the passes; five sigma
    error = 5 * 2.0 * spread.max() / np.sqrt(passes)
    np.testing.assert_allclose(prediction.log10_mass, 14 + 2 * (terms.sum(1) + 0.3), atol=error)
    np.testing.assert_allclose(error_of(prediction), 2 * np.sqrt(spread**2 + 0.25), rtol=5 / np.sqrt(2 * passes))


def test_the_error_of_the_dropout_network_grows_with_the_noise_of_its_training_set(halves):
    train, test, noise = halves[0].select(np.arange(500)), halves[1], 0.5
    noisy = with_masses(train, train.log10_mass + np.random.default_rng(2).normal(0, noise, len(train)))
    choice = DropoutCNN(1, passes=20, training=replace(QUICK, weight_decay=2e-4), device="cpu")
    quiet, loud = (choice.fit(part).predict(test) for part in (train, noisy))
    # noise adds in quadrature to an error of about 0.2, known to some 10 %
    expected = np.hypot(noise, np.sqrt(np.mean((quiet.log10_mass - test.log10_mass) ** 2)))
    assert np.sqrt(np.mean(error_of(loud) ** 2)) == pytest.approx(expected, rel=0.25)
    assert np.mean(error_of(loud) > error_of(quiet)) > 0.95


def test_the_dropout_network_gives_honest_errors_and_the_same_answer_twice(halves):
    train, test = halves
    fitted = DropoutCNN(2, passes=10, training=QUICK, device="cpu").fit(train)
    prediction = fitted.predict(test)
    np.testing.assert_array_equal(fitted.predict(test).log10_mass, prediction.log10_mass)
    residual = prediction.log10_mass - test.log10_mass
    assert np.sqrt(np.mean(residual**2)) < 0.5 * np.std(test.log10_mass)
    # no recalibration: eight short epochs on a thousand clusters
    assert 0.6 < np.sqrt(np.mean((residual / error_of(prediction)) ** 2)) < 1.5
    rank = np.argsort(test.n_galaxies)
    assert (
        error_of(prediction)[rank[:100]].mean() > error_of(prediction)[rank[-100:]].mean()
    )  # few galaxies: less is known


def test_a_diverging_training_says_so(halves):
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        CNN(1, CNNTraining(epochs=30, learning_rate=1e20), "cpu").fit(halves[1])


def test_a_cluster_of_one_galaxy_has_no_mass(point):
    lonely = Catalogue.from_arrays(
        Observation(min_galaxies=1),
        MDPL2,
        clusters={"log10_mass": np.full(2, np.nan), "host_id": np.arange(2)},
        galaxies={"R_proj": np.full(13, 0.4), "v_los": np.concatenate([[50.0], np.full(12, 80.0)])},
        offsets=np.array([0, 1, 13]),
    )
    prediction = point.predict(lonely)
    for values in (prediction.log10_mass, error_of(prediction)):
        np.testing.assert_array_equal(np.isnan(values), [True, False])  # twelve of one velocity are an image


def test_impossible_choices_are_refused(mocks):
    with pytest.raises(ValueError, match=r"CNN: found dimensions=3\. Choose 1 or 2"):
        CNN(3)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"DropoutCNN: found dropout=1\.0"):
        DropoutCNN(dropout=1.0)
    with pytest.raises(ValueError, match="found epochs=0"):
        CNNTraining(epochs=0)
    with pytest.raises(ValueError, match="found learning_rate=-1"):
        CNNTraining(learning_rate=-1)
    with pytest.raises(ValueError, match=r"CNN: found 5 clusters of known mass\. Train on at least 20"):
        CNN(1, device="cpu").fit(mocks.select(np.arange(5)))
