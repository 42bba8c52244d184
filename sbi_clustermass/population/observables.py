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
        value: Observed value minus the shift of its mean by the calibration; 0 where none was measured.
        lower: Error of true values below the observed one.
        upper: Error of true values above it.
        known: 1 where there is a value, 0 elsewhere.
    """

    value: Float[Tensor, "cluster #mass"]
    lower: Float[Tensor, "cluster 1"]
    upper: Float[Tensor, "cluster 1"]
    known: Float[Tensor, "cluster 1"]


@final
@dataclass(frozen=True, eq=False)
class Observable:
    r"""Measured values with Gaussian errors, or with errors that differ below and above.

    A value $y_{-l}^{+u}$ has the likelihood of a split normal: of a true value t below y it is
    $e^{-(t - y)^2 / 2 l^2}$, and above $e^{-(t - y)^2 / 2 u^2}$, over the integral of both. It is averaged over the
    intrinsic scatter in closed form.

    Likelihoods are multiplied, so that an observable must be independent, at fixed true mass, of the galaxies behind
    the mass posterior. A velocity dispersion or a richness of the same galaxies is not: galaxies that make the
    dispersion too large make the mass too large as well, and a product would count them twice, which gives too small a
    scatter and too good an agreement. Set `same_galaxies=True`; then a `calibration` from mocks is needed, which
    describes how the errors of both are correlated.

    Attributes:
        values: Values, (cluster,) [unit of the relation]; minus the offset of the field, if the survey's shells have
            one.
        errors: Standard deviations of the errors, one for each cluster or one for all [unit of the relation]; or lower
            and upper ones in two rows, (2, cluster) or (2, 1), as in matplotlib's `errorbar`.
        measured: False where there is no value; all by default.
        same_galaxies: Whether the mass posteriors were inferred from the same galaxies.
        calibration: Joint calibration of values and posteriors, from mocks.
        shift: Shift of the mean of y at each mass by the calibration, (cluster, mass); set by `select`.

    Raises:
        ValueError: A value that was measured is not finite, an error is negative or not finite, one of a lower and an
            upper error is 0, or lengths differ.
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
        _refuse_shapes(values, errors, measured)
        errors = np.broadcast_to(errors, (*errors.shape[:-1], *values.shape))
        _refuse_numbers(values, errors, measured)
        object.__setattr__(self, "values", np.where(measured, values, 0.0))
        object.__setattr__(self, "errors", np.where(measured, errors, 1.0))
        object.__setattr__(self, "measured", measured)

    def __len__(self) -> int:
        return len(self.values)

    def select(self, rows: Int[np.ndarray, "some"], posterior_mean: Values, grid: Float[np.ndarray, "mass"]) -> Self:
        """Select some of the clusters; a calibration shifts their means, see `Observed.select`."""
        shift = None if self.calibration is None else self.calibration.shift(posterior_mean[rows], grid)
        values, errors, measured = (np.asarray(part)[..., rows] for part in (self.values, self.errors, self.measured))
        return replace(self, values=values, errors=errors, measured=measured, shift=shift)

    @property
    def observed_values(self) -> Values:
        """Values, NaN where none was measured."""
        return np.where(np.asarray(self.measured), self.values, np.nan)

    @property
    def split(self) -> bool:
        """Whether errors differ below and above."""
        return np.ndim(self.errors) == 2

    @property
    def narrowing(self) -> float:
        """Factor by which the posterior means narrow the standard deviation [1]; 1 without a calibration."""
        return 1.0 if self.calibration is None else self.calibration.narrowing

    def tensors(self, device: torch.device) -> _Tensors:
        """Tensors of the likelihood on a device, made once for each device."""
        if device not in self._by_device:
            value = np.asarray(self.values)[:, None] - (0.0 if self.shift is None else self.shift)
            lower, upper = np.broadcast_to(self.errors, (2, len(self)))
            known = np.asarray(self.measured, float)
            parts = value, lower[:, None], upper[:, None], known[:, None]
            self._by_device[device] = _Tensors(*(torch.tensor(part, device=device) for part in parts))
        return self._by_device[device]

    @cached_property
    def _by_device(self) -> dict[torch.device, _Tensors]:
        return {}

    def log_likelihood(self, mean: AtMasses, std: Scatter) -> AtMasses:
        """Natural log of p(value | mass), or of the density of `JointCalibration`; 0 where none was measured."""
        here, narrowing = self.tensors(std.device), self.narrowing
        residual = here.value - mean
        if self.split:
            sides = (narrowing * side for side in (std, here.lower, here.upper))
            return here.known * _log_split_normal(residual, *sides)
        variance = (std**2 + here.upper**2) * narrowing**2  # one column if it is constant
        height = -0.5 * here.known * (variance.log() + log(2 * pi))
        return height - 0.5 * here.known / variance * residual**2

    def predict(self, mean: OfClusters, std: OfClusters, generator: torch.Generator) -> OfClusters:
        """Draw values with scatter and error, NaN where none was measured."""
        here = self.tensors(mean.device)
        scatter, noise = (torch.randn(mean.shape, generator=generator, dtype=mean.dtype) for _ in range(2))
        lower, upper, known = (part[:, 0] for part in here[1:])
        # an observed value above the true one has the lower error
        above = torch.rand(mean.shape, generator=generator, dtype=mean.dtype) * (lower + upper) < lower
        error = noise.abs() * torch.where(above, lower, -upper)
        return torch.where(known > 0, mean + std * scatter + error, torch.nan)

    @staticmethod
    def log_exceeds(cut: float, mean: AtMasses, std: Scatter, error: float = 0.0) -> AtMasses:
        """Natural log of P(value > cut | mass), with scatter and error in quadrature."""
        return torch.special.log_ndtr((mean - cut) / (std**2 + error**2).sqrt())


