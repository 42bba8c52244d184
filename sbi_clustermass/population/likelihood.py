r"""Likelihood of a population, given each cluster's own mass likelihood and the survey's selection.

For clusters $i$ with likelihoods $L_i(m)$ of their *selected* data, $m$ = log10_mass, and the rate
$r_s(m) = \phi(m, z_s)\,V_s$ of haloes in the survey's shell $s$,

$$\ln \mathcal{L} = \sum_i \ln \int L_i\,r_{s(i)}\,dm - N_e,
\qquad N_e = \sum_s \int r_s\,P_s(\mathrm{selected}|m)\,dm.$$

It is the sum of a shape term, $\sum_i \ln (\int L_i r\,dm / N_e)$, which does not depend on the amplitude, and a count
term, $N \ln N_e - N_e$. Selection enters once, through $N_e$: $L_i$ already is the likelihood of selected data.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; `log_` is natural; everything is float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Self, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sbi_clustermass.posterior import MassPosteriors

_FLOOR = -600.0  # natural log of the least rate over its peak: less would underflow, and the gradient with it


class Block(NamedTuple):
    """Some of the sorted clusters, all in one shell, or in several among which errors of redshifts spread them."""

    shells: slice
    rows: slice


@final
@dataclass(frozen=True, eq=False)
class PopulationLikelihood:
    """Tabulated likelihoods of clusters: every evaluation of a mass function is then one matrix product.

    Clusters are sorted by shell, and evaluated block by block.

    Attributes:
        log10_mass: Masses at which the rate is needed [dex]: the posteriors' grid, extended to all masses that the
            survey may select.
        support: Slice of `log10_mass` that is the posteriors' grid.
        weighted: Likelihood of each cluster over its largest value, times the weight of the trapezoid rule [dex].
        log_peak: Natural log of the largest likelihood of each cluster.
        weights: Weights of the trapezoid rule over all masses [dex].
        order: Row of each sorted cluster in the posteriors.
        blocks: Blocks of the sorted clusters.
        log_kernel: Natural log of p(observed redshift | shell) of each sorted cluster; None where its shell is known.
    """

    log10_mass: Float[Tensor, "mass"]
    support: slice
    weighted: Float[Tensor, "cluster support"]
    log_peak: Float[Tensor, "cluster"]
    weights: Float[Tensor, "mass"]
    order: Int[np.ndarray, "cluster"]
    blocks: tuple[Block, ...]
    log_kernel: Float[Tensor, "cluster shell"] | None = None

    @classmethod
    def from_posteriors(
        cls,
        posteriors: MassPosteriors,
        *,
        mass_range: tuple[float, float] = (12.5, 16.0),
        shell: Int[np.ndarray, "cluster"] | None = None,
        log_kernel: Float[np.ndarray, "cluster shell"] | None = None,
        at_once: int | None = None,
    ) -> Self:
        """Tabulate the likelihoods of clusters, with the training prior divided out.

        Args:
            posteriors: Mass posteriors of the clusters.
            mass_range: Lowest and highest log10 mass at which the survey might select clusters [dex]; extended to the
                posteriors' grid.
            shell: Number of the shell of each cluster; the first by default.
            log_kernel: Natural log of p(observed redshift | shell), if redshifts have errors.
            at_once: Largest number of clusters in a block; all of a shell by default.

        Raises:
            ValueError: A likelihood is not finite, or zero at every mass.
        """
        shell = np.zeros(len(posteriors), int) if shell is None else shell
        order = np.argsort(shell, kind="stable")
        kernel = None if log_kernel is None else log_kernel[order]
        log_likelihood = _checked_likelihood(posteriors)[order]
        peak = log_likelihood.max(axis=1)
        # in Fortran order both products of a gradient read it as fast as a copy would
        weighted = np.multiply(np.exp(log_likelihood - peak[:, None]), trapezoid_weights(posteriors.grid), order="F")
        below, above = _extension(posteriors.grid, mass_range)
        log10_mass = np.concatenate([below, posteriors.grid, above])
        return cls(
            log10_mass=torch.as_tensor(log10_mass),
            support=slice(below.size, below.size + posteriors.grid.size),
            weighted=torch.as_tensor(weighted),
            log_peak=torch.as_tensor(peak),
            weights=torch.as_tensor(trapezoid_weights(log10_mass)),
            order=order,
            blocks=tuple(_blocks(shell[order], kernel, at_once or len(order))),
            log_kernel=None if kernel is None else torch.as_tensor(kernel),
        )

    def __len__(self) -> int:
        return len(self.weighted)

    def to(self, device: torch.device | str) -> Self:
        """Move tensors with a row for each cluster to a device; those of the masses alone stay on the CPU."""
        kernel = None if self.log_kernel is None else self.log_kernel.to(device)
        return replace(self, weighted=self.weighted.to(device), log_peak=self.log_peak.to(device), log_kernel=kernel)

    @property
    def device(self) -> torch.device:
        """Device on which the integrals of the clusters are computed."""
        return self.weighted.device

    @cached_property
    def log_weighted(self) -> Float[Tensor, "cluster support"]:
        """Natural log of `weighted`, in C order, as the sum over a block reads it."""
        return self.weighted.log().contiguous()

    @property
    def grid(self) -> Float[Tensor, "support"]:
        """Masses of the posteriors' grid [dex]."""
        return self.log10_mass[self.support]

    def log_clusters(
        self,
        log_rate: Float[Tensor, "*draw shell mass"],
        log_factor: Callable[[int], Float[Tensor, "*draw #some #support"]] | None = None,
    ) -> Float[Tensor, "*draw cluster"]:
        """Natural log of the integral of L_i r, for each sorted cluster.

        Args:
            log_rate: Natural log of the rate in each shell, per dex, at `log10_mass`; -inf if it is zero.
            log_factor: Function of the number of a block that returns the natural log of a further likelihood of its
                clusters, at the posteriors' masses.
        """
        inside, parts = log_rate[..., self.support].to(self.device), []
        for number, block in enumerate(self.blocks):
            if log_factor is not None:
                each = self.log_rate_of(block, inside)
                parts.append(torch.logsumexp(self.log_weighted[block.rows] + each + log_factor(number), -1))
            elif self.log_kernel is None:
                parts.append(self._product(inside[..., block.shells.start, :], block.rows))
            else:
                each = self._product(inside[..., block.shells, :], block.rows)
                parts.append(torch.logsumexp(each + self.log_kernel[block.rows, block.shells].T, -2))
        return torch.cat(parts, -1) + self.log_peak

    def log_rate_of(
        self, block: Block, log_rate: Float[Tensor, "*draw shell support"]
    ) -> Float[Tensor, "*draw #some support"]:
        """Natural log of the rate of haloes at the redshifts of a block's clusters, at the posteriors' masses."""
        if self.log_kernel is None:
            return log_rate[..., block.shells, :]
        kernel = self.log_kernel[block.rows, block.shells, None]
        return torch.logsumexp(log_rate[..., None, block.shells, :] + kernel, -2)

    def log_some(
        self,
        log_rate: Float[Tensor, "*draw shell mass"],
        rows: Int[Tensor, "some"],
        log_factor: Float[Tensor, "*draw some #support"] | None = None,
    ) -> Float[Tensor, "*draw some"]:
        """Natural log of the integral of L_i r, for some clusters, numbered as in the posteriors."""
        at, inside = self.place[rows], log_rate[..., self.support].to(self.device)
        if self.log_kernel is None:
            rate = inside[..., self.shell[at], :]
        else:
            rate = torch.logsumexp(inside[..., None, :, :] + self.log_kernel[at, :, None], -2)
        log_sum = self.weighted[at].log() + rate + (0.0 if log_factor is None else log_factor)
        return torch.logsumexp(log_sum, -1) + self.log_peak[at]

    @cached_property
    def place(self) -> Int[Tensor, "cluster"]:
        """Place of each of the posteriors' clusters among the sorted ones."""
        return torch.as_tensor(np.argsort(self.order))

    @cached_property
    def shell(self) -> Int[Tensor, "cluster"]:
        """Shell of each sorted cluster."""
        number = torch.zeros(len(self), dtype=torch.long)
        for block in self.blocks:
            number[block.rows] = block.shells.start
        return number

    def log_expected(self, log_selected_rate: Float[Tensor, "*draw shell mass"]) -> Float[Tensor, "*draw"]:
        """Natural log of N_e, given that of r P at `log10_mass`."""
        return torch.logsumexp(
            log_selected_rate.flatten(-2) + self.weights.log().repeat(log_selected_rate.shape[-2]), -1
        )

    def _product(self, log_rate: Float[Tensor, "*draw support"], rows: slice) -> Float[Tensor, "*draw some"]:
        top = log_rate.detach().amax(dim=-1, keepdim=True)
        rate = (log_rate - top).clamp(min=_FLOOR).exp()
        return torch.log(rate @ self.weighted[rows].T) + top


