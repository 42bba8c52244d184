"""Background, haloes and clustering of a flat universe; bias, concentration and most mass functions are colossus'.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s]. Functions are pure and broadcast.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline
from scipy.special import hyp2f1

from clustermocks.haloes.tinker import tinker08

if TYPE_CHECKING:
    from colossus.cosmology.cosmology import Cosmology as ColossusCosmology
    from colossus.utils.storage import StorageUser

SPEED_OF_LIGHT = 299_792.458  # [km/s]
G = 4.30091e-9  # [Mpc (km/s)^2 / Msun]
CRITICAL_DENSITY = 3e4 / (8 * np.pi * G)  # at redshift 0 [h^2 Msun Mpc^-3]
MAX_REDSHIFT = 10.0
_WAVENUMBERS = 4000

Values: TypeAlias = Float[np.ndarray, "*batch"]


@final
@dataclass(frozen=True)
class Cosmology:
    """Flat LCDM without radiation; the defaults are those of MDPL2 (Klypin et al. 2016, arXiv:1411.4001).

    Attributes:
        Om0: Matter density today, in units of the critical density [1].
        h: Hubble constant [100 km/s/Mpc].
        sigma8: Linear rms density contrast in spheres of 8 h^-1 Mpc today [1].
        ns: Slope of the primordial power spectrum [1].
        Ob0: Baryon density today [1].
    """

    Om0: float = 0.307115
    h: float = 0.6777
    sigma8: float = 0.8228
    ns: float = 0.96
    Ob0: float = 0.048206

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"Cosmology: {name} must be a positive number, found {value!r}.")
        if not self.Ob0 < self.Om0 < 1:
            raise ValueError(
                f"Cosmology: needs Ob0 < Om0 < 1 (flat LCDM), found Ob0={self.Ob0}, Om0={self.Om0}. Change one of them."
            )

    @property
    def S8(self) -> float:
        """sigma8 (Om / .3)^.5 [1]."""
        return self.sigma8 * (self.Om0 / 0.3) ** 0.5

    def hubble(self, redshift: ArrayLike) -> Values:
        """Hubble rate 100 E(z) [h km/s/Mpc]; E^2 = Om0 (1+z)^3 + 1 - Om0."""
        return 100 * np.sqrt(self.Om0 * (1 + np.asarray(redshift, float)) ** 3 + 1 - self.Om0)

    def matter_fraction(self, redshift: ArrayLike) -> Values:
        """Matter density in units of the critical density of that redshift [1]."""
        return self.Om0 * (1 + np.asarray(redshift, float)) ** 3 / (self.hubble(redshift) / 100) ** 2

    def comoving_distance(self, redshift: ArrayLike) -> Values:
        """Comoving distance to a redshift [h^-1 Mpc], in closed form (Baes et al. 2017, MNRAS 468, 927)."""
        ratio = np.cbrt(1 / self.Om0 - 1)
        scale = SPEED_OF_LIGHT / 100 / np.sqrt(ratio * self.Om0)
        return scale * (_baes_integral(ratio) - _baes_integral(ratio / (1 + np.asarray(redshift, float))))

    def redshift_at(self, distance: ArrayLike) -> Values:
        """Redshift at a comoving distance [h^-1 Mpc]; good to 1e-13, and odd in the distance.

        Behind the observer (distance < 0: a box placed near redshift 0) it is -z(|d|), as in Ho et al. 2019's code.

        Raises:
            ValueError: if a distance is beyond redshift 10.
        """
        spline = _redshift_spline(self)
        distance = np.asarray(distance, float)
        if np.any(np.abs(distance) > spline.x[-1]):
            found = float(np.abs(distance).max())
            raise ValueError(
                f"Cosmology.redshift_at: distance {found:.6g} h^-1 Mpc is beyond redshift {MAX_REDSHIFT:g} "
                f"({spline.x[-1]:.6g} h^-1 Mpc). Distances are comoving h^-1 Mpc: check the unit."
            )
        return np.sign(distance) * spline(np.abs(distance))


MDPL2 = Cosmology()


def _baes_integral(x: ArrayLike) -> Values:
    """Integral of (u + u^4)^-1/2 from 0 to x."""
    x = np.asarray(x, float)
    return 2 * np.sqrt(x) * hyp2f1(1 / 6, 1 / 2, 7 / 6, -(x**3))


@lru_cache(maxsize=256)
def _redshift_spline(cosmology: Cosmology) -> CubicHermiteSpline:
    """z(d) from exact values and slopes: knots of .001 in z leave 1e-14."""
    redshift = np.linspace(0, MAX_REDSHIFT, round(MAX_REDSHIFT / 0.001) + 1)
    return CubicHermiteSpline(
        cosmology.comoving_distance(redshift), redshift, cosmology.hubble(redshift) / SPEED_OF_LIGHT
    )


@lru_cache(maxsize=16)
def _colossus_cosmology(cosmology: Cosmology, w: float) -> "ColossusCosmology":
    from colossus.cosmology.cosmology import Cosmology as ColossusCosmology

    return ColossusCosmology(
        name="clustermocks",
        flat=True,
        Om0=cosmology.Om0,
        Ob0=cosmology.Ob0,
        H0=100 * cosmology.h,
        sigma8=cosmology.sigma8,
        ns=cosmology.ns,
        relspecies=False,
        persistence="",  # by default colossus pickles into the home folder
        **({} if w == -1 else {"de_model": "w0", "w0": w}),
    )


@contextmanager
def _colossus(cosmology: Cosmology, w: float = -1.0) -> Iterator["ColossusCosmology"]:
    """Make this colossus' current cosmology (it knows only a global one), and put the caller's back."""
    from colossus.cosmology import cosmology as module

    before = module.current_cosmo
    module.setCurrent(_colossus_cosmology(cosmology, w))
    try:
        yield module.getCurrent()
    finally:
        module.current_cosmo = before


@lru_cache(maxsize=1)
def _concentration_table() -> "StorageUser":
    """Place in memory for colossus' table of concentrations, which it computes in 50 ms."""
    from colossus.utils.storage import StorageUser

    name = "concentration"
    return StorageUser("halo.concentration", "", lambda: name, lambda: name, None)


