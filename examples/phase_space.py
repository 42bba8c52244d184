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

from clustermocks.acceptance import stacked_particles

R_EDGES, U_EDGES = np.linspace(0, 1, 5), np.linspace(0, 3, 25)


def interloper_law(X: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Number of interlopers per r200^2 V200 and member, at R = X r200 and |v| = u V200."""
    log10_A = -1.061 + 0.364 * X**2 - 0.580 * X**4 + 0.533 * X**6
    width = 0.612 - 0.0653 * X**2
    return 10**log10_A * np.exp(-(u**2) / (2 * width**2)) + 0.0075


def draw(picture: Path, n: int = 1500, seed: int = 1) -> None:
    """Make the picture."""
    _, X, u, member = stacked_particles(n, seed)
    n_members = int(member.sum())
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for axis, title, shown in (
        (axes[0], "pure: inside r200c", member),
        (axes[1], "contaminated: all in the cylinder", X < 9),
    ):
        axis.hist2d(X[shown], u[shown], bins=(60, 80), range=((0, 1), (-4, 4)), cmap="magma_r", norm="log")
        axis.set(title=title, xlabel="R / r200c", ylabel="v_los / V200")
    for low, high, colour in zip(R_EDGES[:-1], R_EDGES[1:], plt.cm.viridis(np.linspace(0, 0.85, 4)), strict=True):
        seen = ~member & (low <= X) & (high > X)
        count = np.histogram(np.abs(u[seen]), U_EDGES)[0]
        area = np.pi * (high**2 - low**2) * np.diff(U_EDGES)
        u_mid, X_mid = (U_EDGES[1:] + U_EDGES[:-1]) / 2, np.sqrt((low**2 + high**2) / 2)
        axes[2].errorbar(
            u_mid,
            count / area / n_members,
            np.sqrt(count) / area / n_members,
            fmt="o",
            ms=3,
            color=colour,
            label=f"{low:.2f} < R / r200c < {high:.2f}",
        )
        axes[2].plot(u_mid, interloper_law(np.full_like(u_mid, X_mid), u_mid), color=colour)
    axes[2].set(yscale="log", title="interlopers: mocks (dots) and law", xlabel="|v_los| / V200")
    axes[2].set_ylabel("per r200c² V200 and member")
    axes[2].legend(fontsize=7, frameon=False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("phase_space.png"))
