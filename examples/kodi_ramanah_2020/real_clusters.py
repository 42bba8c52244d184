"""Figure 8 and Table 1: masses of observed clusters, by us, by the paper and in the literature.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from clustermocks import Catalogue
from kodi_ramanah_2020.published import OTHER_SIMULATOR, TABLE_1, PublishedCluster
from kodi_ramanah_2020.sample import COLOURS
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.style import GREY

_SPAN = (14.3, 15.3)  # [dex]
_APART = 0.015  # distance between points of one cluster [dex]
_INTERLOPERS = (
    "The paper's mocks, and ours like them, have satellites of other haloes as their only interlopers. The cylinder "
    "around an observed cluster also holds field galaxies, which a network trained on such mocks has never seen."
)
_ABOVE = {"xytext": (-5, 5), "ha": "right"}
_BELOW = {"xytext": (5, -5), "ha": "left", "va": "top"}
_CROWDED = ("A85", "A1689", "A2142", "A2670")  # whose labels would stand on others above
_LABELS = {"textcoords": "offset points", "fontsize": 8, "zorder": 5}


@final
@dataclass(frozen=True)
class Inferred:
    """The mass of an observed cluster.

    Attributes:
        mean: Posterior mean [dex].
        std: Posterior standard deviation [dex].
        warnings: Reasons to distrust the mass.
    """

    mean: float
    std: float
    warnings: tuple[str, ...] = ()


@final
@dataclass(frozen=True)
class RealClusters:
    """Masses of observed clusters.

    Attributes:
        n_galaxies: Number of galaxies in the cylinder, by cluster.
        inferred: Masses by estimator and by cluster.
    """

    n_galaxies: Mapping[str, int]
    inferred: Mapping[str, Mapping[str, Inferred]]

    def section(self) -> Section:
        """Return the section with Table 1 and our masses, figure 8, and warnings."""
        figure = Figure(figsize=(5.2, 5.0), layout="constrained")
        _draw(figure.subplots(), self)
        caption = (
            "Inferred against published masses for clusters of the paper's Table 1, with errors of one standard "
            "deviation. Grey: masses of the paper; ours are drawn a little to the right of them. Published masses are "
            "also dynamical: agreement shows consistency, not accuracy."
        )
        picture = Picture("figure8", figure, "Inferred against published cluster masses, around the diagonal.", caption)
        return Section(
            "Observed clusters (figure 8, Table 1)",
            [_INTERLOPERS],
            [self._table()],
            [picture],
            warnings=self._warnings(),
        )

    def _warnings(self) -> list[str]:
        return [
            f"{name}, {estimator}: {'; '.join(found.warnings)}."
            for estimator, masses in self.inferred.items()
            for name, found in masses.items()
            if found.warnings
        ]

    def _table(self) -> Table:
        published = {row.name: row for row in TABLE_1}
        names = [*published, *(name for name in self.n_galaxies if name not in published)]
        header = ("cluster", "galaxies", *self.inferred, "paper", "literature", "from")
        rows = tuple(self._row(name, published.get(name)) for name in names)
        note = (
            f"log10 M200c [h^-1 Msun]; a dash where there are no galaxies here, or no number there. {OTHER_SIMULATOR}"
        )
        return Table("Dynamical masses of observed clusters (Table 1)", header, rows, note)

    def _row(self, name: str, row: PublishedCluster | None) -> tuple[str, ...]:
        ours = [_cell(masses.get(name)) for masses in self.inferred.values()]
        theirs = ("–", "–", "–") if row is None else (_pm(*row.inferred), _literature(row), row.reference)
        return (name, str(self.n_galaxies.get(name, "–")), *ours, *theirs)


def real_clusters(estimators: Mapping[str, MassEstimator], observed: Mapping[str, Catalogue]) -> RealClusters:
    """Infer the masses of observed clusters.

    Args:
        estimators: Estimators by the heading of their column.
        observed: Catalogues of one cluster each (`read_cluster`) by name; Table 1 gives the names of the paper's.

    Raises:
        ValueError: A catalogue does not hold one cluster.
    """
    for name, catalogue in observed.items():
        if len(catalogue) != 1:
            raise ValueError(f"real_clusters: {name} is a catalogue of {len(catalogue)} clusters; each must hold one.")
    found = {
        label: {name: _inferred(estimator, catalogue) for name, catalogue in observed.items()}
        for label, estimator in estimators.items()
    }
    return RealClusters({name: int(each.n_galaxies[0]) for name, each in observed.items()}, found)


def _inferred(estimator: MassEstimator, cluster: Catalogue) -> Inferred:
    posterior = estimator.posterior(cluster)
    (warnings,) = estimator.warnings(cluster, posterior)
    return Inferred(float(posterior.mean[0]), float(posterior.std[0]), warnings)


def _draw(axes: Axes, found: RealClusters) -> None:
    axes.plot(_SPAN, _SPAN, "k--", lw=1)
    style = {"fmt": "o", "ms": 4, "lw": 1, "capsize": 2}
    _points(axes, {row.name: Inferred(*row.inferred) for row in TABLE_1}, GREY, style | {"label": "paper"})
    for i, ((label, masses), colour) in enumerate(zip(found.inferred.items(), COLOURS, strict=False)):
        _points(axes, masses, colour, style | {"label": label, "fmt": "*", "ms": 10}, shift=_APART * (i + 1))
    for row in TABLE_1:
        place = _BELOW if row.name in _CROWDED else _ABOVE
        label = axes.annotate(row.name, (row.literature[0], row.inferred[0]), **place, **_LABELS)
        label.set_path_effects([withStroke(linewidth=2, foreground="white")])
    unit = r"[h^{-1}\,M_\odot]"
    axes.set(
        xlabel=rf"published $\log_{{10}}\,M_{{200c}}\ {unit}$", ylabel=rf"inferred $\log_{{10}}\,M_{{200c}}\ {unit}$"
    )
    axes.set(xlim=_SPAN, ylim=_SPAN, aspect="equal")
    axes.legend(fontsize=8, loc="upper left")


def _points(axes: Axes, masses: Mapping[str, Inferred], colour: str, style: Mapping, *, shift: float = 0.0) -> None:
    """Draw the masses that have a published one; a shifted set repeats no published error."""
    rows = [row for row in TABLE_1 if row.name in masses]
    if not rows:
        return
    x, down, up = np.array([row.literature for row in rows]).T
    y, std = np.array([(masses[row.name].mean, masses[row.name].std) for row in rows]).T
    axes.errorbar(x + shift, y, xerr=None if shift else (down, up), yerr=std, color=colour, **style)


def _pm(mean: float, std: float) -> str:
    return f"{mean:.2f} ± {std:.2f}"


def _cell(found: Inferred | None) -> str:
    return "–" if found is None else _pm(found.mean, found.std) + (" (!)" if found.warnings else "")


def _literature(row: PublishedCluster) -> str:
    mass, down, up = row.literature
    return _pm(mass, up) if up == down else f"{mass:.2f} +{up:.2f} -{down:.2f}"
