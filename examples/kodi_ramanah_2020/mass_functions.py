"""Figure 2: mass distributions of training and test sets.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from clustermocks import Catalogue, HaloMassFunction
from kodi_ramanah_2020.published import Kind
from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.style import BLUE, MASS, ORANGE

WIDTH = 0.1  # width of a bin [dex]


@final
@dataclass(frozen=True, eq=False)
class Sets:
    """A training and a test set of one kind."""

    kind: Kind
    training: Catalogue
    test: Catalogue


@final
@dataclass(frozen=True, eq=False)
class MassFunctions:
    """Number of clusters per dex of mass in each set.

    Attributes:
        sets: Training and test sets.
        edges: Edges of the bins [dex].
        masses: Mass function that the test sets were drawn from.
    """

    sets: tuple[Sets, ...]
    edges: Float[np.ndarray, "edge"]
    masses: HaloMassFunction

    def per_dex(self, catalogue: Catalogue) -> Float[np.ndarray, "bin"]:
        """Count clusters per dex."""
        return np.histogram(catalogue.log10_mass, self.edges)[0] / np.diff(self.edges)

    def attempted_per_dex(
        self, catalogue: Catalogue, log10_mass: Float[np.ndarray, "mass"]
    ) -> Float[np.ndarray, "mass"]:
        """Return the expected number of clusters per dex of a test set before the richness cut."""
        return catalogue.attempts.num_rows * self.masses.density(log10_mass) / self.masses.number_density()

    def section(self) -> Section:
        """Return the section with one panel and two rows per kind of set."""
        figure = Figure(figsize=(4.3 * len(self.sets), 3.8), layout="constrained")
        panels = figure.subplots(1, len(self.sets), sharey=True, squeeze=False)[0]
        for axes, pair in zip(panels, self.sets, strict=True):
            self._draw(axes, pair)
        panels[0].set_ylabel("clusters per dex")
        panels[-1].legend(fontsize=8)
        caption = (
            f"Masses of the sets in bins of {WIDTH:g} dex. The dashed line is the mass function ({self.masses.model}) "
            "that the test clusters were drawn from, before those with too few galaxies were left out; training sets "
            "were made flat after that cut."
        )
        alt = "Histograms of log mass: training sets flat, test sets falling steeply along the mass function."
        return Section(
            "Mass functions of the sets (figure 2)",
            tables=[self._table()],
            pictures=[Picture("figure2", figure, alt, caption)],
        )

    def _draw(self, axes: Axes, pair: Sets) -> None:
        for name, catalogue, colour in (("training", pair.training, BLUE), ("test", pair.test, ORANGE)):
            axes.stairs(self.per_dex(catalogue), self.edges, color=colour, lw=1.6, label=name)
        grid = np.linspace(self.edges[0], self.edges[-1], 200)
        axes.plot(grid, self.attempted_per_dex(pair.test, grid), "k--", lw=1, label="mass function")
        axes.set(xlabel=MASS, yscale="log", title=pair.kind)

    def _table(self) -> Table:
        rows = []
        for pair in self.sets:
            for name, catalogue in (("training", pair.training), ("test", pair.test)):
                hosts, n = len(np.unique(catalogue.host_id)), catalogue.n_galaxies
                shared = len(np.intersect1d(pair.training.host_id, pair.test.host_id))
                richness = f"{np.median(n):.0f} ({n.min()} to {n.max()})"
                rows.append((f"{pair.kind}, {name}", str(len(catalogue)), str(hosts), richness, str(shared)))
        header = ("set", "clusters", "haloes", "galaxies: median (range)", "haloes in both sets")
        return Table("Sets", header, tuple(rows), "The paper has around 20 000 clusters in each of its four sets.")


def mass_functions(sets: Sequence[Sets], masses: HaloMassFunction) -> MassFunctions:
    """Count the clusters of training and test sets in bins of mass.

    Args:
        sets: Training and test set of each kind.
        masses: Mass function that the test sets were drawn from.
    """
    n_bins = round((masses.high - masses.low) / WIDTH)
    return MassFunctions(tuple(sets), np.linspace(masses.low, masses.high, n_bins + 1), masses)
