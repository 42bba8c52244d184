"""Recalibration of posteriors by their PIT values on a validation set: an option, never applied unasked.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities per dex; `log_` is natural.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self, final

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_ndtr, ndtri

from clustermocks.io.atomic import replacing
from clustermocks.io.paths import as_path
from sbi_clustermass.posterior.posteriors import MassPosteriors
from sbi_clustermass.posterior.tabulated import chunks, integrate

_FORMAT = 1
_FEWEST = 100
_TINY = 1e-300  # least probability of a tail, a score of 37
_ZERO = -1e4  # [nats] log density that counts as zero
_ROUNDS = 10
_FARTHEST = 6.0  # [nats] largest change: in a tail the first cell is empty, whatever the density at the first mass


@final
@dataclass(frozen=True)
class Recalibration:
    r"""Monotone map of each posterior's cumulative distribution, $F \to \Phi(S(\Phi^{-1}(F)))$, the same for all.

    $S(z) = \sinh(\mathrm{tails} \cdot \mathrm{asinh}((z - \mathrm{shift}) / \mathrm{width}) - \mathrm{skew})$ makes
    the scores $z = \Phi^{-1}(\mathrm{PIT})$ of a validation set standard normal: the sinh-arcsinh distribution (Jones &
    Pewsey 2009, Biometrika 96, 761, eq. 1) is fitted to them by maximum likelihood. The map is smooth with a density
    that is finite and positive on the whole grid, and exact for Gaussian posteriors that are too narrow, too wide or
    off by a part of their width.

    It calibrates posteriors on the average of clusters like those of the validation set, not each one: where some are
    too narrow and others too wide, PIT values are uniform and nothing is corrected. Recalibrate first, then reweight
    (`with_prior`): the map belongs to the prior under which it was fitted.

    Attributes:
        shift: Offset of the truths above the posteriors, in posterior widths [1]; 0 changes nothing.
        width: Factor by which posteriors should be wider [1]; 1 changes nothing.
        skew: Skewness, positive where truths have their tail above [1]; 0 changes nothing.
        tails: Weight of the tails, below 1 where truths have heavier ones than the posteriors [1]; 1 changes nothing.
    """

    shift: float = 0.0
    width: float = 1.0
    skew: float = 0.0
    tails: float = 1.0

    def __post_init__(self) -> None:
        values = (self.shift, self.width, self.skew, self.tails)
        if not (np.isfinite(values).all() and self.width > 0 and self.tails > 0):
            raise ValueError(f"a recalibration has finite numbers, width and tails above 0; found {self}.")

    @classmethod
    def fit(cls, posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"]) -> Self:
        """Fit the map to a validation set: clusters drawn from the posteriors' prior that no network was trained on.

        For calibrated posteriors it costs 2 nats over the whole validation set: .002 per cluster for 1000 clusters.

        Args:
            posteriors: Posteriors of the validation clusters, under the prior they were drawn from.
            log10_true: Their true masses [dex].

        Raises:
            ValueError: There are fewer than 100 clusters, or a true mass has a posterior of zero.
        """
        below, above = posteriors.pit(log10_true), _mirrored(posteriors).pit(-np.asarray(log10_true))
        bad = int(np.sum((below <= 0) | (above <= 0)))
        if len(below) < _FEWEST or bad:
            raise ValueError(
                f"a recalibration is fitted to {_FEWEST} clusters or more whose true masses their posteriors allow; "
                f"found {len(below)}, of which {bad} are not allowed."
            )
        z = _scores(below, above)
        start = np.array([z.mean(), np.log(z.std()), 0.0, 0.0])
        best = minimize(lambda at: -np.mean(cls._from_unconstrained(at)._log_density(z)), start, method="BFGS").x
        return cls._from_unconstrained(best)

    def apply(self, posteriors: MassPosteriors) -> MassPosteriors:
        """Recalibrate the clusters under the same prior. The result has no `epistemic_std`."""
        above, n = _mirrored(posteriors).cdf[:, ::-1], len(posteriors)
        parts = [self._applied(posteriors, posteriors.cdf[rows], above[rows], rows) for rows in chunks(n)]
        return MassPosteriors.from_log_prob(
            posteriors.grid,
            np.concatenate(parts),
            log_prior=posteriors.log_prior,
            names=posteriors.names,
            leakage=posteriors.leakage,
        )

    def save(self, path: str | Path) -> None:
        """Write the four numbers as JSON; the file appears whole or not at all."""
        with replacing(as_path(path)) as temporary:
            temporary.write_text(json.dumps({"format": _FORMAT, **asdict(self)}), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: The file is damaged or holds something else.
        """
        try:
            content = json.loads(as_path(path).read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']!r}; this version reads format {_FORMAT}")
            return cls(**{each.name: float(content[each.name]) for each in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not a recalibration, or damaged ({error}).") from error

    @classmethod
    def _from_unconstrained(cls, at: Float[np.ndarray, "4"]) -> Self:
        """Read the four numbers with logs of those that are positive."""
        return cls(float(at[0]), float(np.exp(at[1])), float(at[2]), float(np.exp(at[3])))

    # ---- the map ----------------------------------------------------------------------------------------------------

    def _score(self, z: np.ndarray) -> np.ndarray:
        """S(z): the score after recalibration."""
        return np.sinh(self.tails * np.arcsinh((z - self.shift) / self.width) - self.skew)

    def _log_density(self, z: np.ndarray) -> np.ndarray:
        """Log density of scores, φ(S) dS/dz, up to the constant of φ (Jones & Pewsey 2009, eq. 2)."""
        x, score = (z - self.shift) / self.width, self._score(z)
        slope = np.log(self.tails / self.width) + 0.5 * np.log1p(score**2) - 0.5 * np.log1p(x**2)
        return slope - 0.5 * score**2

    def _applied(
        self, posteriors: MassPosteriors, below: np.ndarray, above: np.ndarray, rows: slice
    ) -> Float[np.ndarray, "some mass"]:
        """Log densities of some clusters after recalibration, from the probabilities below and above each mass."""
        z, grid = _scores(below, above), posteriors.grid
        ratio, score = self._log_density(z) + 0.5 * z**2, self._score(z)
        ratio[:, 0], ratio[:, -1] = ratio[:, 1], ratio[:, -2]
        after = np.maximum(posteriors.log_prob[rows] + ratio, _ZERO)
        after[:, 0] = _first(grid[:3], after[:, :3], log_ndtr(score[:, 1]))
        after[:, -1] = _first(-grid[:-4:-1], after[:, :-4:-1], log_ndtr(-score[:, -2]))
        return after


def _first(
    grid: Float[np.ndarray, "3"], log_prob: Float[np.ndarray, "some 3"], log_share: Float[np.ndarray, "some"]
) -> Float[np.ndarray, "some"]:
    """Log density at the first mass that gives the first cell its probability.

    There F is 0 and the density after recalibration often infinite, though its integral is not. A cell is a cubic or a
    straight line, which leaves a gap between the probabilities that it can have: the nearest is taken.
    """
    log_prob, start = log_prob.copy(), log_prob[:, 0]
    for _ in range(_ROUNDS):
        found = integrate(grid, log_prob)
        lacking = log_share - found.log_area - np.log(np.maximum(found.cdf[:, 1], _TINY))
        log_prob[:, 0] = np.clip(log_prob[:, 0] + lacking, start - _FARTHEST, start + _FARTHEST)
    return log_prob[:, 0]


def _mirrored(posteriors: MassPosteriors) -> MassPosteriors:
    """Posteriors with masses reversed, whose cumulative distribution keeps the digits of small probabilities above."""
    return MassPosteriors(
        -posteriors.grid[::-1], posteriors.log_prob[:, ::-1], posteriors.log_prior[::-1], posteriors.names
    )


def _scores(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Normal scores from the probabilities on both sides, of which the smaller is accurate."""
    low, high = (ndtri(np.clip(each, _TINY, 0.5)) for each in (below, above))
    return np.where(below < above, low, -high)
