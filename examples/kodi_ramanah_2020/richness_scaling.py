"""Figure 6: scatter against the number of galaxies, compared with classical estimators (eq. 8).

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustermocks import Catalogue
from kodi_ramanah_2020.published import GCMRP_AT_100, OTHER_SIMULATOR, PUBLISHED
from kodi_ramanah_2020.sample import COLOURS, Sample, cell, n_members
from kodi_ramanah_2020.shot_noise import PIVOT_RICHNESS, ShotNoise, dispersion_noise, fit_shot_noise
from sbi_clustermass.diagnostics.residuals import Measured, residuals
from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.style import GREY

LEAST_MASS = 14.0  # [dex] half a dex above the lower end of the paper's masses
_BINS, _FEWEST = 9, 30


@final
@dataclass(frozen=True, eq=False)
class Scaling:
    """Eq. 8 fitted to one estimator.

    Attributes:
        name: Name of the estimator.
        everywhere: Fit to all clusters; None if there are too few.
        above: Fit to clusters above 10^14.
        log10_estimated: Point estimates [dex].
        clusters: Clusters of the estimates.
        n_members: Number of true members of each cluster.
    """

    name: str
    everywhere: ShotNoise | None
    above: ShotNoise | None
    log10_estimated: Float[np.ndarray, "cluster"]
    clusters: Catalogue
    n_members: Int[np.ndarray, "cluster"]

    @classmethod
    def from_estimates(cls, name: str, log10_estimated: Float[np.ndarray, "cluster"], clusters: Catalogue) -> "Scaling":
        """Fit eq. 8, to all clusters and to those above 10^14."""
        members = n_members(clusters)
        everywhere, above = (
            _fitted(log10_estimated[rows], clusters.select(rows), members[rows])
            for rows in (np.arange(len(clusters)), np.flatnonzero(clusters.log10_mass >= LEAST_MASS))
        )
        return cls(name, everywhere, above, log10_estimated, clusters, members)

    def binned(self) -> tuple[Float[np.ndarray, "bin"], list[Measured]]:
        """Median number of members, and scatter about the power law, of clusters above 10^14 in bins of that number."""
        if self.above is None:
            return np.zeros(0), []
        true, read = self.clusters.log10_mass, self.above.read(self.log10_estimated)
        good = (true >= LEAST_MASS) & np.isfinite(self.log10_estimated) & (self.n_members > 0)
        edges = np.geomspace(self.n_members[good].min(), self.n_members[good].max() + 1, _BINS + 1)
        which = np.where(good, np.digitize(self.n_members, edges) - 1, -1)
        bins = [rows for rows in (np.flatnonzero(which == i) for i in range(_BINS)) if len(rows) >= _FEWEST]
        centre = np.array([np.median(self.n_members[rows]) for rows in bins])
        return centre, [residuals(read[rows], true[rows])[1] for rows in bins]


@final
@dataclass(frozen=True, eq=False)
class RichnessScaling:
    """Eq. 8 for flows and for rivals."""

    flows: tuple[Scaling, ...]
    rivals: tuple[Scaling, ...]

    def section(self) -> Section:
        """Scatter against number on the left, the plane of sigma_N and sigma_0 on the right."""
        figure = Figure(figsize=(11.4, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for scaling, colour in zip(self.flows, COLOURS, strict=False):
            _draw_scatter(left, scaling, colour)
        _draw_plane(right, self)
        n = np.geomspace(8, 800, 50)
        left.plot(n, dispersion_noise(n), "k:", lw=1, label=r"$3/(\sqrt{2N}\ln 10)$")
        left.set(xscale="log", xlabel=r"$N_\mathrm{mem}$", ylabel="scatter [dex]", xlim=(8, 800), ylim=(0, 0.35))
        left.legend(fontsize=8)
        caption = (
            "Left: scatter about the power law between inferred and true mass for clusters above 10^14, and eq. 8 "
            "fitted to it. Right: its two numbers (filled: clusters above 10^14, open: all), the paper's in black, and "
            "classical estimators on the same clusters in grey. The paper's figure has seventeen others, without "
            "numbers."
        )
        alt = "Left, scatter falling with the number of members; right, sigma_N against sigma_0 of every estimator."
        picture = Picture("figure6", figure, alt, caption)
        return Section("Scatter and the number of galaxies (figure 6)", self._text(), [self._table()], [picture])

    def _text(self) -> list[str]:
        return [
            "Eq. 8 splits the scatter about the best power law between inferred and true mass: sigma^2 = sigma_N^2 "
            "(N_mem/100)^-1 + sigma_0^2, N_mem the true members among the galaxies. At the lower end of the prior, "
            "where most poor clusters are, posteriors cannot reach further down: the power law flattens, and eq. 8 "
            "does not describe the scatter of poor clusters. Clusters above 10^14 are free of that.",
            "In mocks the number of galaxies alone is a good measure of mass; in a survey it depends on depth and "
            "completeness.",
        ]

    def _table(self) -> Table:
        rows = [row for scaling in (*self.flows, *self.rivals) for row in _rows(scaling)]
        for kind, paper in PUBLISHED.items():
            rows.append((f"paper, {kind}", "all", f"{paper.sigma_N:.2f}", f"{paper.sigma_0:.2f}", "–", "–", "–"))
        noise = float(dispersion_noise(PIVOT_RICHNESS))
        rows.append(("velocity dispersion, noise alone", "any", f"{noise:.3f}", "0", "–", f"{noise:.3f}", "–"))
        rows.append(("best traditional, as the paper has it", "rich", "–", "–", "–", f"at least {GCMRP_AT_100:g}", "–"))
        header = ("estimator", "masses", "sigma_N [dex]", "sigma_0 [dex]", "slope", "at N_mem = 100 [dex]", "clusters")
        note = (
            f"{OTHER_SIMULATOR} The slope is that of inferred against true mass. Scatter is in true mass: that of the "
            "estimates over the slope, so that nothing is gained by drawing them towards a mean."
        )
        return Table("Scatter and the number of galaxies, eq. 8", header, tuple(rows), note)


def richness_scaling(
    samples: Sequence[Sample], rivals: Mapping[str, Float[np.ndarray, "cluster"]] | None = None
) -> RichnessScaling:
    """Fit eq. 8 to the posterior means of samples, and to rivals' estimates of the first sample's clusters.

    Args:
        samples: Test sets with posteriors.
        rivals: Point estimates [dex] by name.
    """
    flows = tuple(Scaling.from_estimates(each.name, each.posteriors.mean, each.clusters) for each in samples)
    first = samples[0].clusters
    return RichnessScaling(
        flows, tuple(Scaling.from_estimates(name, found, first) for name, found in (rivals or {}).items())
    )


def _fitted(
    log10_estimated: Float[np.ndarray, "cluster"], clusters: Catalogue, members: Int[np.ndarray, "cluster"]
) -> ShotNoise | None:
    try:
        return fit_shot_noise(log10_estimated, clusters.log10_mass, members, host_id=clusters.host_id)
    except ValueError:  # too few clusters above 10^14, or estimates that do not rise with mass
        return None


def _rows(scaling: Scaling) -> list[tuple[str, ...]]:
    found = (("all", scaling.everywhere), (f"above {LEAST_MASS:g}", scaling.above))
    return [
        (
            scaling.name,
            masses,
            cell(fit.sigma_N),
            cell(fit.sigma_0),
            cell(fit.slope),
            f"{float(fit.scatter(PIVOT_RICHNESS)):.3f}",
            str(fit.n_clusters),
        )
        for masses, fit in found
        if fit is not None
    ]


def _draw_scatter(axes: Axes, scaling: Scaling, colour: str) -> None:
    centre, scatter = scaling.binned()
    if scaling.above is None or not len(centre):
        return
    error = [each.error for each in scatter]
    axes.errorbar(centre, [each.value for each in scatter], yerr=error, fmt="o", ms=4, color=colour, capsize=2)
    n = np.geomspace(centre.min(), centre.max(), 50)
    axes.plot(n, scaling.above.scatter(n), color=colour, lw=1.2, label=scaling.name)


def _draw_plane(axes: Axes, scaling: RichnessScaling) -> None:
    for each, colour in zip(scaling.flows, COLOURS, strict=False):
        for fit, face, label in ((each.above, colour, each.name), (each.everywhere, "white", None)):
            _draw_point(axes, fit, label, {"fmt": "*", "color": colour, "mfc": face, "ms": 12})
    for each, marker in zip(scaling.rivals, "svD^<>", strict=False):
        _draw_point(axes, each.above, each.name, {"fmt": marker, "color": GREY, "ms": 6})
    for kind, paper, marker in zip(PUBLISHED, PUBLISHED.values(), ("*", "P"), strict=True):
        axes.plot(paper.sigma_N, paper.sigma_0, marker, color="k", ms=11, ls="none", label=f"paper, {kind}")
    axes.axvline(float(dispersion_noise(PIVOT_RICHNESS)), color="k", ls=":", lw=1, label="dispersion, noise alone")
    axes.set(xlabel=r"$\sigma_N$ [dex]", ylabel=r"$\sigma_0$ [dex]", xlim=(-0.01, None), ylim=(-0.01, None))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))


def _draw_point(axes: Axes, fit: ShotNoise | None, label: str | None, style: Mapping) -> None:
    if fit is None:
        return
    errors = {"xerr": fit.sigma_N.error, "yerr": fit.sigma_0.error}
    axes.errorbar(fit.sigma_N.value, fit.sigma_0.value, **errors, label=label, capsize=2, lw=1, **style)
