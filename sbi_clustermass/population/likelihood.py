r"""Likelihood of a population, given each cluster's own mass likelihood and the survey's selection.

For clusters $i$ with likelihoods $L_i(m)$ of their *selected* data, $m$ = log10_mass, a mass function $\phi$,
and a volume $V$,

$$\ln \mathcal{L} = \sum_i \ln \int L_i\,\phi\,V\,dm - N_e, \qquad N_e = V \int \phi\,P(\mathrm{selected}|m)\,dm.$$

It is the sum of a shape term, $\sum_i \ln (\int L_i \phi\,dm / \int \phi P\,dm)$, which knows no amplitude, and a count
term, $N \ln N_e - N_e$. Selection enters once, through $\int \phi P$: $L_i$ already is the likelihood of selected data.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural; everything is float64.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sbi_clustermass.posterior import MassPosteriors

Selection = Callable[[Float[np.ndarray, "mass"]], Float[np.ndarray, "mass"]]

_FLOOR = -600.0  # e^-600: a mass function this far under its peak would underflow, and its gradient with it


@final
@dataclass(frozen=True, eq=False)
class PopulationLikelihood:
    """What a set of clusters says about any mass function, tabulated once; every evaluation is then one matrix product.

    Attributes:
        log10_mass: Masses at which the mass function is needed [dex]: the posteriors' grid, prolonged to all that the
            survey may select.
        support: Where in `log10_mass` the posteriors' grid lies.
        weighted: Each cluster's likelihood over its largest value, times the trapezoid rule's weight [dex].
        log_peak: Natural log of each cluster's largest likelihood.
        selected: P(selected | log10_mass) of the survey [1].
        weighted_selection: The same, times the trapezoid rule's weight [dex].
    """

    log10_mass: Float[Tensor, "mass"]
    support: slice
    weighted: Float[Tensor, "cluster support"]
    log_peak: Float[Tensor, "cluster"]
    selected: Float[Tensor, "mass"]
    weighted_selection: Float[Tensor, "mass"]

    @classmethod
    def from_posteriors(
        cls, posteriors: MassPosteriors, *, selection: Selection, mass_range: tuple[float, float] = (12.5, 16.0)
    ) -> Self:
        """Tabulate the clusters' likelihoods, the training prior divided out.

        Args:
            posteriors: One posterior a cluster.
            selection: The survey's P(selected | log10_mass), from masses [dex] to [0, 1].
            mass_range: Log10 masses between which the survey might select clusters [dex]; the posteriors' grid is
                added.

        Raises:
            ValueError: There are no clusters, a likelihood is not finite, or zero at every mass, or the selection is no
                probability.
        """
        log_likelihood = _checked_likelihood(posteriors)
        peak = log_likelihood.max(axis=1)
        weighted = np.exp(log_likelihood - peak[:, None]) * _trapezoid_weights(posteriors.grid)
        below, above = _prolonged(posteriors.grid, mass_range)
        log10_mass = np.concatenate([below, posteriors.grid, above])
        support = slice(below.size, below.size + posteriors.grid.size)
        selected = _checked_selection(selection, log10_mass)
        return cls(
            log10_mass=torch.as_tensor(log10_mass),
            support=support,
            weighted=torch.as_tensor(weighted),
            log_peak=torch.as_tensor(peak),
            selected=torch.as_tensor(selected),
            weighted_selection=torch.as_tensor(selected * _trapezoid_weights(log10_mass)),
        )

    def __len__(self) -> int:
        return len(self.weighted)

    def log_integrals(
        self, log_phi: Float[Tensor, "*draw mass"]
    ) -> tuple[Float[Tensor, "*draw cluster"], Float[Tensor, "*draw"]]:
        """Natural logs of the integrals of L_i phi, one a cluster, and of phi P, the density of selected clusters.

        Args:
            log_phi: Natural log of any mass function, per dex, at `log10_mass`.

        Returns:
            Both in units of phi times dex.
        """
        top = log_phi.detach().amax(dim=-1, keepdim=True)
        phi = (log_phi - top).clamp(min=_FLOOR).exp()
        log_clusters = torch.log(phi[..., self.support] @ self.weighted.T) + (top + self.log_peak)
        return log_clusters, torch.log(phi @ self.weighted_selection) + top[..., 0]

    def log_density(
        self, log_phi: Float[Tensor, "*draw mass"], volume: float
    ) -> tuple[Float[Tensor, "*draw cluster"], Float[Tensor, "*draw"]]:
        """Log likelihood in two terms: its shape, and its count.

        Args:
            log_phi: Natural log of a mass function [h^3 Mpc^-3 dex^-1] at `log10_mass`.
            volume: Comoving volume of the survey [h^-3 Mpc^3].

        Returns:
            Log density of each cluster's data given that it was selected; log Poisson probability of the number of
            clusters, up to -log N!.
        """
        log_clusters, log_selected = self.log_integrals(log_phi)
        log_expected = log_selected + math.log(volume)
        return log_clusters - log_selected[..., None], len(self) * log_expected - torch.exp(log_expected)

    def outside(self, log_phi: Float[Tensor, "mass"]) -> tuple[float, float]:
        """Shares of the expected selected clusters that lie below and above the posteriors' grid [1]."""
        cumulative = self._cumulative(log_phi)
        return float(cumulative[self.support.start]), float(1 - cumulative[self.support.stop - 1])

    def support_holding(self, log_phi: Float[Tensor, "mass"], share: float) -> tuple[float, float]:
        """Log10 masses between which `share` of the expected selected clusters lie, with equal tails [dex]."""
        cumulative = self._cumulative(log_phi)
        tail = 0.5 * (1 - share)
        low = int((cumulative <= tail).sum()) - 1
        high = int((cumulative < 1 - tail).sum())
        return float(self.log10_mass[low]), float(self.log10_mass[high])

    def _cumulative(self, log_phi: Float[Tensor, "mass"]) -> Float[Tensor, "mass"]:
        """Share of the expected selected clusters below each mass [1]."""
        expected = self.selected * torch.exp(log_phi - log_phi.amax())
        integral = torch.cumulative_trapezoid(expected, self.log10_mass)
        return torch.nn.functional.pad(integral, (1, 0)) / integral[-1]


