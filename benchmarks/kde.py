"""KDE images of 1000 clusters of 10 to 800 galaxies: our time, scipy's on the same clusters, ratio, largest error.

python benchmarks/kde.py [--device cuda]
"""

import argparse
from math import sqrt
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import gaussian_kde

from sbi_clustermass.embeddings import KDEImage

CLUSTERS, RICHEST, REPEATS = 1000, 800, 15


def clusters(rng: np.random.Generator) -> Float[np.ndarray, "cluster galaxy 3"]:
    """Padded clusters whose richness is uniform in 10..800 and whose velocity dispersion is 150 to 1200 km/s."""
    x = np.zeros((CLUSTERS, RICHEST, 3), dtype=np.float32)
    for row, n in zip(x, rng.integers(10, RICHEST + 1, CLUSTERS), strict=True):
        row[:n, 0] = 1.6 * np.sqrt(rng.random(n))
        row[:n, 1] = np.clip(rng.uniform(150, 1200) * rng.standard_normal(n), -2500, 2500)
        row[:n, 2] = 1
    return x


def ours(x: Float[np.ndarray, "cluster galaxy 3"], device: str) -> tuple[float, Float[np.ndarray, "cluster R v"]]:
    """Best time of several [s], normalised images included, and the densities."""
    image, tensor, times = KDEImage().to(device), torch.from_numpy(x).to(device), []
    for _ in range(REPEATS):
        start = perf_counter()
        float(image(tensor)[-1, -1])  # waits until all is computed
        times.append(perf_counter() - start)
    return min(times), image.density(tensor).cpu().numpy()


def scipys(x: Float[np.ndarray, "cluster galaxy 3"]) -> tuple[float, Float[np.ndarray, "cluster R v"]]:
    """Time [s] and densities of `scipy.stats.gaussian_kde`."""
    image = KDEImage()
    pixels = np.stack(np.meshgrid(image.R_centres, image.v_centres, indexing="ij")).reshape(2, -1)
    start = perf_counter()
    density = [gaussian_kde(row[row[:, 2] > 0, :2].T, bw_method=sqrt(0.15))(pixels) for row in x]
    return perf_counter() - start, np.reshape(density, (len(x), image.bins, image.bins))


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="KDE images: ours and scipy's.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of ours")
    device = parser.parse_args().device
    x = clusters(np.random.default_rng(1))
    time, density = ours(x, device)
    scipy_time, truth = scipys(x)
    error = (np.abs(density - truth).max((1, 2)) / truth.max((1, 2))).max()
    print(f"KDE images, {CLUSTERS} clusters of 10 to {RICHEST} galaxies, {device}, {torch.get_num_threads()} threads")
    print(f"  ours   {time:8.3f} s")
    print(f"  scipy  {scipy_time:8.3f} s")
    print(f"  ratio  {scipy_time / time:8.1f}    (at least 50)")
    print(f"  error  {error:8.1e}    of the peak (at most 1e-5)")


if __name__ == "__main__":
    main()