def mass_function(mass: ArrayLike, redshift: float, cosmology: Cosmology, *, model: str = "tinker08") -> Values:
    """Halo mass function dn/dlog10 M200c [h^3 Mpc^-3 dex^-1].

    Between tabulated overdensities the parameters of tinker08 follow the published splines. colossus interpolates them
    linearly in the overdensity and CCL in its logarithm, so that both have kinks in cosmology and redshift.

    Args:
        mass: M200c [h^-1 Msun], 10^10 to 10^17.
        redshift: Redshift [1].
        cosmology: Background and power spectrum.
        model: tinker08, or colossus' name of another fit that knows 200c: despali16, bocquet16, ...

    Raises:
        ValueError: if colossus has no such fit for 200c.

    References:
        Tinker et al. 2008, ApJ 688, 709, eq. 2: 10^11 to 10^15.5 h^-1 Msun, z < 2, 5 % at z = 0.
    """
    from colossus.lss import mass_function as module

    usable = sorted(name for name, fit in module.models.items() if "*" in fit.mdefs or "200c" in fit.mdefs)
    if model not in usable:
        raise ValueError(f"mass_function: no fit {model!r} for M200c. Choose from: {', '.join(usable)}.")
    mass = np.asarray(mass, float)
    if model == "tinker08":
        log_sigma = _log_sigma(cosmology)
        sigma = growth_factor(redshift, cosmology) * np.exp(log_sigma(np.log(mass)))
        in_haloes = tinker08(sigma, redshift, 200 / float(cosmology.matter_fraction(redshift)))
        return np.log(10) * CRITICAL_DENSITY * cosmology.Om0 / mass * in_haloes * -log_sigma(np.log(mass), 1)
    with _colossus(cosmology):
        return np.log(10) * module.massFunction(mass, redshift, mdef="200c", model=model, q_out="dndlnM")


