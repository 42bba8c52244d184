"""The cube of (x, y, v): the integral of scipy's kernels over each voxel, in the cluster's own frame."""

import numpy as np
import torch
from hypothesis import given, settings, strategies as st
from scipy.stats import norm

from sbi_clustermass.embeddings.kde_cube import KDECube
from sbi_clustermass.embeddings.sky import in_own_frame

CUBE = KDECube(0.4, 1.6, v_max=2000.0, bins=4, richness=False)


def cluster(n, seed):
    rng = np.random.default_rng(seed)
    x = np.ones((n, 5), np.float32)
    x[:, 3:], x[:, 1] = rng.normal(0, [0.6, 0.4], (n, 2)), rng.normal(100, 600, n)
    x[:, 0] = np.hypot(*x[:, 3:].T)
    return torch.from_numpy(x)[None]


@given(n=st.integers(1, 60), seed=st.integers(0, 2**16))
@settings(max_examples=20)
def test_voxels_hold_the_share_of_the_kernels_that_scipy_finds_in_them(n, seed):
    x = cluster(n, seed)
    own = in_own_frame(x[..., 3:], x[..., 2] > 0)[0].double().numpy()
    places, edges = [*own.T, x[0, :, 1].double().numpy()], [np.linspace(-1.6, 1.6, 5)] * 2 + [np.linspace(-2e3, 2e3, 9)]
    total = np.zeros((4, 4, 8))
    for galaxy in zip(*places, strict=True):
        width = [
            max(0.4 * np.sqrt(np.mean(place**2)), 1e-3 * step[1] - 1e-3 * step[0])
            for place, step in zip(places, edges, strict=True)
        ]
        x_share, y_share, v_share = (
            np.diff(norm(*each).cdf(at)) for each, at in zip(zip(galaxy, width, strict=True), edges, strict=True)
        )
        total += x_share[:, None, None] * y_share[:, None] * v_share / n
    # float32: a galaxy at the edge of a voxel of a narrow kernel may fall to either side
    np.testing.assert_allclose(CUBE(x)[0].numpy().reshape(4, 4, 8), total, atol=2e-6 if n > 1 else 1e-2)


def test_the_frame_has_the_major_axis_first_and_positive_sums_of_cubes():
    x = cluster(200, 1)
    own = in_own_frame(x[..., 3:], x[..., 2] > 0)[0].double()
    assert abs(float((own[:, 0] * own[:, 1]).mean())) < 1e-6
    assert own[:, 0].square().mean() > own[:, 1].square().mean()
    assert (own.pow(3).sum(0) > 0).all()
    torch.testing.assert_close(own.norm(dim=1), x[0, :, 0].double(), rtol=1e-6, atol=1e-6)
