"""Figure 1: a cluster in projected phase space, and the image that the network sees.

R is comoving [h^-1 Mpc], v in [km/s].
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustermocks import Catalogue
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.report import Picture, Section
from sbi_clustermass.report.style import BLUE, ORANGE

R_LABEL = r"$R_\mathrm{proj}\ [h^{-1}\,\mathrm{Mpc}]$"
DENSITY_LABEL = r"density $[10^{-3}\,h\,\mathrm{Mpc^{-1}\,km^{-1}\,s}]$"
V_LABEL = r"$v_\mathrm{los}\ [\mathrm{km\,s^{-1}}]$"


@final
@dataclass(frozen=True, eq=False)
class PhaseSpace:
    """One cluster's galaxies and their kernel density.

    Attributes:
        log10_mass: True mass [dex of h^-1 Msun].
        R_proj: Distances [comoving h^-1 Mpc].
        v_los: Velocities [km/s].
        is_member: Which galaxies are true members.
        density: Kernel density [h Mpc^-1 (km/s)^-1] at the image's pixel centres.
        image: Embedding that computes the density.
    """

    log10_mass: float
    R_proj: Float[np.ndarray, "galaxy"]
    v_los: Float[np.ndarray, "galaxy"]
    is_member: Bool[np.ndarray, "galaxy"]
    density: Float[np.ndarray, "R v"]
    image: KDEImage

    def section(self) -> Section:
        """Return the section with the galaxies on the left and their density on the right."""
        figure = Figure(figsize=(8.4, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        draw_galaxies(left, self, size=9)
        left.legend(loc="upper right", fontsize=8)
        shown = draw_density(right, self)
        figure.colorbar(shown, ax=right, label=DENSITY_LABEL)
        for axes in (left, right):
            axes.set(xlabel=R_LABEL, xlim=(0, self.image.aperture), ylim=(-2500, 2500))
        left.set_ylabel(V_LABEL)
        n, members = len(self.R_proj), int(self.is_member.sum())
        caption = (
            f"A mock cluster of log10 M = {self.log10_mass:.2f} with {members} members and {n - members} interlopers: "
            f"galaxies, and the {self.image.bins} x {self.image.bins} kernel density estimate that the network sees "
            f"(kernel width {self.image.factor:.3f} of the sample's)."
        )
        alt = "Left, velocity against projected distance of members and interlopers; right, their smooth density."
        return Section(
            "Phase space and its kernel density (figure 1)", pictures=[Picture("figure1", figure, alt, caption)]
        )


def phase_space(clusters: Catalogue, index: int, *, image: KDEImage | None = None) -> PhaseSpace:
    """Return one mock cluster in the form of the paper's figure 1.

    Args:
        clusters: Mock clusters with interlopers.
        index: Index of the cluster.
        image: Embedding that estimates the density; the paper's by default.

    Raises:
        ValueError: The clusters were observed: their members are unknown.
    """
    image = image or KDEImage(aperture=clusters.observation.aperture)
    x = torch.from_numpy(clusters.select(np.array([index])).padded())
    density = image.density(x)[0].numpy()
    mass = float(clusters.log10_mass[index])
    return PhaseSpace(mass, *clusters.galaxies(index), clusters.is_member(index), density, image)


def draw_galaxies(axes: Axes, cluster: PhaseSpace, *, size: float) -> None:
    """Draw members and interlopers as dots of a given size [points]."""
    for label, chosen, colour in (
        ("interlopers", ~cluster.is_member, ORANGE),
        ("members", cluster.is_member, BLUE),
    ):
        axes.scatter(cluster.R_proj[chosen], cluster.v_los[chosen], s=size, color=colour, label=label, linewidths=0)


def draw_density(axes: Axes, cluster: PhaseSpace):
    """Draw the density as an image, in 10^-3 of its unit."""
    return axes.imshow(1e3 * cluster.density.T, cmap="Greys", **extent_of(cluster.image))


def extent_of(image: KDEImage) -> dict:
    """Return the options that place (v, R) pixels on the axes of `imshow`."""
    extent = (0.0, image.aperture, -image.v_max, image.v_max)
    return {"origin": "lower", "extent": extent, "aspect": "auto", "interpolation": "nearest"}
