"""Checks that a person understands: a cluster's dispersion, profile and interlopers against mocks of its mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Self, final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from clustermocks import Catalogue
from sbi_clustermass.estimator.misspecification.percentiles import LEVELS, N_TERMS, Percentiles, Scaled, Where
from sbi_clustermass.estimator.misspecification.summary_statistics import STATISTICS, Statistic, measured, richness
from sbi_clustermass.posterior import MassPosteriors

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

FEWEST = 1000
_KINDS = list(STATISTICS.values())
_NONE = np.zeros(0)
_MOST = 0.999  # what is beyond is told as "more than"
_RAREST = 1e-12


@final
@dataclass(frozen=True, eq=False)
class PlainChecks:
    """How unusual a cluster's statistics are among mocks of its inferred mass and richness. `fit` makes one.

    Attributes:
        percentiles: Distribution of each statistic.
        middle: Mean of the reference mocks' normal scores, (statistic,): what their percentiles are in a Gaussian.
        precision: Inverse covariance of the scores, (statistic, statistic).
        least: Least p-value of each mock that was kept aside, rising, (aside,).
        together: Squared Mahalanobis distance of its scores, rising, (aside,).
        either: The smaller of its ranks in these two, rising, (aside,).
    """

    percentiles: Percentiles
    middle: Float[np.ndarray, "statistic"]
    precision: Float[np.ndarray, "statistic statistic"]
    least: Float[np.ndarray, "aside"]
    together: Float[np.ndarray, "aside"]
    either: Float[np.ndarray, "aside"]

    @classmethod
    def fit(cls, estimator: "MassEstimator", mocks: Catalogue, *, seed: int) -> Self:
        """Learn from mocks that the network was not trained on, drawn as its training set was.

        Half of the hosts are the reference, the other half is kept aside for the rate of false alarms.

        Args:
            estimator: A trained estimator.
            mocks: Mock clusters, some thousand; at least 1000.
            seed: Of the halves.

        Raises:
            ValueError: Too few mocks.
        """
        from sklearn.covariance import LedoitWolf

        if len(mocks) < FEWEST:
            raise ValueError(f"PlainChecks.fit: {len(mocks)} mocks; needs at least {FEWEST}.")
        reference, aside = ((part, estimator.posterior(part)) for part in mocks.split(0.5, seed))
        percentiles = Percentiles.fit(*_seen(*reference))
        shape = LedoitWolf().fit(_scores(*percentiles.shares(*_seen(*reference))).T)
        middle, precision = np.asarray(shape.location_), np.asarray(shape.precision_)
        blank = cls(percentiles, middle, precision, least=_NONE, together=_NONE, either=_NONE)
        least, together = blank._extremes(*percentiles.shares(*_seen(*aside)))
        blank = replace(blank, least=np.sort(least), together=np.sort(together))
        fitted = replace(blank, either=np.sort(blank._rank(least, together)))
        return cls.from_arrays(fitted.to_arrays())  # rounded now: a file then says the same, to the last rank

    def p_values(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Scaled:
        """Two-sided p-value of each statistic of each cluster, in the order of `STATISTICS`, (statistic, cluster)."""
        return _two_sided(*self.percentiles.shares(*_seen(catalogue, posteriors)))

    def p_value(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Float[np.ndarray, "cluster"]:
        """One for all statistics: the share of mocks kept aside that are as unusual; 1 / (their number + 1) at least.

        Unusual are a small least p-value, and statistics that are far out when they are taken together, correlated as
        they are: the better of the two ranks, ranked again.

        Args:
            catalogue: Mock or observed clusters.
            posteriors: Theirs, by the estimator that this was fitted with.
        """
        return self._p_value(*self.percentiles.shares(*_seen(catalogue, posteriors)))

    def _p_value(self, below: Scaled, above: Scaled) -> Float[np.ndarray, "cluster"]:
        return _rank(self.either, self._rank(*self._extremes(below, above)))

    def scores(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Scaled:
        """Percentile of each statistic of each cluster as a Gaussian's: -2 where 2.3 % of the mocks are lower."""
        return _scores(*self.percentiles.shares(*_seen(catalogue, posteriors)))

    def standardised(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Float[np.ndarray, "cluster statistic"]:
        """How far each statistic, on its scale, is from its mean among the mocks, in units of their spread.

        For tests of whole sets, such as `set_mmd`.
        """
        return self.percentiles.standardised(*_seen(catalogue, posteriors)).T

    def doubts(self, catalogue: Catalogue, posteriors: MassPosteriors, *, rate: float = 0.01) -> list[tuple[str, ...]]:
        """What is unlike the mocks, in sentences with numbers, for each cluster; empty where nothing is.

        Statistics that are rare enough by themselves, or the two rarest where only all together are.

        Args:
            catalogue: Mock or observed clusters.
            posteriors: Theirs, by the estimator that this was fitted with.
            rate: Share of mocks of which anything at all would be said [1].
        """
        scaled, where = _seen(catalogue, posteriors)
        shares, usual = np.stack(self.percentiles.shares(scaled, where)), self.percentiles.usual(where)
        flagged = np.flatnonzero(self._p_value(*shares) <= rate)
        told: list[tuple[str, ...]] = [()] * len(catalogue)
        for j in flagged:
            told[j] = tuple(
                _sentence(_KINDS[i], scaled[i, j], usual[:, i, j], shares[:, i, j])
                for i in self._striking(_two_sided(*shares[:, :, j]), rate)
            )
        return told

    def _striking(self, p: Float[np.ndarray, "statistic"], rate: float) -> Int[np.ndarray, "some"]:
        rare = np.flatnonzero(_rank(self.least, p) <= rate)
        return rare if rare.size else np.argsort(p)[:2]

    def _extremes(
        self, below: Scaled, above: Scaled
    ) -> tuple[Float[np.ndarray, "cluster"], Float[np.ndarray, "cluster"]]:
        """Least p-value, and squared distance of the normal scores."""
        offset = _scores(below, above) - self.middle[:, None]
        return _two_sided(below, above).min(0), np.einsum("in,ij,jn->n", offset, self.precision, offset)

    def _rank(
        self, least: Float[np.ndarray, "cluster"], together: Float[np.ndarray, "cluster"]
    ) -> Float[np.ndarray, "cluster"]:
        return np.minimum(_rank(self.least, least), _rank(-self.together[::-1], -together))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """All arrays in float32, for safetensors."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "percentiles"}
        inner = {each.name: getattr(self.percentiles, each.name) for each in fields(Percentiles)}
        return {name: values.astype(np.float32) for name, values in (own | inner).items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """The way back from `to_arrays`.

        Raises:
            ValueError: An array is missing, or of another shape than this version's statistics need.
        """
        n, aside = len(STATISTICS), (len(arrays.get("least", ())),)
        inner = {"location": (n, N_TERMS), "log_spread": (n, N_TERMS), "quantiles": (n, len(LEVELS)), "tails": (n, 2)}
        inner["reach"] = (2, 2)
        own = {"middle": (n,), "precision": (n, n), "least": aside, "together": aside, "either": aside}
        wrong = [name for name, shape in (inner | own).items() if np.shape(arrays.get(name, _NONE)) != shape]
        if wrong or not aside[0]:
            raise ValueError(f"PlainChecks: {', '.join(wrong) or 'least'} not there, or not of this version's shape.")
        parts = ({name: np.asarray(arrays[name], float) for name in names} for names in (inner, own))
        return cls(Percentiles(**next(parts)), **next(parts))


def _seen(catalogue: Catalogue, posteriors: MassPosteriors) -> tuple[Scaled, Where]:
    """Statistics of clusters on their scales, and where the clusters are among the mocks."""
    scaled = [kind.scaled(row) for kind, row in zip(_KINDS, measured(catalogue), strict=True)]
    return np.stack(scaled), np.stack([posteriors.mean, np.log10(np.maximum(catalogue.n_galaxies, 1))])


def _two_sided(below: Float[np.ndarray, "*any"], above: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return np.minimum(2 * np.minimum(below, above), 1)


def _scores(below: Scaled, above: Scaled) -> Scaled:
    """Values of a standard Gaussian with these shares below and above."""
    low, high = (ndtri(np.clip(share, _RAREST, 1 - _RAREST)) for share in (below, above))
    return np.where(below < above, low, -high)


def _rank(aside: Float[np.ndarray, "aside"], values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Share of mocks with a value as small or smaller, the cluster itself counted."""
    return (1 + np.searchsorted(aside, values, side="right")) / (1 + len(aside))


def _sentence(kind: Statistic, scaled: float, usual: Float[np.ndarray, "2"], shares: Float[np.ndarray, "2"]) -> str:
    """One statistic of one cluster, with the share of mocks below and above, and what is usual."""
    side, share = ("below", 1 - shares[0]) if shares[0] < shares[1] else ("above", 1 - shares[1])
    often = "more than 99.9 %" if share > _MOST else f"{100 * share:.1f} %"
    of = "this mass" if kind.measure is richness else "this mass and richness"
    value, low, high = (kind.write(float(kind.back(each))) for each in (scaled, *usual))
    return f"{kind.words.format(value)}: {side} that of {often} of the mocks of {of} (95 % have {low} to {high})"
