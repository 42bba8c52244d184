"""KDEImage against scipy's gaussian_kde, in its invariances, and where scipy has no answer."""

from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import gaussian_kde

from sbi_clustermass.embeddings import KDEImage, embedding_config, embedding_from_config

PEAK_RTOL = 1e-5  # the design's floor; sums in float64 reach 1e-10, those in float32 1.4e-6
F32 = 2e-6  # of the peak: images summed in float32


def cluster(n, *, rho=0.0, spread=600.0, v_mean=0.0, seed=0):
    """(n, 3) galaxies with correlation rho between R and v."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    v = v_mean + spread * (rho * a + sqrt(1 - rho**2) * b)
    return np.stack([0.8 + 0.25 * a, v, np.ones(n)], 1).astype(np.float32)


def padded(*clusters, width=None):
    width = width or max(map(len, clusters))
    x = torch.zeros(len(clusters), width, 3)
    for row, each in zip(x, clusters, strict=True):
        row[: len(each)] = torch.from_numpy(each)
    return x


def scipy_density(galaxies, image):
    pixels = np.stack(np.meshgrid(image.R_centres, image.v_centres, indexing="ij")).reshape(2, -1)
    kde = gaussian_kde(galaxies[:, :2].T.astype(float), bw_method=image.factor)
    return kde(pixels).reshape(image.bins, image.bins)


def largest_error(clusters, image):
    """Of density and image, over the peak."""
    density, pixels = image.density(padded(*clusters)).numpy(), image(padded(*clusters)).numpy()
    truth = np.stack([scipy_density(each, image) for each in clusters])
    assert (truth.max((1, 2)) > 0).all()
    normalised = truth.reshape(len(truth), -1) / truth.sum((1, 2))[:, None]
    errors = np.abs(density - truth).max((1, 2)) / truth.max((1, 2))
    return max(errors.max(), (np.abs(pixels - normalised).max(1) / normalised.max(1)).max())


def assert_same_image(found, expected):
    """Within float32 sums in another order."""
    assert ((found - expected).abs().amax(1) <= F32 * expected.amax(1)).all()


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.8, -0.95, 0.99, -0.99, 0.9999])
def test_the_density_agrees_with_scipy_for_any_correlation(rho):
    clusters = [cluster(30, rho=rho, seed=1), cluster(200, rho=rho, seed=2)]
    assert largest_error(clusters, KDEImage()) < PEAK_RTOL


@pytest.mark.parametrize("rho", [0.0, 0.8, 0.99999])
def test_the_density_is_summed_in_float64_throughout(rho):
    image, galaxies = KDEImage(), cluster(40, rho=rho, seed=1)
    truth = scipy_density(galaxies, image)
    found = image.density(padded(galaxies))[0].numpy()
    assert np.abs(found - truth).max() < 1e-10 * truth.max()  # one float32 number on the way costs 1e-8 or more


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.99])
def test_the_density_agrees_with_scipy_where_velocities_span_fifty_kms(rho):
    clusters = []
    for n, v_mean in ((12, 0.0), (60, 30.0), (300, -1000.0)):
        each = cluster(n, rho=rho, v_mean=v_mean, seed=n)
        span = np.ptp(each[:, 1])
        each[:, 1] = v_mean + (each[:, 1] - v_mean) * 50 / span
        clusters.append(each)
    assert largest_error(clusters, KDEImage()) < PEAK_RTOL


def test_one_padded_batch_holds_clusters_of_ten_to_eight_hundred_galaxies():
    clusters = [cluster(n, rho=0.1, spread=spread, seed=n) for n, spread in ((10, 150), (57, 400), (800, 1200))]
    assert largest_error(clusters, KDEImage()) < PEAK_RTOL


def test_one_far_interloper_does_not_spoil_a_cold_cluster():
    cold = cluster(400, rho=0.3, spread=20.0, v_mean=40.0, seed=5)
    cold[0, 1] = 2450
    assert largest_error([cold], KDEImage()) < PEAK_RTOL


def test_another_factor_grid_and_aperture_agree_with_scipy_too():
    image = KDEImage(0.15, 2.3, v_max=3785.0, bins=48)
    assert largest_error([cluster(80, rho=0.2, seed=3)], image) < PEAK_RTOL


def test_results_do_not_depend_on_how_the_batch_is_cut_into_chunks(monkeypatch):
    x = padded(*(cluster(n, rho=0.97 if n % 2 else 0.1, seed=n) for n in range(5, 40)))
    whole = KDEImage().density(x)
    monkeypatch.setattr("sbi_clustermass.embeddings.kde.CPU_CHUNK", 3000)
    # rtol: float64 sums in another order
    torch.testing.assert_close(KDEImage().density(x), whole, rtol=1e-9, atol=0)


def test_the_image_sums_to_one_and_is_the_normalised_density():
    x = padded(cluster(20), cluster(300, rho=0.99))
    image, density = KDEImage()(x), KDEImage().density(x).flatten(1)
    assert image.dtype == torch.float32
    torch.testing.assert_close(image.sum(1), torch.ones(2), rtol=0, atol=1e-5)  # 2500 float32 roundings
    assert_same_image(image, (density / density.sum(1, keepdim=True)).float())


@pytest.mark.parametrize("n", [3, 30, 300])
def test_images_of_double_galaxies_are_summed_in_float64(n):
    x = padded(*(cluster(n, rho=rho, seed=seed) for seed, rho in enumerate((0.0, 0.1, 0.5)))).double()
    density = KDEImage().density(x).flatten(1)
    torch.testing.assert_close(KDEImage()(x), density / density.sum(1, keepdim=True), rtol=1e-12, atol=0)  # round-off


def test_rounded_matrix_products_and_autocast_do_not_reach_the_image():
    x = padded(*(cluster(n, rho=0.1, seed=n) for n in (10, 40, 200)))
    exact = KDEImage()(x)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        assert_same_image(KDEImage()(x), exact)
    finally:
        torch.set_float32_matmul_precision(before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(KDEImage()(x), exact, rtol=0, atol=0)


@pytest.mark.parametrize("backend", [torch.backends.cuda, torch.backends.mkldnn], ids=["cuda", "mkldnn"])
def test_there_is_an_image_where_torch_cannot_tell_its_precision(backend):
    """After `fp32_precision`, `get_float32_matmul_precision` raises an error."""
    products = getattr(backend, "matmul", None)
    if not hasattr(products, "fp32_precision"):
        pytest.skip("older torch has no such setting")
    x = padded(*(cluster(n, rho=0.1, seed=n) for n in (10, 40, 200)))
    exact = KDEImage()(x.double())
    before = products.fp32_precision
    try:
        products.fp32_precision = "tf32"
        torch.testing.assert_close(KDEImage()(x), exact.float(), rtol=1e-6, atol=0)  # summed in float64, then rounded
    finally:
        products.fp32_precision = before


@given(
    n=st.integers(3, 60), rho=st.floats(-0.9, 0.9), spread=st.floats(60, 1500), v_mean=st.floats(-1500, 1500),
    far=st.booleans(), seed=st.integers(0, 2**16),
)  # fmt: skip
@settings(max_examples=60)
def test_the_image_is_that_of_float64_for_any_cluster(n, rho, spread, v_mean, far, seed):
    galaxies = cluster(n, rho=rho, spread=spread, v_mean=v_mean, seed=seed)
    galaxies[0, 1] = 2450 if far else galaxies[0, 1]
    x = padded(galaxies)
    assert_same_image(KDEImage()(x), KDEImage()(x.double()).float())


@given(n=st.integers(3, 40), rho=st.floats(-0.99, 0.99), extra=st.integers(0, 30), seed=st.integers(0, 2**16))
@settings(max_examples=30)
def test_order_and_padding_of_galaxies_change_nothing_and_v_reversed_mirrors(n, rho, extra, seed):
    image, galaxies = KDEImage(), cluster(n, rho=rho, seed=seed)
    plain = image(padded(galaxies))
    order = np.random.default_rng(seed).permutation(n + extra)
    shuffled = padded(galaxies, width=n + extra)[:, torch.from_numpy(order)]
    assert_same_image(image(shuffled), plain)
    mirrored = image(padded(galaxies * np.float32([1, -1, 1]))).reshape(-1, 50, 50).flip(2).flatten(1)
    assert_same_image(mirrored, plain)


def degenerate():
    line = np.float32([[0.2, -500, 1], [0.4, 0, 1], [0.6, 500, 1], [0.8, 1000, 1]])
    return {
        "one galaxy": np.float32([[0.5, 300, 1]]),
        "two galaxies": np.float32([[0.5, 300, 1], [0.9, -300, 1]]),
        "all at one place": np.tile(np.float32([[0.3, 123.4, 1]]), (12, 1)),
        "all at one radius": cluster(30) * np.float32([0, 1, 1]) + np.float32([0.7, 0, 0]),
        "all at one velocity": cluster(30) * np.float32([1, 0, 1]),
        "all on a line": line,
        "far narrower than a pixel": cluster(20, spread=1e-3) * np.float32([1e-4, 1, 1]),
    }


def pixel_added_density(galaxies, image):
    """The documented floor, by brute force: H + diag(pixel^2)."""
    R, v = galaxies[:, :2].T.astype(float)
    H = image.factor**2 * (np.cov(R, v) if len(R) > 1 else np.zeros((2, 2))) + np.diag(np.square(image.pixel))
    grid = np.stack(np.meshgrid(image.R_centres, image.v_centres, indexing="ij"), -1)
    offset = grid[:, :, None] - np.stack([R, v], 1)
    q = np.einsum("abni,ij,abnj->abn", offset, np.linalg.inv(H), offset)
    return np.exp(-q / 2).mean(-1) / (2 * np.pi * np.sqrt(np.linalg.det(H)))


@pytest.mark.parametrize("case", degenerate())
def test_a_degenerate_cluster_is_seen_through_a_kernel_widened_by_a_pixel(case):
    galaxies, image = degenerate()[case], KDEImage()
    truth = pixel_added_density(galaxies, image)
    found = image.density(padded(galaxies)).numpy()[0]
    assert np.abs(found - truth).max() < PEAK_RTOL * truth.max()
    assert image(padded(galaxies)).sum().item() == pytest.approx(1, abs=1e-5)  # 2500 float32 roundings


def test_a_repeated_galaxy_needs_no_floor():
    galaxies = cluster(20)
    galaxies[1] = galaxies[0]
    assert largest_error([galaxies], KDEImage()) < PEAK_RTOL


def test_a_set_without_galaxies_has_density_zero_and_a_uniform_image():
    x = padded(cluster(10), np.zeros((0, 3), np.float32))
    assert (KDEImage().density(x)[1] == 0).all()
    assert torch.equal(KDEImage()(x)[1], torch.full((2500,), 1 / 2500))
    assert KDEImage()(torch.zeros(2, 0, 3)).isfinite().all()


def test_galaxies_beyond_the_grid_give_a_finite_image():
    x = padded(cluster(10, spread=1e-3, v_mean=1e7), cluster(10, spread=30.0, v_mean=2400.0))
    images = KDEImage()(x)
    assert images.isfinite().all()
    torch.testing.assert_close(images.sum(1), torch.ones(2), rtol=0, atol=1e-5)  # 2500 float32 roundings


def test_there_is_nothing_to_train_and_nothing_to_save():
    image = KDEImage()
    assert not any(each.numel() for each in image.parameters())
    assert not image.state_dict()


def test_wrong_fields_and_shapes_say_what_is_needed():
    with pytest.raises(ValueError, match="factor is 0"):
        KDEImage(0)
    with pytest.raises(ValueError, match=r"bins is 2\.5"):
        KDEImage(bins=2.5)
    with pytest.raises(ValueError, match=r"\(batch, galaxy, 3\)"):
        KDEImage()(torch.zeros(4, 3))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "kdf"}, "Did you mean 'kde'"),
        ({"name": "kde", "fator": 0.1}, "Did you mean 'factor'"),
        ({"name": "kde", "factor": "0.1"}, "factor is '0.1'"),
        ({"factor": 0.1}, "has no name"),
        ("kde", "has no name"),
    ],
)
def test_a_bad_description_says_what_is_wrong(config, message):
    with pytest.raises(ValueError, match=message):
        embedding_from_config(config)


def test_an_embedding_without_a_name_cannot_be_described():
    with pytest.raises(TypeError, match="Linear is not one of EMBEDDINGS"):
        embedding_config(torch.nn.Linear(1, 1))
