"""The mass prior: its box for sbi, and the effective training prior that a population fit divides out.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are per dex; `log_` is natural.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, final
from warnings import warn

import numpy as np
from jaxtyping import Float
from numpy.polynomial import Legendre
from numpy.typing import ArrayLike
from scipy.optimize import minimize

from clustermocks import Catalogue
from clustermocks.selection import fit_selection

if TYPE_CHECKING:
    from sbi.utils import BoxUniform

_MAX_DEGREE = 5
_QUADRATURE = 512
_FLAT = 1e-4  # [nats per unit of a coefficient] slope of the mean log-likelihood at its maximum: 1e-8 nats below it


def mass_prior(low: float, high: float, *, device: str = "cpu") -> "BoxUniform":
    """Uniform prior on log10 M200c [h^-1 Msun] between `low` and `high` [dex], for sbi.

    Raises:
        ValueError: The bounds are not finite and rising.
    """
    from sbi.utils import BoxUniform
    from torch import tensor

    _check_support(low, high)
    return BoxUniform(low=tensor([low]), high=tensor([high]), device=device)


@final
@dataclass(frozen=True)
class EffectivePrior:
    r"""The prior of a trained posterior, $\pi(M) = n_\mathrm{train}(M) / P_\mathrm{train}(\mathrm{selected} | M)$.

    $n_\mathrm{train}$ is the mass density of the training set after every cut. A network trained on it learns
    $q(M|d) \propto p(d|M)\,\pi(M)$, with p(d|M) the likelihood of *any* cluster's data, not only of selected ones.

    Attributes:
        low: Lower end of the support, log10 mass [dex].
        high: Upper end of the support, log10 mass [dex].
        coefficients: Coefficients of log π in Legendre polynomials of degree 1, 2, ... over the support; none if flat.
    """

    low: float
    high: float
    coefficients: tuple[float, ...] = ()

    def log_density(self, log10_mass: ArrayLike) -> Float[np.ndarray, "*mass"]:
        """Natural log of π, normalised over the support [1/dex]; −inf outside."""
        log10_mass = np.asarray(log10_mass, float)
        nodes, weights = _quadrature(self.low, self.high)
        norm = np.log(weights @ np.exp(self._log_shape(nodes)))
        inside = (log10_mass >= self.low) & (log10_mass <= self.high)
        return np.where(inside, self._log_shape(log10_mass) - norm, -np.inf)

    def _log_shape(self, log10_mass: np.ndarray) -> np.ndarray:
        return Legendre((0.0, *self.coefficients), domain=[self.low, self.high])(log10_mass)


def fit_effective_prior(catalogue: Catalogue, support: tuple[float, float]) -> EffectivePrior:
    """Measure the effective prior of a training set.

    log π is a polynomial fitted by maximum likelihood to the masses of the catalogue, whose density is
    π(M) P(selected | M) with P fitted to every attempted mass; the Bayesian information criterion selects the degree,
    so that a flat draw gives a flat prior.

    Args:
        catalogue: The training set, with its attempts.
        support: Lowest and highest log10 mass of the prior [dex].

    Raises:
        ValueError: The support is not finite and rising, or holds no masses.
    """
    low, high = support
    _check_support(low, high)
    masses = catalogue.log10_mass[(catalogue.log10_mass >= low) & (catalogue.log10_mass <= high)]
    if not masses.size:
        raise ValueError(f"no cluster of the training set has a mass between {low} and {high}.")
    log_selected = fit_selection(*catalogue.attempted()).log
    hosts = len(np.unique(catalogue.host_id))  # lines of sight through one host are not independent draws of its mass
    n = min(len(masses), hosts)
    fits = [_fit_degree(masses, degree, (low, high), log_selected, n) for degree in range(_MAX_DEGREE + 1)]
    return min(fits, key=lambda fit: fit[0])[1]


def _fit_degree(masses, degree, support, log_selected, n) -> tuple[float, EffectivePrior]:
    """Bayesian information criterion for n independent masses, and prior, of one degree."""
    low, high = support
    nodes, weights = _quadrature(low, high)
    base = np.log(weights) + log_selected(nodes)
    on_nodes, on_masses = _basis(nodes, degree, support), _basis(masses, degree, support).mean(axis=0)

    def loss(c: np.ndarray) -> tuple[float, np.ndarray]:
        log_terms = base + on_nodes @ c
        peak = log_terms.max()
        terms = np.exp(log_terms - peak)
        norm = terms.sum()
        return float(peak + np.log(norm) - on_masses @ c), terms @ on_nodes / norm - on_masses

    best = minimize(loss, np.zeros(degree), jac=True, method="BFGS").x if degree else np.zeros(0)
    value, slope = loss(best)
    prior = EffectivePrior(low, high, tuple(float(c) for c in best))
    if not np.abs(slope).max(initial=0.0) < _FLAT:  # BFGS also reports failure where it cannot improve any more
        warn(f"the effective prior of degree {degree} could not be fitted and is left out.", UserWarning, stacklevel=3)
        return np.inf, prior
    return 2 * n * value + degree * np.log(n), prior


def _basis(log10_mass: np.ndarray, degree: int, support: tuple[float, float]) -> Float[np.ndarray, "mass degree"]:
    scaled = 2 * (log10_mass - support[0]) / (support[1] - support[0]) - 1
    return np.polynomial.legendre.legvander(scaled, degree)[:, 1:]


def _quadrature(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = _gauss_legendre()
    return low + 0.5 * (high - low) * (nodes + 1), 0.5 * (high - low) * weights


def _check_support(low: float, high: float) -> None:
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"a mass prior needs finite bounds that rise, got {low} and {high}.")


@cache
def _gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(_QUADRATURE)
