"""Simulation-based calibration and TARP by sbi, for posteriors on their grid and for samples of several parameters.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. Both are promised only for clusters drawn from the posteriors' own
prior (`HeldOut`). `import sbi` takes seconds, so it is imported where it is used.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kstwo

from sbi_clustermass.diagnostics.residuals import Measured
from sbi_clustermass.posterior import MassPosteriors, Posteriors

if TYPE_CHECKING:
    import torch


_SAMPLES = 1000  # samples of each posterior
_CLASSIFIED = 1000  # clusters for sbi's random forests, whose time grows with the number
_TARP_BINS = 50
_TARP_VARIANCE = 5 / 192  # variance of the integral of a Brownian bridge from 1/2 to 1


@final
@dataclass(frozen=True)
class SBC:
    """Result of sbi's `check_sbc` (Talts et al. 2018, arXiv:1804.06788).

    Attributes:
        ks_pvalue: Kolmogorov-Smirnov p-value of uniform ranks.
        c2st_ranks: Accuracy of a classifier of ranks against uniform numbers: .5 when calibrated.
        c2st_masses: Accuracy for true masses against one sample of each posterior, the data-averaged posterior.
    """

    ks_pvalue: float
    c2st_ranks: Measured
    c2st_masses: Measured


@final
@dataclass(frozen=True)
class TARP:
    """Result of sbi's `run_tarp` and `check_tarp` (Lemos et al. 2023, arXiv:2302.03026).

    Attributes:
        credibility: Levels of the regions around random reference masses, (level,).
        coverage: Share of truths in these regions, (level,).
        area: Integral of coverage - credibility above 1/2: negative if too narrow. Its error is that of a Brownian
            bridge, sqrt(5 / 192 n).
        ks_pvalue: P-value of the largest difference of the two, from the Kolmogorov distribution of n clusters. The
            p-value of sbi treats the points of the curves as samples, and hardly ever rejects.
    """

    credibility: Float[np.ndarray, "level"]
    coverage: Float[np.ndarray, "level"]
    area: Measured
    ks_pvalue: float


def sbc_ranks(
    posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], *, samples: int = _SAMPLES, seed: int
) -> Int[np.ndarray, "cluster"]:
    """Rank of each true mass among samples of its posterior, 0 to `samples`: uniform when calibrated.

    The number of samples below the truth is binomial, with the PIT value as its probability. It is drawn directly,
    without samples.
    """
    pit = np.clip(posteriors.pit(log10_true), 0, 1)
    return np.random.default_rng(seed).binomial(samples, pit)


def sbc(
    posteriors: MassPosteriors, log10_true: Float[np.ndarray, "cluster"], *, samples: int = _SAMPLES, seed: int
) -> SBC:
    """SBC of posteriors on their grid: Kolmogorov-Smirnov on all clusters, classifiers on the first 1000.

    Raises:
        ValueError: There are fewer than 100 clusters.
    """
    _check_number(len(posteriors))
    ranks = sbc_ranks(posteriors, log10_true, samples=samples, seed=seed)
    return _sbc(ranks, log10_true, posteriors.sample(1, seed=seed + 1)[:, 0], samples=samples, seed=seed)


def sbc_of_each(posteriors: Posteriors, truth: Float[np.ndarray, "cluster parameter"], *, seed: int) -> dict[str, SBC]:
    """SBC of each parameter of joint posteriors, from their samples; see `sbc`.

    Raises:
        ValueError: There are fewer than 100 clusters.
    """
    _check_number(len(posteriors))
    samples, found = posteriors.samples.shape[1], {}
    for name, values in zip(posteriors.parameters, truth.T, strict=True):
        drawn = posteriors.column(name)
        ranks = (drawn < values[:, None]).sum(axis=1)
        found[name] = _sbc(ranks, values, drawn[:, 0], samples=samples, seed=seed)
    return found


def _sbc(
    ranks: Int[np.ndarray, "cluster"],
    truth: Float[np.ndarray, "cluster"],
    averaged: Float[np.ndarray, "cluster"],
    *,
    samples: int,
    seed: int,
) -> SBC:
    """sbi's `check_sbc` of one parameter: ranks among samples, true values, and one sample of each posterior."""
    import torch
    from sbi.diagnostics import check_sbc
    from sbi.diagnostics.sbc import check_uniformity_frequentist

    n = min(len(truth), _CLASSIFIED)
    with _seeded(seed):
        # sbi compares ranks with continuous uniform numbers, from which its random forests distinguish integers
        # (accuracy .71 for calibrated ranks, instead of .5): with a uniform number added, ranks are continuous, too
        continuous = _column(ranks) + torch.rand((len(ranks), 1))
        columns = continuous[:n], _column(truth)[:n], _column(averaged)[:n]
        some = check_sbc(*columns, num_posterior_samples=samples + 1)
    error = float(0.5 / np.sqrt(2 * n))  # of the accuracy of a random classifier of 2n
    accuracies = (Measured(float(some[name].mean()), error) for name in ("c2st_ranks", "c2st_dap"))
    return SBC(float(check_uniformity_frequentist(continuous, samples + 1)[0]), *accuracies)


def tarp(
    posteriors: MassPosteriors | Posteriors,
    truth: Float[np.ndarray, "cluster *parameter"],
    *,
    samples: int = _SAMPLES,
    seed: int,
) -> TARP:
    """TARP of masses, from samples of posteriors on their grid, or of all parameters together, from all their samples.

    Raises:
        ValueError: There are fewer than 100 clusters.
    """
    import torch
    from sbi.diagnostics import check_tarp, run_tarp

    n = len(posteriors)
    _check_number(n)
    joint = isinstance(posteriors, Posteriors)
    drawn = posteriors.samples if joint else posteriors.sample(samples, seed=seed)[..., None]
    sampler: Any = _Sampler(torch.as_tensor(np.array(drawn), dtype=torch.float32).transpose(0, 1))
    with _seeded(seed):
        coverage, credibility = run_tarp(
            torch.as_tensor(truth, dtype=torch.float32) if joint else _column(truth),
            torch.arange(n, dtype=torch.float32)[:, None],
            sampler,
            num_posterior_samples=drawn.shape[1],
            num_bins=_TARP_BINS,
            show_progress_bar=False,
        )
    area, _ = check_tarp(coverage, credibility)
    deviation = float((coverage - credibility).abs().max())
    error = float(np.sqrt(_TARP_VARIANCE / n))
    return TARP(credibility.numpy(), coverage.numpy(), Measured(area, error), float(kstwo.sf(deviation, n)))


@final
@dataclass(frozen=True)
class _Sampler:
    """Samples, (sample, cluster, parameter), through the one method of a posterior that sbi calls; x is ignored."""

    samples: "torch.Tensor"

    def sample_batched(self, sample_shape: tuple[int, ...], x: "torch.Tensor", **_: object) -> "torch.Tensor":
        return self.samples


def _column(values: np.ndarray) -> "torch.Tensor":
    """Convert to float32 with a last axis of length 1 for the one parameter."""
    import torch

    return torch.as_tensor(np.array(values), dtype=torch.float32)[:, None]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, which sbi uses, and restore it afterwards."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _check_number(n: int) -> None:
    if n < 100:
        raise ValueError(f"SBC and TARP need 100 clusters or more, found {n}.")
