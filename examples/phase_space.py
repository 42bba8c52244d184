"""Stacked projected phase space of mock clusters: pure, contaminated, and the interlopers against a published law.

python examples/phase_space.py [picture.png]. The law was measured on dark matter in a hydrodynamical cosmological
simulation (Mamon, Biviano & Murante 2010, A&A 520, A30, eq. 8 and table 3), so the mocks are `HaloModel.dark_matter()`.
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from benchmarks.acceptance import Particles, stacked_particles

R_EDGES, U_EDGES = np.linspace(0, 1, 5), np.linspace(0, 3, 25)


def interloper_law(X: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Number of interlopers per r200^2 V200 and member, at R = X r200 and |v| = u V200."""
    log10_A = -1.061 + 0.364 * X**2 - 0.580 * X**4 + 0.533 * X**6
    width = 0.612 - 0.0653 * X**2
    return 10**log10_A * np.exp(-(u**2) / (2 * width**2)) + 0.0075


def draw(picture: Path, n: int = 1500, seed: int = 1) -> None:
    """Make the picture."""
    particles = stacked_particles(n, seed)
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    everything = np.ones(len(particles.inside), bool)
    for axis, title, shown in (
        (axes[0], "pure: inside r200c", particles.inside),
        (axes[1], "contaminated: all in the cylinder", everything),
    ):
        place = (particles.R_proj[shown], particles.v_los[shown])
        axis.hist2d(*place, bins=(60, 80), range=((0, 1), (-4, 4)), cmap="magma_r", norm="log")
        axis.set(title=title, xlabel="R / r200c", ylabel="v_los / V200")
    draw_interlopers(axes[2], particles)
    figure.savefig(picture, dpi=120)


def draw_interlopers(axis: Axes, particles: Particles) -> None:
    """Density of interlopers against velocity in four rings, and the law."""
    speed, u_mid = np.abs(particles.v_los), (U_EDGES[1:] + U_EDGES[:-1]) / 2
    for low, high, colour in zip(R_EDGES[:-1], R_EDGES[1:], plt.cm.viridis(np.linspace(0, 0.85, 4)), strict=True):
        seen = ~particles.inside & (low <= particles.R_proj) & (high > particles.R_proj)
        count = np.histogram(speed[seen], U_EDGES)[0]
        unit = np.pi * (high**2 - low**2) * np.diff(U_EDGES) * particles.inside.sum()
        label = f"{low:.2f} < R / r200c < {high:.2f}"
        axis.errorbar(u_mid, count / unit, np.sqrt(count) / unit, fmt="o", ms=3, color=colour, label=label)
        X_mid = np.full_like(u_mid, np.sqrt((low**2 + high**2) / 2))
        axis.plot(u_mid, interloper_law(X_mid, u_mid), color=colour)
    axis.set(yscale="log", title="interlopers: mocks (dots) and law", xlabel="|v_los| / V200")
    axis.set_ylabel("per r200c² V200 and member")
    axis.legend(fontsize=7, frameon=False)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("phase_space.png"))
