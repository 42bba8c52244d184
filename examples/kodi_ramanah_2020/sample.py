"""Test clusters of known mass with an estimator's posteriors.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float, Int

from clustermocks import Catalogue
from kodi_ramanah_2020.published import Kind
from sbi_clustermass.diagnostics.residuals import Measured
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report.style import BLUE, GREEN, ORANGE

THREE_MASSES = (13.8, 14.4, 15.0)  # [dex] low, intermediate, high; the paper does not say which it shows
COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")


@final
@dataclass(frozen=True, eq=False)
class Sample:
    """A test set and its posteriors.

    Attributes:
        name: Name in tables and legends.
        kind: Whether the galaxies include interlopers; selects the paper's numbers to compare with.
        clusters: Mock clusters of known mass.
        posteriors: Posteriors of the clusters, in the same order.
    """

    name: str
    kind: Kind
    clusters: Catalogue
    posteriors: MassPosteriors

    def __post_init__(self) -> None:
        if len(self.clusters) != len(self.posteriors):
            raise ValueError(f"sample {self.name!r}: {len(self.clusters)} clusters, {len(self.posteriors)} posteriors.")

    @property
    def log10_true(self) -> Float[np.ndarray, "cluster"]:
        """True masses [dex]."""
        return self.clusters.log10_mass

    @property
    def residual(self) -> Float[np.ndarray, "cluster"]:
        """log10(predicted/true) with the posterior mean as the prediction [dex]."""
        return self.posteriors.mean - self.log10_true


def nearest(clusters: Catalogue, masses: Sequence[float] = THREE_MASSES) -> tuple[int, ...]:
    """Return the cluster whose true mass is nearest to each given mass [dex]."""
    return tuple(int(np.abs(clusters.log10_mass - mass).argmin()) for mass in masses)


def n_members(clusters: Catalogue) -> Int[np.ndarray, "cluster"]:
    """Count the true members among the galaxies of each mock cluster.

    Raises:
        KeyError: The clusters were observed: their members are unknown.
    """
    cluster = clusters.cluster_of_galaxy
    return np.bincount(cluster[clusters.galaxy_column("is_member")], minlength=len(clusters))


def cell(measured: Measured | None) -> str:
    """Format a number with its error for a table; a dash if there is none."""
    return "–" if measured is None or not np.isfinite(measured.value) else str(measured)


def published_cell(value: float | None, digits: int = 3) -> str:
    """Format a number of the paper for a table; a dash if there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def slug(name: str) -> str:
    """Turn a name into a part of a file name."""
    return "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-").replace("--", "-")
