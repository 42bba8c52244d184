"""Checks that a person understands: dispersion, profile and interlopers of a cluster against mocks of its mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Self, TypeAlias, final

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtri

from clustermocks import Catalogue
from sbi_clustermass.estimator.misspecification.percentiles import (
    MassAndRichness,
    Percentiles,
    Scaled,
    mass_and_richness,
)
from sbi_clustermass.estimator.misspecification.summary_statistics import (
    STATISTICS,
    Statistic,
    compute_statistics,
    richness,
)
from sbi_clustermass.posterior import MassPosteriors

Infer: TypeAlias = Callable[[Catalogue], MassPosteriors]
_MIN_MOCKS = 1000  # both halves
_STATISTICS = list(STATISTICS.values())
_OWN = ("middle", "precision", "least", "together", "either")  # arrays besides those of the percentiles
_EMPTY = np.zeros(0)
_MAX_SHARE = 0.999  # larger shares are written as "more than" this
_MIN_P = 1e-12


@final
@dataclass(frozen=True, eq=False)
class SummaryChecks:
    """How unusual a cluster's statistics are among mocks of its inferred mass and richness. `fit` makes one.

    Attributes:
        percentiles: Distribution of each statistic.
        middle: Mean of the reference mocks' normal scores (their percentiles as Gaussian quantiles), (statistic,).
        precision: Inverse covariance of the normal scores, (statistic, statistic).
        least: Least p-value of each held-out mock, ascending, (held_out,).
        together: Squared Mahalanobis distance of each held-out mock's normal scores, ascending, (held_out,).
        either: The smaller of each held-out mock's ranks in these two, ascending, (held_out,).
    """

    percentiles: Percentiles
    middle: Float[np.ndarray, "statistic"]
    precision: Float[np.ndarray, "statistic statistic"]
    least: Float[np.ndarray, "held_out"]
    together: Float[np.ndarray, "held_out"]
    either: Float[np.ndarray, "held_out"]

    @classmethod
    def fit(cls, infer: Infer, mocks: Catalogue, *, seed: int) -> Self:
        """Learn from mocks that the network was not trained on, drawn as its training set was.

        Half of the hosts are the reference, the other half is held out to calibrate the rate of false alarms.

        Args:
            infer: Function from clusters to their posteriors: `MassEstimator.posterior`.
            mocks: Mock clusters, at least 1000 and better several thousand.
            seed: Seed of the split into halves.

        Raises:
            ValueError: Too few mocks.
        """
        from sklearn.covariance import LedoitWolf

        if len(mocks) < _MIN_MOCKS:
            raise ValueError(f"SummaryChecks.fit: {len(mocks)} mocks; needs at least {_MIN_MOCKS}.")
        reference, held_out = ((part, infer(part)) for part in mocks.split(0.5, seed))
        percentiles = Percentiles.fit(*_seen(*reference))
        shape = LedoitWolf().fit(_scores(*percentiles.shares(*_seen(*reference))).T)
        middle, precision = np.asarray(shape.location_), np.asarray(shape.precision_)
        blank = cls(percentiles, middle, precision, least=_EMPTY, together=_EMPTY, either=_EMPTY)
        least, together = blank._extremes(*percentiles.shares(*_seen(*held_out)))
        blank = replace(blank, least=np.sort(least), together=np.sort(together))
        fitted = replace(blank, either=np.sort(blank._rank(least, together)))
        return cls.from_arrays(fitted.to_arrays())  # rounded as in a file, so that a loaded one gives the same ranks

    def p_values(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Scaled:
        """Two-sided p-value of each statistic of each cluster, in the order of `STATISTICS`, (statistic, cluster)."""
        return _two_sided(*self.percentiles.shares(*_seen(catalogue, posteriors)))

    def p_value(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Float[np.ndarray, "cluster"]:
        """P-value of all statistics: share of held-out mocks that are as unusual; at least 1 / (their number + 1).

        A cluster is ranked by the least p-value of its statistics, and by the Mahalanobis distance of them all, which
        takes their correlations into account. The better of the two ranks is ranked again.

        Args:
            catalogue: Mock or observed clusters.
            posteriors: Posteriors of these clusters.
        """
        return self._p_value(*self.percentiles.shares(*_seen(catalogue, posteriors)))

    def _p_value(self, below: Scaled, above: Scaled) -> Float[np.ndarray, "cluster"]:
        return _rank(self.either, self._rank(*self._extremes(below, above)))

    def scores(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Scaled:
        """Percentile of each statistic of each cluster as a Gaussian quantile: -2 if 2.3 % of the mocks are lower."""
        return _scores(*self.percentiles.shares(*_seen(catalogue, posteriors)))

    def standardised(self, catalogue: Catalogue, posteriors: MassPosteriors) -> Float[np.ndarray, "cluster statistic"]:
        """Each statistic, on its scale, minus its mean among the mocks, in units of their spread.

        Suitable for tests of whole sets, such as `sbi.diagnostics.misspecification.calc_misspecification_mmd`.
        """
        return self.percentiles.standardised(*_seen(catalogue, posteriors)).T

    def warnings(
        self, catalogue: Catalogue, posteriors: MassPosteriors, *, rate: float = 0.01
    ) -> list[tuple[str, ...]]:
        """Sentences with numbers on what is unlike the mocks, for each cluster; empty if nothing is.

        They name the statistics that are rare enough by themselves; if only the combination is rare, the two rarest.

        Args:
            catalogue: Mock or observed clusters.
            posteriors: Posteriors of these clusters.
            rate: Largest share of mocks that get a warning [1].
        """
        scaled, where = _seen(catalogue, posteriors)
        shares, usual = np.stack(self.percentiles.shares(scaled, where)), self.percentiles.central_95(where)
        found: list[tuple[str, ...]] = [()] * len(catalogue)
        for j in np.flatnonzero(self._p_value(*shares) <= rate):
            found[j] = tuple(
                _sentence(_STATISTICS[i], scaled[i, j], usual[:, i, j], shares[:, i, j])
                for i in self._rarest(_two_sided(*shares[:, :, j]), rate)
            )
        return found

    def _rarest(self, p: Float[np.ndarray, "statistic"], rate: float) -> Int[np.ndarray, "some"]:
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
        arrays = {**vars(self.percentiles), **{name: getattr(self, name) for name in _OWN}}
        return {name: values.astype(np.float32) for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild from `to_arrays`.

        Raises:
            ValueError: An array is missing, or has a shape that does not fit the statistics of this version.
        """
        n, held_out = len(STATISTICS), (len(arrays.get("least", ())),)
        own = dict(zip(_OWN, ((n,), (n, n), held_out, held_out, held_out), strict=True))
        shapes = Percentiles.shapes(n) | own
        wrong = [name for name, shape in shapes.items() if np.shape(arrays.get(name, _EMPTY)) != shape]
        if wrong or not held_out[0]:
            raise ValueError(f"SummaryChecks: {', '.join(wrong) or 'least'} missing, or not of this version's shape.")
        return cls(Percentiles.from_arrays(arrays), **{name: np.asarray(arrays[name], float) for name in own})


