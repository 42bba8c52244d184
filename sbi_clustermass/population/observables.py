"""What is observed of each cluster beside its mass: how likely, given the observable's mean and scatter at each mass.

Observables are in their relation's unit, usually [dex].
"""

from dataclasses import dataclass, replace
from functools import cached_property
from math import log, pi
from typing import NamedTuple, Protocol, Self, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from sbi_clustermass.population.calibration import JointCalibration

_UNKNOWN = 1e6  # error of what was not measured


class Observed(Protocol):
    """One observable of all clusters."""

    @property
    def same_galaxies(self) -> bool:
        """Whether it was measured from the galaxies that the mass posterior has seen."""
        ...

    def __len__(self) -> int: ...

    @property
    def seen(self) -> Float[np.ndarray, "cluster"]:
        """What was observed, NaN where nothing was."""
        ...

    def chosen(
        self, rows: Int[np.ndarray, "some"], point: Float[np.ndarray, "cluster"], grid: Float[np.ndarray, "mass"]
    ) -> Self:
        """Some of the clusters, told the posterior means of all of them and the masses of the grid [dex]."""
        ...

    def log_likelihood(
        self, mean: Float[Tensor, "*draw cluster mass"], std: Float[Tensor, "*draw #cluster #mass"]
    ) -> Float[Tensor, "*draw cluster mass"]:
        """Natural log of p(observed | mass), given the mean and scatter of the quantity itself at each mass."""
        ...

    def predict(
        self, mean: Float[Tensor, "*draw cluster"], std: Float[Tensor, "*draw cluster"], generator: torch.Generator
    ) -> Float[Tensor, "*draw cluster"]:
        """What might have been observed."""
        ...


class OnDevice(NamedTuple):
    """An observable's value less what is known of it, the variance of its error, and a constant.

    The constant takes out what the likelihood of a value that was not measured would be.
    """

    value: Float[Tensor, "cluster #mass"]
    variance: Float[Tensor, "cluster 1"]
    constant: Float[Tensor, "cluster 1"]


