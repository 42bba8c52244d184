"""Figure 9: parts of phase space that determine a cluster's mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex], R comoving [h^-1 Mpc], v in [km/s].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.figure import Figure

from clustermocks import Catalogue
from kodi_ramanah_2020.phase_space import (
    DENSITY_LABEL,
    R_LABEL,
    V_LABEL,
    PhaseSpace,
    draw_density,
    draw_galaxies,
    extent_of,
)
from sbi_clustermass.diagnostics.saliency import SIGMA, Saliency, saliency
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.report import Picture, Section, Table


@final
@dataclass(frozen=True, eq=False)
class SaliencyMaps:
    """Saliency maps of a few clusters.

    Attributes:
        clusters: Galaxies of the clusters.
        maps: Saliency map of each cluster.
        sigma: Width of the masks [pixel].
    """

    clusters: tuple[PhaseSpace, ...]
    maps: tuple[Saliency, ...]
    sigma: float

    def section(self) -> Section:
        """Return the section with the density above and the change of the mass below, one column per cluster."""
        figure = Figure(figsize=(3.5 * len(self.maps) + 0.6, 6.4), layout="constrained")
        axes = figure.subplots(2, len(self.maps), sharex=True, sharey=True, squeeze=False)
        most = max(float(np.nanmax(np.abs(each.change))) for each in self.maps)
        for top, bottom, cluster, found in zip(*axes, self.clusters, self.maps, strict=True):
            density = draw_density(top, cluster)
            draw_galaxies(top, cluster, size=3)
            change = bottom.imshow(found.change.T, cmap="RdBu", vmin=-most, vmax=most, **extent_of(cluster.image))
            top.set_title(f"true {cluster.log10_mass:.2f}, inferred {found.log10_mass:.2f}", fontsize=10)
            bottom.set(
                xlabel=R_LABEL, xlim=(0, cluster.image.aperture), ylim=(-cluster.image.v_max, cluster.image.v_max)
            )
            figure.colorbar(density, ax=top, label="" if top is not axes[0, -1] else DENSITY_LABEL)
        figure.colorbar(change, ax=list(axes[1]), label=r"$\Delta\log_{10} M_\mathrm{pred}$ [dex]")
        for row in axes:
            row[0].set_ylabel(V_LABEL)
        axes[0, 0].legend(loc="upper right", fontsize=7)
        picture = Picture("figure9", figure, self._alt(), self._caption())
        return Section("Saliency maps (figure 9)", tables=[self._table()], pictures=[picture])

    def _alt(self) -> str:
        return "Above, kernel densities of clusters with their galaxies; below, maps of how a mask changes the mass."

    def _caption(self) -> str:
        how = "pixels of the image are dimmed" if self.maps[0].masked == "pixels" else "galaxies are removed"
        return (
            f"Change of the inferred log10 mass when {how} by a Gaussian mask of {self.sigma:g} pixels (eq. 9) "
            "centred on each pixel: red where the mass rests on what stands there, blue where that lowers it."
        )

    def _table(self) -> Table:
        rows = tuple(_row(cluster, found) for cluster, found in zip(self.clusters, self.maps, strict=True))
        header = (
            "true log10 M",
            "inferred",
            "largest fall [dex]",
            "at R, v",
            "largest rise [dex]",
            "mean at members",
            "mean at interlopers",
        )
        note = "The paper reads its maps by eye and prints no numbers for them."
        return Table("Change of the inferred mass under a mask", header, rows, note)


def saliency_maps(
    estimator: MassEstimator, clusters: Catalogue, which: Sequence[int], *, sigma: float = SIGMA
) -> SaliencyMaps:
    """Compute the maps of a few mock clusters (section 7).

    Args:
        estimator: Estimator trained on clusters with interlopers.
        clusters: Test clusters with interlopers.
        which: Indices of the clusters to show.
        sigma: Width of the masks [pixel].
    """
    maps = tuple(saliency(estimator, clusters, i, sigma=sigma) for i in which)
    return SaliencyMaps(
        tuple(_phase_space(clusters, i, found) for i, found in zip(which, maps, strict=True)), maps, sigma
    )


def _phase_space(clusters: Catalogue, index: int, found: Saliency) -> PhaseSpace:
    """Return the cluster with the pixels and the density of its map."""
    bins, half_R, half_v = len(found.R_centres), found.R_centres[0], found.v_centres[-1]
    step = found.v_centres[1] - found.v_centres[0]
    image = KDEImage(aperture=float(found.R_centres[-1] + half_R), v_max=float(half_v + step / 2), bins=bins)
    mass = float(clusters.log10_mass[index])
    return PhaseSpace(mass, *clusters.galaxies(index), clusters.is_member(index), found.density, image)


def _row(cluster: PhaseSpace, found: Saliency) -> tuple[str, ...]:
    a, b = np.unravel_index(np.nanargmin(found.change), found.change.shape)
    at_galaxies, member = found.at(cluster.R_proj, cluster.v_los), cluster.is_member
    means = [f"{np.nanmean(at_galaxies[part]):+.4f}" if part.any() else "–" for part in (member, ~member)]
    return (
        f"{cluster.log10_mass:.2f}",
        f"{found.log10_mass:.2f}",
        f"{np.nanmin(found.change):.4f}",
        f"{found.R_centres[a]:.2f}, {found.v_centres[b]:.0f}",
        f"{np.nanmax(found.change):.4f}",
        *means,
    )
