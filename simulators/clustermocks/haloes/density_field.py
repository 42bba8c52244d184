r"""The random density field around each cluster, and the velocities that it causes.

Matter is lognormal: $1 + \delta = e^{G - \sigma_G^2/2}$ with a Gaussian field G whose correlation function is
ln(1 + xi), xi the linear one (Coles & Jones 1991, MNRAS 248, 1). Haloes of bias b are a Poisson sample of 1 + b delta,
so that neighbours of a cluster cluster among themselves. Velocities are linear: the field that makes neighbours
cluster also makes those near each other move together, and haloes far from the cluster move more relative to it than
near ones. Lengths are comoving [h^-1 Mpc], velocities peculiar [km/s].
"""

from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float, Int

from clustermocks.haloes.cosmology import Cosmology, Values, correlation_function, power_spectrum
from clustermocks.haloes.interpolation import lagrange

SMOOTHING = 1.5  # Gaussian, of the field [h^-1 Mpc]; smaller structure is that of haloes
_LOG_K = (np.log(3e-3), np.log(3.0))  # of wavenumbers [h Mpc^-1]: the rest moves little, or is smoothed away
_WAVENUMBERS = 241
_STEP = 0.1  # of ln(1+z) between exact spectra
_MODES = 48  # plane waves a cluster
_LARGEST = 120.0  # scale of the Gaussian that ends the correlation function before its transform [h^-1 Mpc]


class _Spectrum(NamedTuple):
    """On a grid of ln k: variance of G per unit of ln k, and the linear density over G, both by amplitude."""

    log_k: Float[np.ndarray, "k"]
    variance: Float[np.ndarray, "k"]
    linear: Float[np.ndarray, "k"]


@lru_cache(maxsize=16)
def _spectrum(redshift: float, cosmology: Cosmology) -> _Spectrum:
    """Spectrum at a redshift, to 1e-4: interpolated in ln(1+z) between exact ones, the lowest at redshift 0."""
    first, weights = lagrange(np.log1p(redshift) / _STEP, 4, lowest=0)
    knots = [_spectrum_at_knot(float(np.expm1(_STEP * (first + i))), cosmology) for i in range(4)]
    return _Spectrum(np.linspace(*_LOG_K, _WAVENUMBERS), *np.tensordot(weights, np.stack(knots), 1))


@lru_cache(maxsize=256)
def _spectrum_at_knot(redshift: float, cosmology: Cosmology) -> Float[np.ndarray, "2 k"]:
    """Variance and linear amplitude as in `_Spectrum`."""
    log_k, log_r = np.linspace(*_LOG_K, _WAVENUMBERS), np.linspace(np.log(1e-2), np.log(300.0), 6001)
    k, r = np.exp(log_k), np.exp(log_r)
    correlation = np.log1p(np.maximum(correlation_function(r, redshift, cosmology), -0.9))
    weight = 4 * np.pi * r**3 * np.exp(-0.5 * (r / _LARGEST) ** 2)
    power = np.trapezoid(np.sinc(np.outer(k, r) / np.pi) * weight * correlation, log_r, axis=1)
    power = np.maximum(power, 1e-3) * np.exp(-((k * SMOOTHING) ** 2))
    linear = np.sqrt(power_spectrum(k, redshift, cosmology) / power)
    return np.stack([k**3 * power / (2 * np.pi**2), linear])


@lru_cache(maxsize=1)
def _gauss_hermite(n: int) -> tuple[Values, Values]:
    """Nodes and weights; NumPy solves for them at every call."""
    return np.polynomial.hermite_e.hermegauss(n)


@lru_cache(maxsize=32)
def _mean_weight(variance: float, most: float) -> tuple[Values, Values]:
    """Grid of biases, and the mean of 1 + b delta between 0 and `most` over a field of some variance of G."""
    node, weight = _gauss_hermite(64)
    contrast, bias = np.exp(np.sqrt(variance) * node - 0.5 * variance) - 1, np.geomspace(0.3, 30.0, 121)
    return bias, np.clip(1 + bias[:, None] * contrast, 0, most) @ weight / weight.sum()


class DensityField(NamedTuple):
    """One realization around each cluster, as plane waves.

    Attributes:
        wave: Wave vectors [h Mpc^-1].
        cosine: Amplitudes of the cosines.
        sine: Amplitudes of the sines.
        speed: Velocity along the third axis of a wave of amplitude 1 [km/s].
        variance: Variance of G [1].
    """

    wave: Float[np.ndarray, "3 cluster mode"]
    cosine: Float[np.ndarray, "cluster mode"]
    sine: Float[np.ndarray, "cluster mode"]
    speed: Float[np.ndarray, "cluster mode"]
    variance: float

    @classmethod
    def draw(cls, n: int, rng: np.random.Generator, *, redshift: float, cosmology: Cosmology) -> Self:
        """Draw realizations for n clusters: one wave in each of equal intervals of ln k, of random direction."""
        spectrum = _spectrum(redshift, cosmology)
        step = (_LOG_K[1] - _LOG_K[0]) / _MODES
        log_k = _LOG_K[0] + step * (np.arange(_MODES) + rng.uniform(size=(n, _MODES)))
        direction = rng.standard_normal((3, n, _MODES))
        direction /= np.linalg.norm(direction, axis=0)
        amplitude = np.sqrt(step * np.interp(log_k, spectrum.log_k, spectrum.variance))
        cosine, sine = amplitude * rng.standard_normal((2, n, _MODES))
        flow = cosmology.matter_fraction(redshift) ** 0.55 * cosmology.hubble(redshift) / (1 + redshift)
        speed = flow * direction[2] * np.exp(-log_k) * np.interp(log_k, spectrum.log_k, spectrum.linear)
        wave = np.exp(log_k) * direction
        variance = float(np.trapezoid(spectrum.variance, spectrum.log_k))
        single = [array.astype(np.float32) for array in (wave, cosine, sine, speed)]
        return cls(single[0], single[1], single[2], single[3], variance)

    def weight(self, contrast: Values, bias: Values, most: Values) -> Values:
        """Relative number 1 + b delta of haloes of some bias, between 0 and `most`, with a mean of 1 over the field."""
        mean = np.ones_like(contrast)
        for cap in np.unique(most):
            here = most == cap
            mean[here] = np.interp(bias[here], *_mean_weight(self.variance, float(cap)))
        return np.clip(1 + bias * contrast, 0, most) / mean

    def at(self, cluster: Int[np.ndarray, "point"], position: Float[np.ndarray, "point 3"]) -> tuple[Values, Values]:
        """Density contrast [1], and velocity relative to the cluster along the third axis [km/s], at some points.

        Args:
            cluster: Index of each point's cluster.
            position: Position of each point relative to it.
        """
        x, y, z = position.astype(np.float32).T[:, :, None]
        k_x, k_y, k_z = self.wave[:, cluster]
        phase = k_x * x + k_y * y + k_z * z  # not by einsum, whose last digits depend on where arrays lie in memory
        cosine, sine = np.cos(phase), np.sin(phase)
        a, b = self.cosine[cluster], self.sine[cluster]
        contrast = np.exp((a * cosine + b * sine).sum(axis=1, dtype=float) - 0.5 * self.variance) - 1
        return contrast, (self.speed[cluster] * (b * (cosine - 1) - a * sine)).sum(axis=1, dtype=float)