@final
@dataclass(frozen=True, eq=False)
class Observable:
    """Measured values with Gaussian errors.

    Given the true mass, an observable and the galaxies behind a mass posterior must be independent: their likelihoods
    are multiplied. A velocity dispersion or a richness from the same galaxies is not: the galaxies that make the
    dispersion too large make the mass too large as well, and a product would count them twice and find too small a
    scatter and too good an agreement. Say `same_galaxies=True`; then a `calibration` from mocks is needed, which knows
    how the errors of both go together.

    Attributes:
        values: (cluster,) [unit of the relation]; less its field's offset, where the survey's shells have one.
        errors: Standard deviations, one for each cluster or one for all [unit of the relation].
        measured: False where there is no value; all by default.
        same_galaxies: Whether the mass posteriors were inferred from the same galaxies.
        calibration: How values and posteriors go together in mocks.
        shift: Added to the mean of y at each mass, (cluster, mass): what the posteriors tell of y. Set by `chosen`.

    Raises:
        ValueError: A value that was measured is not finite, or an error not positive or 0, or lengths differ.
    """

    values: Float[np.ndarray, "cluster"]
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

    def chosen(
        self, rows: Int[np.ndarray, "some"], point: Float[np.ndarray, "cluster"], grid: Float[np.ndarray, "mass"]
    ) -> Self:
        """Some of the clusters; where there is a calibration, told their posterior means.

        Args:
            rows: Which.
            point: Posterior mean of each of all clusters [dex].
            grid: Masses at which the likelihood will be asked for [dex].
        """
        shift = None if self.calibration is None else self.calibration.shift(point[rows], grid)
        values, errors, measured = (np.asarray(part)[rows] for part in (self.values, self.errors, self.measured))
        return replace(self, values=values, errors=errors, measured=measured, shift=shift)

    @property
    def seen(self) -> Float[np.ndarray, "cluster"]:
        """The values, NaN where none was measured."""
        return np.where(np.asarray(self.measured), self.values, np.nan)

    @property
    def narrowing(self) -> float:
        """What is left of the standard deviation once the posterior means are known [1]."""
        return 1.0 if self.calibration is None else self.calibration.narrowing

    def on(self, device: torch.device) -> "OnDevice":
        """What the likelihood needs, on a device, where it is kept."""
        if device not in self._kept:
            value = np.asarray(self.values)[:, None] - (0.0 if self.shift is None else self.shift)
            unknown = np.where(np.asarray(self.measured), 0.0, log(_UNKNOWN) + 0.5 * log(2 * pi))
            parts = value, np.asarray(self.errors)[:, None] ** 2, unknown[:, None]
            self._kept[device] = OnDevice(*(torch.as_tensor(part, device=device) for part in parts))
        return self._kept[device]

    @cached_property
    def _kept(self) -> dict[torch.device, "OnDevice"]:
        return {}

    def residual(self, mean: Float[Tensor, "*draw cluster mass"]) -> Float[Tensor, "*draw cluster mass"]:
        """Value minus mean."""
        return self.on(mean.device).value - mean

    def log_likelihood(
        self, mean: Float[Tensor, "*draw cluster mass"], std: Float[Tensor, "*draw #cluster #mass"]
    ) -> Float[Tensor, "*draw cluster mass"]:
        """Natural log of N(value | mean, scatter^2 + error^2); with a calibration, of its equation."""
        here = self.on(std.device)
        variance = (std**2 + here.variance) * self.narrowing**2  # of one column where it is constant
        height = here.constant - 0.5 * (variance.log() + log(2 * pi))
        return height - 0.5 / variance * self.residual(mean) ** 2

    def predict(
        self, mean: Float[Tensor, "*draw cluster"], std: Float[Tensor, "*draw cluster"], generator: torch.Generator
    ) -> Float[Tensor, "*draw cluster"]:
        """Values with scatter and error, NaN where none was measured."""
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        known = torch.as_tensor(np.asarray(self.measured))
        return torch.where(known, mean + noise * (std**2 + self.on(mean.device).variance[:, 0]).sqrt(), torch.nan)


def log_correlated(
    observed: list[Observable],
    means: list[Float[Tensor, "*draw cluster mass"]],
    stds: list[Float[Tensor, "*draw #cluster #mass"]],
    factor: Float[Tensor, "*draw observable observable"],
) -> Float[Tensor, "*draw cluster mass"]:
    """Natural log of the joint density of several observables whose intrinsic scatter is correlated.

    The covariance is S R S + diag(errors^2), S the scatters at the mass.

    Args:
        observed: The observables.
        means: Mean of each.
        stds: Intrinsic scatter of each.
        factor: Lower Cholesky factor of the correlation R.
    """
    residual = torch.stack([one.residual(mean) for one, mean in zip(observed, means, strict=True)], -2)
    here = [one.on(residual.device) for one in observed]
    root = torch.stack(torch.broadcast_tensors(*stds), -1)[..., None] * factor[..., None, None, :, :]
    error = torch.stack([each.variance for each in here], -1)
    lower = torch.linalg.cholesky(root @ root.mT + torch.diag_embed(error))
    chi2 = _whitened(lower, residual).square().sum(-2)
    log_det = 2 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    constant = torch.stack([each.constant for each in here]).sum(0)
    return -0.5 * (chi2 + log_det + len(observed) * log(2 * pi)) + constant


def _whitened(
    lower: Float[Tensor, "*draw cluster #mass observable observable"],
    residual: Float[Tensor, "*draw cluster observable mass"],
) -> Float[Tensor, "*draw cluster observable mass"]:
    """Residuals in which the observables are independent, of variance 1; all masses at once where their factor is one.

    Few observables against hundreds of masses: to invert the factor and multiply is ten times faster than to solve.
    """
    if lower.shape[-3] == 1:
        eye = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        return torch.linalg.solve_triangular(lower[..., 0, :, :], eye, upper=False) @ residual
    return torch.linalg.solve_triangular(lower, residual.mT[..., None], upper=False)[..., 0].mT