@lru_cache(maxsize=512)
def _log_sigma(cosmology: Cosmology) -> CubicHermiteSpline:
    """Natural log of sigma(M) today as a function of ln M, from 10^10 to 10^17; good to 1e-7, its slope to 1e-5."""
    log_mass = np.log(10) * np.linspace(10, 17, 141)
    sigma, slope = mass_variance(np.exp(log_mass), cosmology)
    return CubicHermiteSpline(log_mass, np.log(sigma), slope)


def mass_variance(mass: ArrayLike, cosmology: Cosmology) -> tuple[Values, Values]:
    """Linear rms density contrast sigma(M) today [1], in spheres that hold M on average, and d ln sigma / d ln M.

    The integral over colossus' power spectrum, good to 1e-5. colossus' own sigma is interpolated: it is off by up to
    .3 %, and not smooth in the cosmology.

    Args:
        mass: Mass [h^-1 Msun], 10^10 to 10^17.
        cosmology: Background and power spectrum (Eisenstein & Hu 1998 transfer).
    """
    radius = np.cbrt(3 * np.asarray(mass, float) / (4 * np.pi * CRITICAL_DENSITY * cosmology.Om0))
    wavenumber = np.geomspace(1e-5, 1e3, _WAVENUMBERS)  # [h Mpc^-1]
    with _colossus(cosmology) as current:
        power = current.matterPowerSpectrum(wavenumber, 0.0) * wavenumber**3
    variance, slope = tophat_variance(radius, wavenumber, power)
    unit, _ = tophat_variance(np.array(8.0), wavenumber, power)
    return cosmology.sigma8 * np.sqrt(variance / unit), slope / 6


def tophat_variance(radius: np.ndarray, wavenumber: np.ndarray, power: np.ndarray) -> tuple[Values, Values]:
    """Variance in top-hat spheres [1/ (2 pi^2)], and d ln variance / d ln R, of k^3 P(k) at rising wavenumbers."""
    x = wavenumber * radius[..., None]
    window = 3 * (np.sin(x) - x * np.cos(x)) / x**3
    small = x < 1e-2  # where the difference cancels
    window = np.where(small, 1 - x**2 / 10, window)
    change = np.where(small, -(x**2) / 5, 3 * (np.sin(x) / x - window))
    log_k = np.log(wavenumber)
    variance = np.trapezoid(power * window**2, log_k)
    return variance, 2 * np.trapezoid(power * window * change, log_k) / variance


def growth_factor(redshift: ArrayLike, cosmology: Cosmology, *, w: float = -1.0) -> Values:
    """Linear growth factor over that of today [1] (colossus); w is the equation of state of dark energy [1]."""
    with _colossus(cosmology, w) as current:
        return np.asarray(current.growthFactor(np.asarray(redshift, float)))