def _trapezoid_weights(grid: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "mass"]:
    steps = np.diff(grid)
    return 0.5 * (np.append(steps, 0) + np.append(0, steps))


def _prolonged(
    grid: Float[np.ndarray, "mass"], mass_range: tuple[float, float]
) -> tuple[Float[np.ndarray, "below"], Float[np.ndarray, "above"]]:
    """Masses below and above the grid, no farther apart than those on it, out to `mass_range`."""
    step = np.median(np.diff(grid))
    n_below, n_above = (max(int(np.ceil(gap / step)), 0) for gap in (grid[0] - mass_range[0], mass_range[1] - grid[-1]))
    return np.linspace(mass_range[0], grid[0], n_below + 1)[:-1], np.linspace(grid[-1], mass_range[1], n_above + 1)[1:]


def _checked_likelihood(posteriors: MassPosteriors) -> Float[np.ndarray, "cluster mass"]:
    if len(posteriors) == 0:
        raise ValueError("population: no posteriors, so no population. Pass those of at least one cluster.")
    with np.errstate(invalid="ignore"):  # -inf - -inf is caught below, by name
        log_likelihood = np.asarray(posteriors.log_likelihood(), dtype=np.float64)
    bad = np.isnan(log_likelihood) | np.isposinf(log_likelihood)
    if bad.any():
        cluster, mass = np.argwhere(bad)[0]
        raise ValueError(
            f"population: {bad.any(axis=1).sum()} of {len(bad)} clusters have a likelihood that is not finite, the "
            f"first {posteriors.names[cluster]!r} (row {cluster}) at log10_mass {posteriors.grid[mass]:.3f}.\n"
            f"  found:  log_prob {posteriors.log_prob[cluster, mass]}, log_prior {posteriors.log_prior[mass]}\n"
            "  try:    posteriors on a grid inside the support of their training prior"
        )
    zero = np.flatnonzero(np.isneginf(log_likelihood).all(axis=1))
    if zero.size:
        raise ValueError(
            f"population: {zero.size} of {len(bad)} clusters have zero likelihood at every mass, first cluster "
            f"{posteriors.names[zero[0]]!r} (row {zero[0]}). Leave them out, or put their posteriors on a wider grid."
        )
    return log_likelihood


def _checked_selection(selection: Selection, log10_mass: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "mass"]:
    selected = np.asarray(selection(log10_mass), dtype=np.float64)
    if selected.shape != log10_mass.shape:
        raise ValueError(
            f"population: selection must return one probability a mass, shape {log10_mass.shape}, got {selected.shape}."
        )
    bad = np.flatnonzero(~((selected >= 0) & (selected <= 1)))
    if bad.size:
        raise ValueError(
            f"population: selection must lie in [0, 1], got {selected[bad[0]]} at log10_mass {log10_mass[bad[0]]:.3f} "
            f"and at {bad.size - 1} other masses. Pass P(selected | log10_mass), as fit_selection returns it."
        )
    if not selected.any():
        raise ValueError(
            f"population: selection is zero from {log10_mass[0]:.2f} to {log10_mass[-1]:.2f}: such a survey holds "
            "no cluster. It takes log10_mass [dex], not a mass."
        )
    return selected
