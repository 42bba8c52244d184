"""Checks of how a cluster's table was prepared: bright galaxies only, interlopers removed, or cut in velocity.

An estimator that was trained on thinned clusters is not misled by few galaxies, so the other tests do not fire; but the
reader of the mass should know. Each check compares one number with mocks of the inferred mass, in one direction.
Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeAlias, final

import numpy as np
from jaxtyping import Float, Int

from clustermocks import Catalogue
from sbi_clustermass.embeddings.trial_masses import RADIUS, SPEED
from sbi_clustermass.estimator.misspecification.percentiles import MassAndRichness, Percentiles, mass_and_richness
from sbi_clustermass.estimator.misspecification.summary_checks import Infer
from sbi_clustermass.estimator.misspecification.summary_statistics import anscombe, inverse_anscombe
from sbi_clustermass.posterior import MassPosteriors

OUTSIDE = "n_outside_velocity"  # column of a catalogue: galaxies in the aperture, beyond the velocity cut; -1: unknown
FASTEST = "fastest"  # column of a catalogue: largest |v_los| of galaxies in the aperture [km/s], beyond the cut as well
CHECKS = ("sparse", "cleaned", "cut")
# Rates of false alarms. The number of galaxies at a given mass scatters by a factor of two, and so does a mass that is
# inferred without it: at a rate of 1 %, hardly any thinned cluster would be noticed.
RATES = (0.05, 0.01, 0.01)
_BINS, _MIN_BIN = 4, 125  # bins of inferred mass; held-out mocks in each: p-values go down to .008
_EDGE = (1.30, 0.16, 0.80)  # twice the members' line-of-sight dispersion in the mocks [V200]: value at the centre, its
# decrease per r200c, and its minimum
_SPARSE, _CLEANED, _CUT = range(3)
Values: TypeAlias = Float[np.ndarray, "cluster"]
Scaled: TypeAlias = Float[np.ndarray, "check cluster"]


@final
@dataclass(frozen=True, eq=False)
class PreprocessingChecks:
    """Completeness, interloper removal and velocity range of a cluster's table, compared with mocks. `fit` makes one.

    Attributes:
        complete: Distribution of log N at each inferred mass, for mocks all of whose galaxies have velocities.
        observed: Distributions of log N, fast galaxies and galaxies beyond the velocity cut at each inferred mass and
            N, for mocks as they are observed; the first is not used.
        edges: Inferred masses at the edges between bins [dex], (bin - 1,).
        aside: Shares of mocks below each held-out mock, ascending, for each check and bin, (check, bin, held_out).
        reach: Largest velocity up to which galaxies beyond the velocity cut were counted [km/s].
    """

    complete: Percentiles
    observed: Percentiles
    edges: Float[np.ndarray, "edge"]
    aside: Float[np.ndarray, "check bin held_out"]
    reach: float

    @classmethod
    def fit(cls, infer: Infer, complete: Catalogue, observed: Catalogue, *, reach: float) -> Self:
        """Learn from mocks that the network was not trained on.

        Half of the hosts of each set are the reference, the other half is held out. Both have the column `OUTSIDE`.

        Args:
            infer: Function from clusters to their posteriors: `MassEstimator.posterior`.
            complete: Mocks all of whose galaxies have velocities, at least 1000 and better 6000.
            observed: As many mocks, observed as the training clusters were.
            reach: Largest velocity up to which the galaxies in the column `OUTSIDE` were counted [km/s].

        Raises:
            ValueError: Too few mocks.
            KeyError: The column is missing.
        """
        least = 2 * _BINS * _MIN_BIN
        if min(len(complete), len(observed)) < least:
            raise ValueError(
                f"PreprocessingChecks.fit: {len(complete)} and {len(observed)} mocks; needs {least} of each kind."
            )
        halves = [[_seen(infer, part) for part in each.split(0.5, seed=1)] for each in (complete, observed)]
        (full, full_held_out), (seen, seen_held_out) = halves
        blank = cls(
            complete=Percentiles.fit(full[0][:1], full[1]),
            observed=Percentiles.fit(*seen),
            edges=np.quantile(full_held_out[1][0], np.arange(1, _BINS) / _BINS),
            aside=np.zeros((len(CHECKS), _BINS, 0)),
            reach=reach,
        )
        # thinned clusters are truly sparse: the rate of false alarms of that check is that of complete ones
        rates = [blank._in_bins(*full_held_out)[_SPARSE], *blank._in_bins(*seen_held_out)[_CLEANED:]]
        size = min(len(each) for check in rates for each in check)
        return replace(blank, aside=np.array([[_evenly(each, size) for each in check] for check in rates]))

    def _in_bins(self, scaled: Scaled, where: MassAndRichness) -> list[list[Values]]:
        """Sorted shares of mocks below, for each check and each bin of inferred mass."""
        below, bins = self._below(scaled, where), np.searchsorted(self.edges, where[0])
        return [[np.sort(each[bins == i]) for i in range(_BINS)] for each in below]

    def p_values(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Scaled:
        """Share of mocks with as few galaxies, as few fast ones, and as few beyond the velocity cut, (check, cluster).

        The last is NaN if the number of galaxies beyond the cut is unknown.
        """
        below = self._below(_scaled(catalogue, posteriors.mean), mass_and_richness(catalogue, posteriors))
        bins, found = np.searchsorted(self.edges, posteriors.mean), np.full(below.shape, np.nan)
        for check, i in np.ndindex(self.aside.shape[:2]):
            here = (bins == i) & np.isfinite(below[check])
            rank = np.searchsorted(self.aside[check, i], below[check, here], side="right")
            found[check, here] = (1 + rank) / (1 + self.aside.shape[2])
        return found

    def warnings(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
        """Sentences with numbers on how each cluster's table was prepared; empty if nothing was noticed.

        The rates of false alarms of the checks are `RATES`.

        Args:
            catalogue: Observed clusters.
            posteriors: Posteriors of these clusters.
        """
        where, p_values = mass_and_richness(catalogue, posteriors), self.p_values(catalogue, posteriors)
        counts, flagged = _counts(catalogue, posteriors.mean), p_values <= np.array(RATES)[:, None]
        usual = np.stack(
            [self.complete.central_95(where)[:, 0], *np.moveaxis(self.observed.central_95(where)[:, 1:], 1, 0)]
        )
        ends = np.concatenate([np.exp(usual[:1]), inverse_anscombe(usual[1:])])  # (check, 2, cluster)
        reach = catalogue.column(FASTEST) if FASTEST in catalogue.columns else np.full(len(catalogue), np.nan)
        return [
            tuple(
                f"{self._sentence(int(check), int(counts[check, i]), ends[check, :, i])} "
                f"(of such mocks {100 * p_values[check, i]:.1f} % have as few){self._end(int(check), reach[i])}"
                for check in np.flatnonzero(flagged[:, i])
            )
            for i in range(len(catalogue))
        ]

    def _below(self, scaled: Scaled, where: MassAndRichness) -> Scaled:
        """Share of the reference mocks below each cluster, for each check."""
        sparse = self.complete.shares(scaled[:1], where)[0]
        return np.concatenate([sparse, self.observed.shares(scaled, where)[0][1:]])

    def _sentence(self, check: int, found: int, usual: Float[np.ndarray, "2"]) -> str:
        low, high = (f"{max(end, 0):.0f}" for end in usual)
        if check == _SPARSE:
            share = 100 * found / np.sqrt(usual[0] * usual[1])
            return (
                f"bright galaxies only, or incomplete: {found} galaxies, about {share:.0f} % of the {low} to {high} "
                "(95 %) of complete mocks of this mass"
            )
        usually = f"where mocks of this mass and richness have {low} to {high} (95 %)"
        if check == _CLEANED:
            return f"cleaned of interlopers: {found} galaxies faster than twice the dispersion, {usually}"
        return (
            f"cleaned of interlopers, or selected in velocity: {found} galaxies in the aperture beyond the velocity "
            f"cut, {usually} up to {self.reach:.0f} km/s"
        )

    def _end(self, check: int, fastest: float) -> str:
        """Largest velocity of the table, if it may explain why galaxies are missing beyond the cut."""
        if check != _CUT or not fastest < self.reach:
            return ""
        return f"; the fastest galaxy has {fastest:.0f} km/s: a table that was only cut there does no harm"

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All fields as arrays in float32, for safetensors."""
        inner = {
            f"{part}.{name}": values
            for part, percentiles in (("complete", self.complete), ("observed", self.observed))
            for name, values in vars(percentiles).items()
        }
        own = {"edges": self.edges, "aside": self.aside, "reach": np.array([self.reach])}
        return {name: np.asarray(values, np.float32) for name, values in (own | inner).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from `to_arrays`.

        Raises:
            ValueError: An array is missing, or of another shape.
        """
        inner = Percentiles.shapes(1, "complete.") | Percentiles.shapes(len(CHECKS), "observed.")
        shapes = {"reach": (1,), "edges": (_BINS - 1,)} | inner
        aside = np.asarray(arrays.get("aside", np.zeros((0, 0))), float)
        wrong = [name for name, shape in shapes.items() if np.shape(arrays.get(name, ())) != shape]
        if wrong or aside.shape[:2] != (len(CHECKS), _BINS) or aside.size == 0:
            raise ValueError(
                f"PreprocessingChecks: {', '.join(wrong) or 'aside'} missing, or not of this version's shape."
            )
        return cls(
            complete=Percentiles.from_arrays(arrays, "complete."),
            observed=Percentiles.from_arrays(arrays, "observed."),
            edges=np.asarray(arrays["edges"], float),
            aside=aside,
            reach=float(arrays["reach"][0]),
        )


def within_velocity(wide: Catalogue, v_cut: float) -> Catalogue:
    """Cut mocks to a narrower velocity window; the galaxies beyond it are counted in the column `OUTSIDE`.

    Args:
        wide: Mocks in a wider window.
        v_cut: Velocity cut of the narrower window [km/s].
    """
    inside = np.abs(wide.galaxy_column("v_los")) < v_cut
    cluster = wide.cluster_of_galaxy
    left = np.bincount(cluster[inside], minlength=len(wide))
    return Catalogue.from_arrays(
        replace(wide.observation, v_cut=v_cut),
        wide.cosmology,
        clusters={"log10_mass": wide.log10_mass, "host_id": wide.host_id, OUTSIDE: wide.n_galaxies - left},
        galaxies={name: wide.galaxy_column(name)[inside] for name in ("R_proj", "v_los")},
        offsets=np.concatenate([[0], np.cumsum(left)]),
        provenance=wide.provenance,
    )


def count_fast_galaxies(catalogue: Catalogue, log10_mass: Values) -> Int[np.ndarray, "cluster"]:
    """Number of galaxies faster than twice the members' dispersion at their distance, for the inferred masses [dex]."""
    cluster = catalogue.cluster_of_galaxy
    scale = 10 ** ((log10_mass[cluster] - 14) / 3)
    centre, slope, least = _EDGE
    edge = np.maximum(centre - slope * catalogue.galaxy_column("R_proj") / (RADIUS * scale), least)
    fast = np.abs(catalogue.galaxy_column("v_los")) > edge * SPEED * scale
    return np.bincount(cluster[fast], minlength=len(catalogue))


def _counts(catalogue: Catalogue, log10_mass: Values) -> Scaled:
    outside = catalogue.column(OUTSIDE) if OUTSIDE in catalogue.columns else np.full(len(catalogue), -1)
    return np.stack([catalogue.n_galaxies, count_fast_galaxies(catalogue, log10_mass), outside])


def _scaled(catalogue: Catalogue, log10_mass: Values) -> Scaled:
    """Log N, and the other counts on a scale on which Poisson noise is about 1; NaN if unknown."""
    n, fast, outside = _counts(catalogue, log10_mass).astype(float)
    return np.stack([np.log(np.maximum(n, 1)), anscombe(fast), np.where(outside < 0, np.nan, anscombe(outside))])


def _seen(infer: Infer, mocks: Catalogue) -> tuple[Scaled, MassAndRichness]:
    mocks.column(OUTSIDE)  # a KeyError that names the column
    posteriors = infer(mocks)
    return _scaled(mocks, posteriors.mean), mass_and_richness(mocks, posteriors)


def _evenly(values: Values, size: int) -> Values:
    """Pick `size` of the sorted values, evenly spaced in rank, the least and the largest included."""
    return values[np.linspace(0, len(values) - 1, size).round().astype(int)]