def _seen(catalogue: Catalogue, posteriors: MassPosteriors) -> tuple[Scaled, MassAndRichness]:
    """Statistics of clusters on their scales, with inferred mass and richness."""
    scaled = [statistic.scaled(row) for statistic, row in zip(_STATISTICS, compute_statistics(catalogue), strict=True)]
    return np.stack(scaled), mass_and_richness(catalogue, posteriors)


def _two_sided(below: Float[np.ndarray, "*any"], above: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    return np.minimum(2 * np.minimum(below, above), 1)


def _scores(below: Scaled, above: Scaled) -> Scaled:
    """Quantiles of a standard Gaussian with these shares below and above."""
    low, high = (ndtri(np.clip(share, _MIN_P, 1 - _MIN_P)) for share in (below, above))
    return np.where(below < above, low, -high)


def _rank(held_out: Float[np.ndarray, "held_out"], values: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
    """Share of held-out mocks with a value as small or smaller, with the cluster itself counted."""
    return (1 + np.searchsorted(held_out, values, side="right")) / (1 + len(held_out))


def _sentence(
    statistic: Statistic, scaled: float, usual: Float[np.ndarray, "2"], shares: Float[np.ndarray, "2"]
) -> str:
    """Describe one statistic of one cluster, with the share of mocks below and above and the central 95 %."""
    side, share = ("below", 1 - shares[0]) if shares[0] < shares[1] else ("above", 1 - shares[1])
    often = "more than 99.9 %" if share > _MAX_SHARE else f"{100 * share:.1f} %"
    of = "this mass" if statistic.measure is richness else "this mass and richness"
    value, low, high = (statistic.write(float(statistic.back(each))) for each in (scaled, *usual))
    return f"{statistic.words.format(value)}: {side} that of {often} of the mocks of {of} (95 % have {low} to {high})"
