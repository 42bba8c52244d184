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
from scipy.special import ndtr

from clustermocks.haloes.cosmology import Cosmology, Values, correlation_function, power_spectrum
from clustermocks.haloes.interpolation import between_redshifts

SMOOTHING = 1.5  # Gaussian, of the field [h^-1 Mpc]; smaller structure is that of haloes
_LOG_K = (np.log(3e-3), np.log(3.0))  # of wavenumbers [h Mpc^-1]: the rest moves little, or is smoothed away
_WAVENUMBERS = 241
_MODES = 48  # plane waves a cluster
_BLOCK = 1024  # points at a time
_LARGEST = 120.0  # scale of the Gaussian that ends the correlation function before its transform [h^-1 Mpc]


class _Spectrum(NamedTuple):
    """On a grid of ln k: variance of G per unit of ln k, and the linear density over G, both by amplitude."""

    log_k: Float[np.ndarray, "k"]
    variance: Float[np.ndarray, "k"]
    linear: Float[np.ndarray, "k"]


@lru_cache(maxsize=256)
def _spectrum(redshift: float, cosmology: Cosmology) -> _Spectrum:
    """Spectrum at a redshift, to 1e-5: interpolated between exact ones."""
    return _Spectrum(np.linspace(*_LOG_K, _WAVENUMBERS), *between_redshifts(_exact_spectrum, redshift, cosmology))


def _exact_spectrum(redshift: float, cosmology: Cosmology) -> Float[np.ndarray, "2 k"]:
    """Variance and linear amplitude as in `_Spectrum`."""
    k = np.exp(np.linspace(*_LOG_K, _WAVENUMBERS))
    r, transform = _transform()
    power = transform @ np.log1p(np.maximum(correlation_function(r, redshift, cosmology), -0.9))
    power = np.maximum(power, 1e-3) * np.exp(-((k * SMOOTHING) ** 2))
    linear = np.sqrt(power_spectrum(k, redshift, cosmology) / power)
    return np.stack([k**3 * power / (2 * np.pi**2), linear])


@lru_cache(maxsize=1)
def _transform() -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "k r"]]:
    """Distances [h^-1 Mpc], and the matrix that takes a correlation function there to its power spectrum."""
    k, log_r = np.exp(np.linspace(*_LOG_K, _WAVENUMBERS)), np.linspace(np.log(1e-2), np.log(300.0), 6001)
    r = np.exp(log_r)
    weight = 4 * np.pi * r**3 * np.exp(-0.5 * (r / _LARGEST) ** 2) * (log_r[1] - log_r[0])
    weight[[0, -1]] /= 2  # trapezoids
    return r, np.sinc(np.outer(k, r) / np.pi) * weight


def _mean_above(bias: Values, floor: float, variance: float) -> Values:
    """Mean of 1 + b delta - floor where that is positive, 0 elsewhere: as an option's price (Black & Scholes 1973)."""
    strike, sigma = floor - 1 + bias, np.sqrt(variance)
    depth = np.log(bias / np.maximum(strike, 1e-30)) / sigma
    return bias * ndtr(depth + 0.5 * sigma) - strike * ndtr(depth - 0.5 * sigma)


class DensityField(NamedTuple):
    """One realization around each cluster, as plane waves.

    Attributes:
        wave: Wave vectors [h Mpc^-1].
        amplitude: Amplitudes of the waves of G [1].
        phase: Phase of each at the cluster, where G is amplitude cos(phase).
        speed: Velocity along the third axis of a wave of amplitude 1 [km/s].
        variance: Variance of G [1].
    """

    wave: Float[np.ndarray, "3 cluster mode"]
    amplitude: Float[np.ndarray, "cluster mode"]
    phase: Float[np.ndarray, "cluster mode"]
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
        variance = step * np.interp(log_k, spectrum.log_k, spectrum.variance)
        amplitude, phase = np.sqrt(variance) * rng.rayleigh(size=(n, _MODES)), rng.uniform(0, 2 * np.pi, (n, _MODES))
        flow = cosmology.matter_fraction(redshift) ** 0.55 * cosmology.hubble(redshift) / (1 + redshift)
        speed = flow * direction[2] * np.exp(-log_k) * np.interp(log_k, spectrum.log_k, spectrum.linear)
        wave = np.exp(log_k) * direction
        single = [array.astype(np.float32) for array in (wave, amplitude, phase, speed)]
        return cls(*single, variance=float(np.trapezoid(spectrum.variance, spectrum.log_k)))

    def weight(self, contrast: Values, bias: Values, most: Values) -> Values:
        """Relative number 1 + b delta of haloes of some bias, between 0 and `most`, with a mean of 1 over the field."""
        mean = _mean_above(bias, 0.0, self.variance)
        for cap in np.unique(most[np.isfinite(most)]):
            here = most == cap
            mean[here] -= _mean_above(bias[here], float(cap), self.variance)
        return np.clip(1 + bias * contrast, 0, most) / mean

    def contrast(self, cluster: Int[np.ndarray, "point"], position: Float[np.ndarray, "point 3"]) -> Values:
        """Density contrast [1] at positions relative to each point's cluster, given by its index."""
        return np.exp(self._added(np.cos, self.amplitude, cluster, position) - 0.5 * self.variance) - 1

    def velocity(self, cluster: Int[np.ndarray, "point"], position: Float[np.ndarray, "point 3"]) -> Values:
        """Velocity relative to the cluster along the third axis [km/s], at positions relative to it."""
        swing = self.speed * self.amplitude
        own = (swing * np.sin(self.phase)).sum(axis=1, dtype=float)
        return own[cluster] - self._added(np.sin, swing, cluster, position)

    def _added(
        self,
        function: np.ufunc,
        weight: Float[np.ndarray, "cluster mode"],
        cluster: Int[np.ndarray, "point"],
        position: Float[np.ndarray, "point 3"],
    ) -> Values:
        """Sum over waves of a weight times a function of the phase, in blocks that fit into a processor's cache."""
        total, single = np.empty(len(cluster)), position.astype(np.float32)
        for start in range(0, len(cluster), _BLOCK):
            block = slice(start, start + _BLOCK)
            here = cluster[block]
            phase = self.phase.take(here, axis=0)  # take is faster than an index
            for wave, along in zip(self.wave, single[block].T, strict=True):
                phase += wave.take(here, axis=0) * along[:, None]
            # not by einsum, whose last digits depend on where arrays lie in memory
            total[block] = (weight.take(here, axis=0) * function(phase)).sum(axis=1)
        return total
