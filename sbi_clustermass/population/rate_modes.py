"""Disturbances of the rate of haloes: sample variance, and the error of a measured selection.

Masses are log10_mass [dex]; `log_` is natural.
"""

from dataclasses import dataclass
from typing import final

import numpy as np
import pyro.distributions as dist
import torch
from jaxtyping import Float
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor

from clustermocks.haloes.cosmology import halo_bias
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.sample_variance import density_covariance
from sbi_clustermass.population.survey import Survey

DENSITY, SELECTION = "density_contrast", "selection_error"
_APART = 1e-5  # share of a variance that thin shells keep apart: ten times the error of their covariance
_NEGLIGIBLE = 0.01  # square of a shift of any parameter, over its error


@final
@dataclass(frozen=True, eq=False)
class RateModes:
    r"""Normal numbers d that disturb the log rate of haloes: $\ln r_s(m) + o_s(m) + \sum_j d_j T_j(s, m)$.

    Attributes:
        site: Name of d as a parameter.
        prior: Prior of d.
        tables: T.
        offset: o.
    """

    site: str
    prior: TorchDistribution
    tables: Float[Tensor, "mode shell mass"]
    offset: Float[Tensor, "#shell #mass"]

    def log_change(self, parameters: Parameters) -> Float[Tensor, "*draw shell mass"]:
        """Change of the natural log of the rate."""
        return torch.tensordot(parameters[self.site], self.tables, dims=1) + self.offset


def sample_variance(survey: Survey, log10_mass: Float[np.ndarray, "mass"]) -> RateModes:
    r"""Density contrasts of the shells: haloes of mass m are $e^{b \delta - b^2 \sigma^2 / 2}$ times as many.

    b is the halo bias at the redshift of the shell (Tinker et al. 2010), $\delta$ normal with the covariance of linear
    theory; both in the survey's cosmology. Shells of the same redshifts are parts of one patch of the sky.
    """
    places, number = survey.places()
    covariance = torch.as_tensor(density_covariance(places, survey.cosmology))
    covariance = covariance + _APART * torch.diag(covariance.diagonal())
    bias = np.stack([halo_bias(10**log10_mass, z, survey.cosmology) for z in survey.redshift])
    tables = np.equal.outer(np.arange(len(places)), number)[..., None] * bias
    offset = -0.5 * torch.as_tensor(bias**2) * covariance.diagonal()[torch.as_tensor(number), None]
    prior = dist.MultivariateNormal(
        covariance.new_zeros(len(places)), scale_tril=torch.linalg.cholesky(covariance), validate_args=False
    )
    return RateModes(DENSITY, prior, torch.as_tensor(tables), offset)


def selection_errors(
    errors: Float[np.ndarray, "error shell mass"], expected: Float[np.ndarray, "shell mass"]
) -> RateModes | None:
    r"""Errors of ln P(selected | mass) as a disturbance of the rate: those that shift a fit of so many clusters.

    A fit finds the product of rate and selection. With a selection that is off by $e^{\eta(m)}$, the best rate is off
    by $e^{-\eta(m)}$, so that the error belongs to the rate. Principal components in the metric of the clusters' Fisher
    information are left out if they shift no parameter by a tenth of its error.

    Args:
        errors: Independent errors of ln P.
        expected: Expected number of selected clusters at each mass, whose sum is that of the survey.

    Returns:
        The disturbance; None if none is left.
    """
    rows = errors.reshape(len(errors), expected.size)
    axes, variance, _ = np.linalg.svd(rows * np.sqrt(expected.ravel()), full_matrices=False)
    kept = axes[:, variance**2 > _NEGLIGIBLE].T
    if not len(kept):
        return None
    tables = torch.as_tensor((kept @ rows).reshape(-1, *expected.shape))
    prior = dist.Normal(tables.new_zeros(len(kept)), tables.new_ones(len(kept)), validate_args=False).to_event(1)
    return RateModes(SELECTION, prior, tables, tables.new_zeros(1, 1))


def effective_attempts(
    errors: Float[np.ndarray, "error shell mass"], expected: Float[np.ndarray, "shell mass"]
) -> float:
    """Number of clusters whose Poisson error is that of the expected number by a measured selection.

    References:
        Farr 2019, Research Notes of the AAS 3, 66, eq. 9.
    """
    relative = (errors * (expected / expected.sum())).sum((1, 2))
    return float(1 / (relative @ relative)) if relative.any() else float("inf")
