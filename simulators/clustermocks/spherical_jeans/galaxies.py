"""How galaxies populate and orbit the spherical haloes of SphericalJeans, and those haloes themselves.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s], `log10_` in dex.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.haloes.cosmology import Cosmology, Values, concentration, radius_200c, virial_ratio, virial_velocity
from clustermocks.haloes.jeans import HIGHEST_BETA, LOWEST_BETA
from clustermocks.haloes.structure import table_in_mass
from clustermocks.io.settings import check_ranges
from clustermocks.observation import Observation


@final
@dataclass(frozen=True)
class JeansGalaxies:
    """How galaxies populate and orbit a spherical halo; the numbers are those of `HaloGalaxies`.

    Attributes:
        number: Mean number of galaxies [1]: with richness="mass" inside R_vir at M200c = 10^14, with "independent" in
            the cylinder at any mass.
        number_slope: Exponent of its power law in mass, with richness="mass" [1].
        number_scatter: Relative scatter of the mean number, a Gamma distribution on top of Poisson [1], below .5.
        concentration: r200c over the galaxies' scale radius [1].
        mass_concentration_scatter: Lognormal scatter of the mass' concentration about its median (Diemer & Joyce 2019)
            [dex]; the likelihood integrates over it.
        anisotropy: beta [1], -1 to .5, at all radii, or "mamon_lokas": isotropic within, .5 far out.
        anisotropy_spread: A cluster's beta is uniform within this much of `anisotropy` [1]; the likelihood integrates
            over it.
    """

    number: float = 28.2
    number_slope: float = 0.91
    number_scatter: float = 0.10
    concentration: float = 2.6
    mass_concentration_scatter: float = 0.0
    anisotropy: float | Literal["mamon_lokas"] = 0.0
    anisotropy_spread: float = 0.0

    def __post_init__(self) -> None:
        check_ranges(
            self,
            number=(0.1, 1e4),
            number_slope=(-3, 3),
            number_scatter=(0, 0.5),
            concentration=(0.1, 30),
            mass_concentration_scatter=(0, 0.3),
            anisotropy_spread=(0, 0.75),
        )
        self._check_anisotropy()

    def _check_anisotropy(self) -> None:
        if self.anisotropy == "mamon_lokas" and not self.anisotropy_spread:
            return
        beta, spread = self.anisotropy, self.anisotropy_spread
        if isinstance(beta, str) or not LOWEST_BETA <= beta - spread <= beta + spread <= HIGHEST_BETA:
            raise ValueError(
                f"JeansGalaxies: anisotropy must be 'mamon_lokas' without spread or beta with {LOWEST_BETA} <= beta - "
                f"spread and beta + spread <= {HIGHEST_BETA}, found {beta!r} with anisotropy_spread={spread!r}."
            )


class JeansModel(Protocol):
    """What mocks and likelihood of spherical clusters depend on: a dataclass, `SphericalJeans`, documented there."""

    @property
    def observation(self) -> Observation: ...
    @property
    def cosmology(self) -> Cosmology: ...
    @property
    def richness(self) -> Literal["mass", "independent"]: ...
    @property
    def background(self) -> float: ...
    @property
    def galaxies(self) -> JeansGalaxies: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...
    @property
    def shape(self) -> float: ...
    def mean_number(self, log10_mass: ArrayLike) -> Values: ...


class Hosts(NamedTuple):
    """Haloes, each field (halo,): r200c [h^-1 Mpc], V200 [km/s], c200c [1], R_vir [r200c], beta [1] (or its profile).

    R_vir is that of a halo of the same mass and median concentration, so that the end of the galaxies does not scatter.
    """

    r_200c: Float[np.ndarray, "halo"]
    v_200: Float[np.ndarray, "halo"]
    c_200c: Float[np.ndarray, "halo"]
    edge: Float[np.ndarray, "halo"]
    anisotropy: Float[np.ndarray, "halo"] | Literal["mamon_lokas"]

    def anisotropy_of(self, i: int) -> float | Literal["mamon_lokas"]:
        """Anisotropy of one halo: beta [1], or its profile."""
        return self.anisotropy if isinstance(self.anisotropy, str) else float(self.anisotropy[i])


def hosts(
    parameters: Mapping[str, Values],
    galaxies: JeansGalaxies,
    *,
    offsets: tuple[ArrayLike, ArrayLike],
    redshift: float,
    cosmology: Cosmology,
) -> Hosts:
    """Haloes of given `log10_mass` and, where they are free, `log10_c200c` and `beta`.

    `galaxies` gives the anisotropy where it is not free. Offsets are the scatter of concentration [dex] and beta [1].
    """
    log10_mass = parameters["log10_mass"]
    grid, medians = table_in_mass(concentration, (12, 16, 161), redshift, cosmology)
    median = np.interp(log10_mass, grid, np.log10(medians))
    c_200c = 10 ** (parameters.get("log10_c200c", median) + np.asarray(offsets[0], float))
    anisotropy = galaxies.anisotropy
    if not isinstance(anisotropy, str):
        anisotropy = parameters.get("beta", np.full(log10_mass.shape, anisotropy)) + np.asarray(offsets[1], float)
    return Hosts(
        r_200c=radius_200c(10**log10_mass, redshift, cosmology),
        v_200=virial_velocity(10**log10_mass, redshift, cosmology),
        c_200c=c_200c,
        edge=virial_ratio(10**median, redshift, cosmology),
        anisotropy=anisotropy,
    )