def outside_shares(
    likelihood: PopulationLikelihood, log_selected_rate: Float[Tensor, "shell mass"]
) -> tuple[float, float]:
    """Shares of the expected selected clusters that lie below and above the posteriors' grid [1]."""
    cumulative = _cumulative(likelihood, log_selected_rate)
    return float(cumulative[likelihood.support.start]), float(1 - cumulative[likelihood.support.stop - 1])


def central_interval(
    likelihood: PopulationLikelihood, log_selected_rate: Float[Tensor, "shell mass"], share: float
) -> tuple[float, float]:
    """Central interval of log10 mass that holds a share of the expected selected clusters [dex]."""
    cumulative = _cumulative(likelihood, log_selected_rate)
    tail = 0.5 * (1 - share)
    low = max(int((cumulative <= tail).sum()) - 1, 0)
    high = min(int((cumulative < 1 - tail).sum()), len(cumulative) - 1)
    return float(likelihood.log10_mass[low]), float(likelihood.log10_mass[high])


def _cumulative(likelihood: PopulationLikelihood, log_selected_rate: Tensor) -> Float[Tensor, "mass"]:
    """Share of the expected selected clusters below each mass [1]."""
    expected = torch.exp(log_selected_rate - log_selected_rate.amax()).sum(0)
    integral = torch.cumulative_trapezoid(expected, likelihood.log10_mass)
    return torch.nn.functional.pad(integral, (1, 0)) / integral[-1]


