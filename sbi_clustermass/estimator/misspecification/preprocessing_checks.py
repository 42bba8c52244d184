"""What was done to a cluster's table before it came here: bright galaxies only, interlopers removed, cut in velocity.

An estimator that was trained on thinned clusters is not misled by few galaxies, and so no test of likeness fires; but
who reads the mass should know. Each check compares one number with mocks of the inferred mass, in one direction only.
Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self, TypeAlias, final

import numpy as np
from jaxtyping import Float, Int

from clustermocks import Catalogue
from sbi_clustermass.embeddings.trial_masses import RADIUS, SPEED
from sbi_clustermass.estimator.misspecification.percentiles import LEVELS, N_TERMS, Percentiles, Where
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

OUTSIDE = "n_outside_velocity"  # column of a catalogue: galaxies in the aperture, beyond the velocity cut; -1: unknown
FASTEST = "fastest"  # column of a catalogue: largest |v_los| of galaxies in the aperture [km/s], beyond the cut as well
CHECKS = ("sparse", "cleaned", "cut")
RATES = (0.05, 0.01, 0.01)  # of false alarms; a mass without the number of galaxies is known to a factor two, and the
# number of galaxies of that mass no better: at 1 % hardly any thinned cluster would be noticed
BINS, A_BIN = 4, 125  # of inferred mass; mocks kept aside in each at least: p-values go down to .008
_EDGE = (1.30, 0.16, 0.80)  # twice the members' dispersion along the line of sight in the mocks [V200]: at the centre,
# its fall within r200c, and no lower
_SPARSE, _CLEANED, _CUT = range(3)
Values: TypeAlias = Float[np.ndarray, "cluster"]
Scaled: TypeAlias = Float[np.ndarray, "check cluster"]


@final
@dataclass(frozen=True, eq=False)
class Preparation:
    """How complete, how clean and how deep in velocity a cluster's table is, beside mocks. `fit` makes one.

    Attributes:
        complete: Distribution of log N of mocks all of whose galaxies have velocities, at each inferred mass.
        observed: Distributions of log N, fast galaxies and galaxies beyond the velocity cut of mocks as they are
            observed, at each inferred mass and N; the first is not used.
        edges: Inferred masses between bins [dex], (bin - 1,).
        aside: For each check and bin the p-values of mocks that were kept aside, rising, (check, bin, aside).
        reach: How far beyond zero the galaxies beyond the velocity cut were counted [km/s].
    """

    complete: Percentiles
    observed: Percentiles
    edges: Float[np.ndarray, "edge"]
    aside: Float[np.ndarray, "check bin aside"]
    reach: float

    @classmethod
    def fit(cls, estimator: "MassEstimator", complete: Catalogue, observed: Catalogue, *, reach: float) -> Self:
        """Learn from mocks that the network was not trained on.

        Half of the hosts of each set are the reference, the other half is kept aside.

        Args:
            estimator: A trained estimator.
            complete: Mocks all of whose galaxies have velocities, at least 1000; 6000 know rare ones.
            observed: Mocks as the training clusters were observed, with as many or more galaxies; as
                many. Both have the column `OUTSIDE`.
            reach: Velocity up to which that was counted [km/s].

        Raises:
            ValueError: Too few mocks.
            KeyError: The column is missing.
        """
        least = 2 * BINS * A_BIN
        if min(len(complete), len(observed)) < least:
            raise ValueError(f"Preparation.fit: {len(complete)} and {len(observed)} mocks; needs {least} of each kind.")
        halves = [[_seen(estimator, part) for part in each.split(0.5, seed=1)] for each in (complete, observed)]
        (full, full_aside), (seen, seen_aside) = halves
        blank = cls(
            complete=Percentiles.fit(full[0][:1], full[1]),
            observed=Percentiles.fit(*seen),
            edges=np.quantile(full_aside[1][0], np.arange(1, BINS) / BINS),
            aside=np.zeros((len(CHECKS), BINS, 0)),
            reach=reach,
        )
        # clusters as observed are sparse where they were thinned: only complete ones tell how often that is a mistake
        rates = [blank._in_bins(*full_aside)[_SPARSE], *blank._in_bins(*seen_aside)[_CLEANED:]]
        size = min(len(each) for check in rates for each in check)
        return replace(blank, aside=np.array([[_evenly(each, size) for each in check] for check in rates]))

    def _in_bins(self, scaled: Scaled, where: Where) -> list[list[Values]]:
        """For each check, the sorted shares of mocks below in each bin of inferred mass."""
        below, bins = self._below(scaled, where), np.searchsorted(self.edges, where[0])
        return [[np.sort(each[bins == i]) for i in range(BINS)] for each in below]

    def p_values(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Scaled:
        """Share of mocks with as few galaxies, as few fast ones, and as few beyond the velocity cut, (check, cluster).

        NaN for the last where the catalogue does not say how many galaxies are beyond the cut.
        """
        below = self._below(_scaled(catalogue, posteriors.mean), _where(catalogue, posteriors))
        bins, found = np.searchsorted(self.edges, posteriors.mean), np.full(below.shape, np.nan)
        for check, i in np.ndindex(self.aside.shape[:2]):
            here = (bins == i) & np.isfinite(below[check])
            rank = np.searchsorted(self.aside[check, i], below[check, here], side="right")
            found[check, here] = (1 + rank) / (1 + self.aside.shape[2])
        return found

    def doubts(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
        """What was done to each cluster, in sentences with numbers; empty where nothing was noticed.

        Each check says something of the share of mocks that stands in `RATES`.

        Args:
            catalogue: Observed clusters.
            posteriors: Theirs, by the estimator that this was fitted with.
        """
        where, p_values = _where(catalogue, posteriors), self.p_values(catalogue, posteriors)
        counts, flagged = _counts(catalogue, posteriors.mean), p_values <= np.array(RATES)[:, None]
        usual = np.stack([self.complete.usual(where)[:, 0], *np.moveaxis(self.observed.usual(where)[:, 1:], 1, 0)])
        ends = np.concatenate([np.exp(usual[:1]), _square(usual[1:])])  # (check, 2, cluster)
        reach = catalogue.column(FASTEST) if FASTEST in catalogue.columns else np.full(len(catalogue), np.nan)
        return [
            tuple(
                f"{self._sentence(int(check), int(counts[check, i]), ends[check, :, i])} "
                f"(of such mocks {100 * p_values[check, i]:.1f} % have as few){self._end(int(check), reach[i])}"
                for check in np.flatnonzero(flagged[:, i])
            )
            for i in range(len(catalogue))
        ]

    def _below(self, scaled: Scaled, where: Where) -> Scaled:
        """Share of the reference mocks below, for each check."""
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
        """Where the table ends in velocity, if that alone may be why galaxies are missing beyond the cut."""
        if check != _CUT or not fastest < self.reach:
            return ""
        return f"; the fastest galaxy has {fastest:.0f} km/s: a table that was only cut there does no harm"

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All of it as arrays in float32, for safetensors."""
        parts = {"complete": self.complete, "observed": self.observed}
        inner = {
            f"{part}.{each.name}": getattr(percentiles, each.name)
            for part, percentiles in parts.items()
            for each in fields(Percentiles)
        }
        own = {"edges": self.edges, "aside": self.aside, "reach": np.array([self.reach])}
        return {name: np.asarray(values, np.float32) for name, values in (own | inner).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The way back from `to_arrays`.

        Raises:
            ValueError: An array is missing, or of another shape.
        """
        sizes, shapes = {"complete": 1, "observed": len(CHECKS)}, {"reach": (1,), "edges": (BINS - 1,)}
        for part, n in sizes.items():
            inner = {"location": (n, N_TERMS), "log_spread": (n, N_TERMS), "quantiles": (n, len(LEVELS))}
            inner |= {"tails": (n, 2), "reach": (2, 2)}
            shapes |= {f"{part}.{name}": shape for name, shape in inner.items()}
        aside = np.asarray(arrays.get("aside", np.zeros((0, 0))), float)
        wrong = [name for name, shape in shapes.items() if np.shape(arrays.get(name, ())) != shape]
        if wrong or aside.shape[:2] != (len(CHECKS), BINS) or aside.size == 0:
            raise ValueError(f"Preparation: {', '.join(wrong) or 'aside'} not there, or not of this version's shape.")
        parts = {
            part: Percentiles(
                **{each.name: np.asarray(arrays[f"{part}.{each.name}"], float) for each in fields(Percentiles)}
            )
            for part in sizes
        }
        edges = np.asarray(arrays["edges"], float)
        return cls(edges=edges, aside=aside, reach=float(arrays["reach"][0]), **parts)


def within_velocity(wide: Catalogue, v_cut: float) -> Catalogue:
    """Mocks in the velocity window of an estimator, with what lies beyond it counted in the column `OUTSIDE`.

    Args:
        wide: Mocks in a wider window.
        v_cut: The estimator's [km/s].
    """
    inside = np.abs(wide.galaxy_column("v_los")) < v_cut
    cluster = np.repeat(np.arange(len(wide)), wide.n_galaxies)
    left = np.bincount(cluster[inside], minlength=len(wide))
    return Catalogue.from_arrays(
        replace(wide.observation, v_cut=v_cut),
        wide.cosmology,
        clusters={"log10_mass": wide.log10_mass, "host_id": wide.host_id, OUTSIDE: wide.n_galaxies - left},
        galaxies={name: wide.galaxy_column(name)[inside] for name in ("R_proj", "v_los")},
        offsets=np.concatenate([[0], np.cumsum(left)]),
        metadata=wide.metadata,
    )


def fast_for_mass(catalogue: Catalogue, log10_mass: Values) -> Int[np.ndarray, "cluster"]:
    """Number of galaxies faster than twice the members' line-of-sight dispersion at their distance from the centre.

    Args:
        catalogue: Clusters.
        log10_mass: Theirs, inferred [dex].
    """
    cluster = np.repeat(np.arange(len(catalogue)), catalogue.n_galaxies)
    scale = 10 ** ((log10_mass[cluster] - 14) / 3)
    centre, slope, least = _EDGE
    edge = np.maximum(centre - slope * catalogue.galaxy_column("R_proj") / (RADIUS * scale), least)
    fast = np.abs(catalogue.galaxy_column("v_los")) > edge * SPEED * scale
    return np.bincount(cluster[fast], minlength=len(catalogue))


def _counts(catalogue: Catalogue, log10_mass: Values) -> Scaled:
    outside = catalogue.column(OUTSIDE) if OUTSIDE in catalogue.columns else np.full(len(catalogue), -1)
    return np.stack([catalogue.n_galaxies, fast_for_mass(catalogue, log10_mass), outside])


def _scaled(catalogue: Catalogue, log10_mass: Values) -> Scaled:
    """Log N, and counts on a scale on which Poisson noise is about 1 (Anscombe 1948, Biometrika 35, 246)."""
    n, fast, outside = _counts(catalogue, log10_mass).astype(float)
    return np.stack([np.log(np.maximum(n, 1)), _root(fast), np.where(outside < 0, np.nan, _root(outside))])


def _root(count: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return 2 * np.sqrt(np.maximum(count + 0.375, 0))


def _square(scaled: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return np.maximum(scaled, 0) ** 2 / 4 - 0.375


def _where(catalogue: Catalogue, posteriors: MassPosteriors) -> Where:
    return np.stack([posteriors.mean, np.log10(np.maximum(catalogue.n_galaxies, 1))])


def _seen(estimator: "MassEstimator", mocks: Catalogue) -> tuple[Scaled, Where]:
    mocks.column(OUTSIDE)  # a KeyError that names the column
    posteriors = estimator.posterior(mocks)
    return _scaled(mocks, posteriors.mean), _where(mocks, posteriors)


def _evenly(values: Values, size: int) -> Values:
    """Some of the sorted values, evenly spaced in rank, the least kept."""
    return values[np.linspace(0, len(values) - 1, size).round().astype(int)]
