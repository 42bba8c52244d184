"""KDE images of 1000 clusters, typical and rich ones: our time, scipy's on the same clusters, ratio, largest error.

    python benchmarks/kde.py [--device cuda]

Typical are log-normal numbers of galaxies with a median of 30, rich ones numbers from 10 to 800, all equally likely.
"""

import argparse
from math import sqrt
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import gaussian_kde

from sbi_clustermass.embeddings import KDEImage

CLUSTERS, REPEATS = 1000, 15


def clusters(rng: np.random.Generator, number: Int[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster galaxy 3"]:
    """Padded clusters of so many galaxies, whose velocity dispersion is 150 to 1200 km/s."""
    x = np.zeros((len(number), number.max(), 3), dtype=np.float32)
    for row, n in zip(x, number, strict=True):
        row[:n, 0] = 1.6 * np.sqrt(rng.random(n))
        row[:n, 1] = np.clip(rng.uniform(150, 1200) * rng.standard_normal(n), -2500, 2500)
        row[:n, 2] = 1
    return x


def ours(x: Float[np.ndarray, "cluster galaxy 3"], device: str) -> tuple[float, Float[np.ndarray, "cluster pixel"]]:
    """Best time of several [s], and the images."""
    image, tensor, times = KDEImage().to(device), torch.from_numpy(x).to(device), []
    for _ in range(REPEATS):
        start = perf_counter()
        float(image(tensor)[-1, -1])  # waits until all is computed
        times.append(perf_counter() - start)
    return min(times), image(tensor).cpu().numpy()


def scipys(x: Float[np.ndarray, "cluster galaxy 3"]) -> tuple[float, Float[np.ndarray, "cluster pixel"]]:
    """Time [s] of `scipy.stats.gaussian_kde`, and its densities over their sum."""
    image = KDEImage()
    pixels = np.stack(np.meshgrid(image.R_centres, image.v_centres, indexing="ij")).reshape(2, -1)
    start = perf_counter()
    density = [gaussian_kde(row[row[:, 2] > 0, :2].T, bw_method=sqrt(0.15))(pixels) for row in x]
    return perf_counter() - start, density / np.sum(density, axis=1, keepdims=True)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="KDE images: ours and scipy's.")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of ours")
    device = parser.parse_args().device
    rng = np.random.default_rng(1)
    typical = np.exp(rng.normal(np.log(30), 0.6, CLUSTERS)).clip(5).astype(int)
    for name, number, wanted in (("typical", typical, 60), ("rich", rng.integers(10, 801, CLUSTERS), 80)):
        x = clusters(rng, number)
        time, images = ours(x, device)
        scipy_time, truth = scipys(x)
        error = (np.abs(images - truth).max(1) / truth.max(1)).max()
        middle = np.median(number)
        print(f"KDE images, {CLUSTERS} {name} clusters (median {middle:.0f} galaxies), {device}")
        print(f"  ours   {time:8.3f} s, {torch.get_num_threads()} threads")
        print(f"  scipy  {scipy_time:8.3f} s")
        print(f"  ratio  {scipy_time / time:8.1f}    (wanted: {wanted})")
        print(f"  error  {error:8.1e}    of the peak (at most 1e-5)")


if __name__ == "__main__":
    main()
