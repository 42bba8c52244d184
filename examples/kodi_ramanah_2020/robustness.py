"""Figure 7: the same clusters with fewer galaxies and with velocity errors.

Masses are M200c [h^-1 Msun] as log10_mass [dex], velocities [km/s].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from matplotlib.figure import Figure

from clustermocks import Catalogue
from clustermocks.perturbations import thinned, with_velocity_errors
from kodi_ramanah_2020.published import OTHER_SIMULATOR
from kodi_ramanah_2020.sample import COLOURS, cell
from sbi_clustermass.diagnostics.residuals import Measured, mean_of, residuals
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report import Picture, Section, Table
from sbi_clustermass.report.style import MASS

SHARE_LEFT = 0.67  # "33 % fewer galaxies"
VELOCITY_ERROR = 100.0  # [km/s]
FEWER, NOISY = "33 % fewer galaxies", "100 km/s errors"
_STYLES = {FEWER: "--", NOISY: "-."}


@final
@dataclass(frozen=True)
class Shift:
    """Effect of a change on the posteriors of a test set, cluster by cluster.

    Attributes:
        mean: Mean of log10(M_changed / M) [dex].
        rms: Standard deviation of log10(M_changed / M) [dex].
        widening: Mean ratio of the posteriors' standard deviations [1].
        scatter: Scatter of the residuals of the same clusters [dex], before and after.
        n: Number of clusters compared.
        lost: Number of clusters with too few galaxies after the change.
    """

    mean: Measured
    rms: Measured
    widening: Measured
    scatter: tuple[Measured, Measured]
    n: int
    lost: int


@final
@dataclass(frozen=True, eq=False)
class Robustness:
    """Posteriors of a few clusters before and after changes, and the effect of the changes on all clusters.

    Attributes:
        truth: True masses of the chosen clusters [dex].
        whole: Posteriors of the chosen clusters.
        changed: Posteriors after each change, matched to `whole` by name; some may be lost.
        shifts: Effect of each change on the whole set.
    """

    truth: Float[np.ndarray, "cluster"]
    whole: MassPosteriors
    changed: Mapping[str, MassPosteriors]
    shifts: Mapping[str, Shift]

    def section(self) -> Section:
        """Return the section with a picture of the chosen clusters, and tables of them and of the whole set."""
        figure = Figure(figsize=(6.4, 4.0), layout="constrained")
        axes = figure.subplots()
        for i, (true, colour) in enumerate(zip(self.truth, COLOURS, strict=False)):
            axes.plot(self.whole.grid, self.whole.prob[i], color=colour, lw=1.5)
            axes.axvline(true, color=colour, lw=0.8, alpha=0.6)
            for change, found in self.changed.items():
                for row in _rows_of(found, self.whole.names[i]):
                    axes.plot(found.grid, found.prob[row], color=colour, ls=_STYLES[change], lw=1.3)
        for label, style in {"all galaxies": "-", **_STYLES}.items():
            axes.plot([], [], color="k", ls=style, lw=1.3, label=label)
        axes.set(xlabel=MASS, ylabel="posterior density [1/dex]", ylim=(0, 1.3 * self.whole.prob.max()))
        axes.legend(fontsize=8, loc="upper center", ncols=3)
        caption = (
            "Posteriors of single clusters with all galaxies, with fewer, and with velocity errors; thin: true mass."
        )
        alt = "Three groups of three posterior densities: solid, dashed and dash-dotted ones nearly coincide."
        picture = Picture("figure7", figure, alt, caption)
        return Section("Fewer galaxies, velocity errors (figure 7)", tables=self._tables(), pictures=[picture])

    def _tables(self) -> list[Table]:
        rows = [
            (f"{true:.2f}", _point(self.whole, i), *(self._point_of(change, i) for change in self.changed))
            for i, true in enumerate(self.truth)
        ]
        single = Table("Inferred masses", ("true log10 M", "all galaxies", *self.changed), tuple(rows), _NOTE)
        header = (
            "change",
            "mean shift [dex]",
            "rms shift [dex]",
            "width",
            "scatter before",
            "after [dex]",
            "clusters",
            "lost",
        )
        every = tuple((change, *_cells(shift)) for change, shift in self.shifts.items())
        note = (
            "Shift: log10 of the mass after over before, cluster by cluster. Width: of the posterior, after over "
            "before. Lost: fewer galaxies left than a mass needs. The paper shows three clusters only."
        )
        return [single, Table("The whole test set", header, every, note)]

    def _point_of(self, change: str, i: int) -> str:
        found = self.changed[change]
        rows = _rows_of(found, self.whole.names[i])
        return _point(found, rows[0]) if rows else "too few galaxies"


_NOTE = (
    "The paper finds marginally lower masses with fewer galaxies, most so for the lightest cluster, true masses within "
    f"one standard deviation, and no significant bias by velocity errors; it prints no numbers. {OTHER_SIMULATOR}"
)


def robustness(estimator: MassEstimator, clusters: Catalogue, which: Sequence[int], *, seed: int) -> Robustness:
    """Remove a third of the galaxies, or add errors of 100 km/s to the velocities, and infer the masses again.

    Args:
        estimator: Estimator trained on clusters with interlopers.
        clusters: Test clusters with interlopers.
        which: Indices of the clusters to show; the changes are measured on all.
        seed: Seed of the removed galaxies and of the errors.
    """
    numbered = _numbered(clusters)
    whole = estimator.posterior(numbered)
    catalogues = {
        FEWER: thinned(numbered, SHARE_LEFT, seed),
        NOISY: with_velocity_errors(numbered, VELOCITY_ERROR, seed + 1),
    }
    found = {change: estimator.posterior(catalogue) for change, catalogue in catalogues.items()}
    names = [str(i) for i in which]
    return Robustness(
        truth=clusters.log10_mass[list(which)],
        whole=whole[names],
        changed={change: each[[name for name in names if name in set(each.names)]] for change, each in found.items()},
        shifts={change: _shift(whole, each, clusters.log10_mass) for change, each in found.items()},
    )


def _numbered(clusters: Catalogue) -> Catalogue:
    """Name the clusters by their index, so that they can be matched after a change."""
    table = clusters.clusters.drop_columns([name for name in ("name",) if name in clusters.columns])
    return replace(clusters, clusters=table.append_column("name", pa.array([str(i) for i in range(len(clusters))])))


def _shift(whole: MassPosteriors, changed: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Shift:
    rows = np.array([int(name) for name in changed.names])
    before, true = whole[rows], log10_true[rows]
    mean, rms = residuals(changed.mean, before.mean)
    return Shift(
        mean=mean,
        rms=rms,
        widening=mean_of(changed.std / before.std),
        scatter=(residuals(before.mean, true)[1], residuals(changed.mean, true)[1]),
        n=len(rows),
        lost=len(whole) - len(rows),
    )


def _rows_of(posteriors: MassPosteriors, name: str) -> list[int]:
    return [i for i, each in enumerate(posteriors.names) if each == name]


def _point(posteriors: MassPosteriors, i: int) -> str:
    return f"{posteriors.mean[i]:.2f} ± {posteriors.std[i]:.2f}"


def _cells(shift: Shift) -> tuple[str, ...]:
    numbers = (shift.mean, shift.rms, shift.widening, *shift.scatter)
    return (*map(cell, numbers), str(shift.n), str(shift.lost))