def _blocks(
    shell: Int[np.ndarray, "cluster"], log_kernel: Float[np.ndarray, "cluster shell"] | None, at_once: int
) -> Iterator[Block]:
    for number in np.unique(shell):
        shells = slice(int(number), int(number) + 1)
        first, last = np.searchsorted(shell, [number, number + 1])
        for start in range(first, last, at_once):
            rows = slice(start, min(start + at_once, int(last)))
            if log_kernel is not None:
                within = np.flatnonzero(np.isfinite(log_kernel[rows]).any(axis=0))
                shells = slice(int(within[0]), int(within[-1]) + 1)
            yield Block(shells, rows)


def trapezoid_weights(grid: Float[np.ndarray, "mass"]) -> Float[np.ndarray, "mass"]:
    """Weights of the trapezoid rule on a grid [dex]."""
    steps = np.diff(grid)
    return 0.5 * (np.append(steps, 0) + np.append(0, steps))


def _extension(
    grid: Float[np.ndarray, "mass"], mass_range: tuple[float, float]
) -> tuple[Float[np.ndarray, "below"], Float[np.ndarray, "above"]]:
    """Masses below and above the grid, with its step or less, out to `mass_range`."""
    step = np.median(np.diff(grid))
    n_below, n_above = (max(int(np.ceil(gap / step)), 0) for gap in (grid[0] - mass_range[0], mass_range[1] - grid[-1]))
    return np.linspace(mass_range[0], grid[0], n_below + 1)[:-1], np.linspace(grid[-1], mass_range[1], n_above + 1)[1:]


def _checked_likelihood(posteriors: MassPosteriors) -> Float[np.ndarray, "cluster mass"]:
    """Log likelihoods, up to one constant for each cluster; refuse one that is not finite, or zero at every mass."""
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