def _refuse_shapes(values: np.ndarray, errors: np.ndarray, measured: np.ndarray) -> None:
    n = values.size
    if values.shape != (n,) or measured.shape != (n,) or errors.shape not in ((), (n,), (2, n), (2, 1)):
        raise ValueError(
            "observable: needs one value a cluster, and one error for each or for all, or lower and upper errors in "
            f"two rows; found shapes {values.shape} of values, {errors.shape} of errors, {measured.shape} of measured."
        )


def _refuse_numbers(values: Values, errors: Float[np.ndarray, "*side cluster"], measured: np.ndarray) -> None:
    possible = np.isfinite(errors) & ((errors > 0) if errors.ndim == 2 else (errors >= 0))
    bad = np.flatnonzero(measured & ~(np.isfinite(values) & np.atleast_2d(possible).all(axis=0)))
    if bad.size:
        raise ValueError(
            f"observable: {bad.size} of {values.size} values are not finite, or have an error that is negative or not "
            f"finite, or 0 on one side; the first is {values[bad[0]]} ± {errors[..., bad[0]]} in row {bad[0]}.\n"
            "  try:    measured=False where there is no value"
        )


def log_correlated(
    observables: list[Observable],
    means: list[AtMasses],
    stds: list[Scatter],
    factor: Float[Tensor, "*draw observable observable"],
) -> AtMasses:
    """Natural log of the joint density of several observables whose intrinsic scatter is correlated.

    The covariance is S R S + diag(errors^2), where S is the diagonal matrix of the scatters at the mass, and `factor`
    the lower Cholesky factor of the correlation R. Values that were not measured drop out of it.

    Raises:
        ValueError: An observable has errors that differ below and above.
    """
    if any(one.split for one in observables):
        raise ValueError("observables: errors that differ below and above need relations without correlated scatter.")
    here = [one.tensors(means[0].device) for one in observables]
    known = torch.stack([each.known for each in here], -1)  # (cluster, 1, observable)
    residual = torch.stack([each.known * (each.value - mean) for each, mean in zip(here, means, strict=True)], -2)
    root = torch.stack(torch.broadcast_tensors(*stds), -1)[..., None] * factor[..., None, None, :, :]
    error = torch.stack([each.upper**2 for each in here], -1)
    covariance = root @ root.mT + torch.diag_embed(error)
    lower = torch.linalg.cholesky(covariance * known[..., None] * known[..., None, :] + torch.diag_embed(1 - known))
    chi2 = _whitened(lower, residual).square().sum(-2)
    log_det = 2 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (chi2 + log_det + known.sum(-1) * log(2 * pi))


def log_sum(a: AtMasses, b: AtMasses) -> AtMasses:
    """Natural log of exp(a) + exp(b); the second derivative of torch's logaddexp is NaN where they differ by 710."""
    return a + torch.nn.functional.softplus(b - a, threshold=40.0)


def _log_split_normal(
    residual: AtMasses, std: Scatter, lower: Float[Tensor, "row 1"], upper: Float[Tensor, "row 1"]
) -> AtMasses:
    r"""Natural log of $\int S(t)\,N(t | \bar y, s^2)\,dt$, with the split normal S of a value y = mean + residual.

    It is the sum of two skew normal densities, of weights l / (l + u) and u / (l + u) (Azzalini 1985).
    """
    parts = []
    for side, sign in ((lower, 1), (upper, -1)):
        total = torch.sqrt(std**2 + side**2)
        skewed = torch.special.log_ndtr(sign * residual * side / (std * total))
        parts.append(torch.log(2 * side / (lower + upper)) - total.log() - 0.5 * (residual / total) ** 2 + skewed)
    return log_sum(*parts) - 0.5 * log(2 * pi)


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
