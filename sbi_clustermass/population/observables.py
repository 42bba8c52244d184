"""Observables of clusters in addition to the mass: their likelihood, given mean and scatter at each mass.

Observables are in their relation's unit, usually [dex].
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import log, pi
from typing import NamedTuple, Protocol, Self, TypeAlias, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from sbi_clustermass.population.joint_calibration import JointCalibration

_UNKNOWN = 1e6  # error of a value that was not measured

Values: TypeAlias = Float[np.ndarray, "cluster"]
OfClusters: TypeAlias = Float[Tensor, "*draw cluster"]
AtMasses: TypeAlias = Float[Tensor, "*draw row mass"]  # a row for each cluster or shell
Scatter: TypeAlias = Float[Tensor, "*draw #row #mass"]


class Observed(Protocol):
    """One observable of all clusters."""

    @property
    def same_galaxies(self) -> bool:
        """Whether it was measured from the galaxies that the mass posterior was inferred from; by default not."""
        return False

    def __len__(self) -> int: ...

    @property
    def observed_values(self) -> Values:
        """Observed values, NaN where none was measured."""
        ...

    def select(self, rows: Int[np.ndarray, "some"], posterior_mean: Values, grid: Float[np.ndarray, "mass"]) -> Self:
        """Select some of the clusters.

        Args:
            rows: Rows of these clusters.
            posterior_mean: Posterior mean of each of all clusters [dex].
            grid: Masses at which the likelihood will be evaluated [dex].
        """
        ...

    def log_likelihood(self, mean: AtMasses, std: Scatter) -> AtMasses:
        """Natural log of p(observed | mass), given the mean and scatter of the quantity itself at each mass."""
        ...

    def predict(self, mean: OfClusters, std: OfClusters, generator: torch.Generator) -> OfClusters:
        """Draw observed values from their predictive distribution."""
        ...

    @staticmethod
    def log_exceeds(cut: float, mean: AtMasses, std: Scatter, error: float = 0.0) -> AtMasses:
        """Natural log of P(observed > cut | mass), given the mean and scatter of the quantity itself at each mass."""
        ...


class _Tensors(NamedTuple):
    """Tensors of the likelihood of an observable on one device.

    Attributes:
        value: Observed value minus the shift of its mean by the calibration.
        variance: Variance of the observational error.
        constant: Log likelihood that a value that was not measured would have, with the opposite sign; 0 for others.
    """

    value: Float[Tensor, "cluster #mass"]
    variance: Float[Tensor, "cluster 1"]
    constant: Float[Tensor, "cluster 1"]


@final
@dataclass(frozen=True, eq=False)
class Observable:
    """Measured values with Gaussian errors.

    Likelihoods are multiplied, so that an observable must be independent, at fixed true mass, of the galaxies behind
    the mass posterior. A velocity dispersion or a richness of the same galaxies is not: galaxies that make the
    dispersion too large make the mass too large as well, and a product would count them twice, which gives too small a
    scatter and too good an agreement. Set `same_galaxies=True`; then a `calibration` from mocks is needed, which
    describes how the errors of both are correlated.

    Attributes:
        values: Values, (cluster,) [unit of the relation]; minus the offset of the field, if the survey's shells have
            one.
        errors: Standard deviations of the errors, one for each cluster or one for all [unit of the relation].
        measured: False where there is no value; all by default.
        same_galaxies: Whether the mass posteriors were inferred from the same galaxies.
        calibration: Joint calibration of values and posteriors, from mocks.
        shift: Shift of the mean of y at each mass by the calibration, (cluster, mass); set by `select`.

    Raises:
        ValueError: A value that was measured is not finite, or an error not positive or 0, or lengths differ.
    """

    values: Values
    errors: ArrayLike
    measured: Bool[np.ndarray, "cluster"] | None = None
    same_galaxies: bool = False
    calibration: JointCalibration | None = None
    shift: Float[np.ndarray, "cluster mass"] | None = None

    def __post_init__(self) -> None:
        values, errors = np.asarray(self.values, float), np.asarray(self.errors, float)
        measured = np.ones(values.shape, bool) if self.measured is None else np.asarray(self.measured, bool)
        if values.ndim != 1 or measured.shape != values.shape or errors.shape not in ((), values.shape):
            raise ValueError(
                f"observable: needs one value a cluster, and one error for each or one for all; found shapes "
                f"{values.shape} of values, {errors.shape} of errors, {measured.shape} of measured."
            )
        errors = np.broadcast_to(errors, values.shape)
        bad = np.flatnonzero(measured & ~(np.isfinite(values) & np.isfinite(errors) & (errors >= 0)))
        if bad.size:
            raise ValueError(
                f"observable: {bad.size} of {values.size} values are not finite, or have an error that is negative or "
                f"not finite; the first is {values[bad[0]]} ± {errors[bad[0]]} in row {bad[0]}.\n"
                "  try:    measured=False where there is no value"
            )
        object.__setattr__(self, "values", np.where(measured, values, 0.0))
        object.__setattr__(self, "errors", np.where(measured, errors, _UNKNOWN))
        object.__setattr__(self, "measured", measured)

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: Int[np.ndarray, "some"], posterior_mean: Values, grid: Float[np.ndarray, "mass"]) -> Self:
        """Select some of the clusters; a calibration shifts their means, see `Observed.select`."""
        shift = None if self.calibration is None else self.calibration.shift(posterior_mean[rows], grid)
        values, errors, measured = (np.asarray(part)[rows] for part in (self.values, self.errors, self.measured))
        return replace(self, values=values, errors=errors, measured=measured, shift=shift)

    @property
    def observed_values(self) -> Values:
        """Values, NaN where none was measured."""
        return np.where(np.asarray(self.measured), self.values, np.nan)

    @property
    def narrowing(self) -> float:
        """Factor by which the posterior means narrow the standard deviation [1]; 1 without a calibration."""
        return 1.0 if self.calibration is None else self.calibration.narrowing

    def tensors(self, device: torch.device) -> _Tensors:
        """Tensors of the likelihood on a device, made once for each device."""
        if device not in self._by_device:
            value = np.asarray(self.values)[:, None] - (0.0 if self.shift is None else self.shift)
            unknown = np.where(np.asarray(self.measured), 0.0, log(_UNKNOWN) + 0.5 * log(2 * pi))
            parts = value, np.asarray(self.errors)[:, None] ** 2, unknown[:, None]
            self._by_device[device] = _Tensors(*(torch.as_tensor(part, device=device) for part in parts))
        return self._by_device[device]

    @cached_property
    def _by_device(self) -> dict[torch.device, _Tensors]:
        return {}

    def residual(self, mean: AtMasses) -> AtMasses:
        """Observed value minus mean."""
        return self.tensors(mean.device).value - mean

    def log_likelihood(self, mean: AtMasses, std: Scatter) -> AtMasses:
        """Natural log of N(value | mean, scatter^2 + error^2), or of the density of `JointCalibration`."""
        known = self.tensors(std.device)
        variance = (std**2 + known.variance) * self.narrowing**2  # one column if it is constant
        height = known.constant - 0.5 * (variance.log() + log(2 * pi))
        return height - 0.5 / variance * self.residual(mean) ** 2

    def predict(self, mean: OfClusters, std: OfClusters, generator: torch.Generator) -> OfClusters:
        """Draw values with scatter and error, NaN where none was measured."""
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        known = torch.as_tensor(np.asarray(self.measured))
        return torch.where(known, mean + noise * (std**2 + self.tensors(mean.device).variance[:, 0]).sqrt(), torch.nan)

    @staticmethod
    def log_exceeds(cut: float, mean: AtMasses, std: Scatter, error: float = 0.0) -> AtMasses:
        """Natural log of P(value > cut | mass), with scatter and error in quadrature."""
        return torch.special.log_ndtr((mean - cut) / (std**2 + error**2).sqrt())


def log_correlated(
    observables: list[Observable],
    means: list[AtMasses],
    stds: list[Scatter],
    factor: Float[Tensor, "*draw observable observable"],
) -> AtMasses:
    """Natural log of the joint density of several observables whose intrinsic scatter is correlated.

    The covariance is S R S + diag(errors^2), where S is the diagonal matrix of the scatters at the mass, and `factor`
    the lower Cholesky factor of the correlation R.
    """
    residual = torch.stack([one.residual(mean) for one, mean in zip(observables, means, strict=True)], -2)
    known = [one.tensors(residual.device) for one in observables]
    root = torch.stack(torch.broadcast_tensors(*stds), -1)[..., None] * factor[..., None, None, :, :]
    error = torch.stack([each.variance for each in known], -1)
    lower = torch.linalg.cholesky(root @ root.mT + torch.diag_embed(error))
    chi2 = _whitened(lower, residual).square().sum(-2)
    log_det = 2 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = torch.stack([each.constant for each in known]).sum(0)
    return -0.5 * (chi2 + log_det + len(observables) * log(2 * pi)) + constant


def _whitened(
    lower: Float[Tensor, "*draw cluster #mass observable observable"],
    residual: Float[Tensor, "*draw cluster observable mass"],
) -> Float[Tensor, "*draw cluster observable mass"]:
    """Whiten residuals: the observables become independent, with variance 1.

    If all masses share one factor it is inverted, which is ten times faster than to solve for hundreds of masses.
    """
    if lower.shape[-3] == 1:
        eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        return torch.linalg.solve_triangular(lower[..., 0, :, :], eye, upper=False) @ residual
    return torch.linalg.solve_triangular(lower, residual.mT[..., None], upper=False)[..., 0].mT