def halo_bias(mass: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Large-scale linear halo bias [1] (Tinker et al. 2010, ApJ 724, 878, eq. 6; 10^11 to 10^15.5 h^-1 Msun)."""
    from colossus.lss import bias

    with _colossus(cosmology):
        return bias.haloBias(np.asarray(mass, float), redshift, mdef="200c", model="tinker10")


def concentration(mass: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Median concentration c200c [1] (Diemer & Joyce 2019, ApJ 871, 168, eq. 31; any mass, redshift, cosmology)."""
    from colossus.halo import concentration as module

    before = module.storageUser  # by default a pickle in the home folder, which may be outdated or read-only
    module.storageUser = _concentration_table()
    try:
        with _colossus(cosmology):
            return np.asarray(module.concentration(np.asarray(mass, float), "200c", redshift, model="diemer19"))
    finally:
        module.storageUser = before


def correlation_function(radius: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Linear matter correlation function [1] (colossus, Eisenstein & Hu 1998 transfer), 1e-3 to 500 h^-1 Mpc."""
    with _colossus(cosmology) as current:
        return np.asarray(current.correlationFunction(np.asarray(radius, float), redshift))


def power_spectrum(wavenumber: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Linear matter power spectrum [(h^-1 Mpc)^3] at wavenumbers [h Mpc^-1] (colossus, Eisenstein & Hu 1998)."""
    with _colossus(cosmology) as current:
        return np.asarray(current.matterPowerSpectrum(np.asarray(wavenumber, float), redshift))


def radius_200c(mass: ArrayLike, redshift: ArrayLike, cosmology: Cosmology) -> Values:
    """Radius that holds 200 times the critical density, r200c [comoving h^-1 Mpc], for M200c [h^-1 Msun]."""
    critical = CRITICAL_DENSITY * (cosmology.hubble(redshift) / 100) ** 2
    return (1 + np.asarray(redshift, float)) * np.cbrt(3 * np.asarray(mass, float) / (800 * np.pi * critical))


def virial_velocity(mass: ArrayLike, redshift: ArrayLike, cosmology: Cosmology) -> Values:
    r"""Circular velocity at r200c, $V_{200} = \sqrt{G M_{200c} / r_{200c}}$ [km/s] (Mo, Mao & White 1998, eq. 2).

    Example:
        >>> round(float(virial_velocity(1e14, 0.117, MDPL2)))
        769
    """
    return np.cbrt(10 * G * cosmology.hubble(redshift) * np.asarray(mass, float))  # h of H and of M cancels


def bryan_norman_overdensity(redshift: ArrayLike, cosmology: Cosmology) -> Values:
    """Virial overdensity over the critical density [1] (Bryan & Norman 1998, ApJ 495, 80, eq. 6; .1 < Om(z) < 1)."""
    x = cosmology.matter_fraction(redshift) - 1
    return 18 * np.pi**2 + 82 * x - 39 * x**2


def nfw_mass(x: ArrayLike) -> Values:
    """Mass (or number) inside x scale radii, ln(1+x) - x/(1+x), up to a factor (Navarro, Frenk & White 1997)."""
    x = np.asarray(x, float)
    return np.log1p(x) - x / (1 + x)


def virial_ratio(concentration_200c: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Bryan-Norman R_vir / r200c [1] of an NFW halo of concentration c200c [1, .1 to 100]."""
    return radius_ratio(concentration_200c, bryan_norman_overdensity(redshift, cosmology))


def radius_ratio(concentration_200c: ArrayLike, overdensity: ArrayLike) -> Values:
    """Radius that holds an overdensity over critical, over r200c [1]: the root y of m(c y)/y^3 = (Delta/200) m(c).

    Args:
        concentration_200c: c200c [1], .1 to 100.
        overdensity: Delta [1], 50 to 2000.
    """
    c = np.asarray(concentration_200c, float)
    log_target = np.log(np.asarray(overdensity, float) / 200 * nfw_mass(c))
    log_y = np.full(c.shape, 0.25)
    for _ in range(6):  # Newton in ln y converges quadratically: 1e-15 after 5 steps
        x = c * np.exp(log_y)
        slope = (x / (1 + x)) ** 2 / nfw_mass(x) - 3
        log_y = log_y - (np.log(nfw_mass(x)) - 3 * log_y - log_target) / slope
    return np.exp(log_y)


def truncation_radius(mass: ArrayLike, redshift: float, cosmology: Cosmology) -> Values:
    """Radius at which a halo's profile steepens, r_t / r200c [1], for M200c [h^-1 Msun]: (1.9 - .18 nu) R200m.

    References:
        Diemer & Kravtsov 2014, ApJ 789, 1, eq. 6; nu of M200m, .5 to 4.
    """
    from colossus.lss import peaks

    c = concentration(mass, redshift, cosmology)
    overdensity = 200 * float(cosmology.matter_fraction(redshift))
    ratio = radius_ratio(c, overdensity)
    with _colossus(cosmology):
        height = peaks.peakHeight(np.asarray(mass, float) * overdensity / 200 * ratio**3, redshift)
    return (1.9 - 0.18 * height) * ratio
