"""SphericalJeans: clusters whose likelihood is known, so that an inferred posterior can be compared with the exact one.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s], `log_` is natural, `log10_` in dex.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, final

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.cosmology import MDPL2, Cosmology, Values
from clustermocks.haloes.jeans import HIGHEST_BETA, LOWEST_BETA
from clustermocks.observation import Observation
from clustermocks.spherical_jeans import likelihood as jeans_likelihood, mocks as jeans_mocks
from clustermocks.spherical_jeans.galaxies import JeansGalaxies

LIMITS = {"log10_mass": (12.5, 15.7), "log10_c200c": (0.0, 1.5), "beta": (LOWEST_BETA, HIGHEST_BETA)}


@final
@dataclass(frozen=True)
class SphericalJeans:
    """Spherical NFW clusters in Jeans equilibrium, alone or over a uniform background, seen through a cylinder.

    Galaxies trace an NFW profile inside R_vir; their velocities are Gaussian at every point, with the second moments of
    the Jeans equation, and no Hubble flow. Their number is negative binomial. Interlopers are uniform on the sky and in
    velocity.

    Attributes:
        observation: Redshift, cylinder and least number of galaxies.
        cosmology: Background and power spectrum.
        richness: "mass": the number of galaxies follows the mass. "independent": it does not, so that only distances
            and velocities depend on the mass.
        background: Mean number of interlopers in the cylinder [1].
        galaxies: How galaxies populate the halo and orbit in it.
        free: Parameters besides log10_mass, in the order of theta's further columns: "log10_c200c" (c200c of
            the mass) [dex], "beta" (constant anisotropy) [1]. What is free has no scatter of its own.

    References:
        Mamon, Biviano & Boue 2013, MNRAS 429, 3079 (the density in projected phase space).
    """

    observation: Observation = field(default_factory=Observation)
    cosmology: Cosmology = MDPL2
    richness: Literal["mass", "independent"] = "mass"
    background: float = 0.0
    galaxies: JeansGalaxies = field(default_factory=JeansGalaxies)
    free: tuple[Literal["log10_c200c", "beta"], ...] = ()

    def __post_init__(self) -> None:
        if self.richness not in ("mass", "independent"):
            raise ValueError(f"SphericalJeans: richness must be 'mass' or 'independent', found {self.richness!r}.")
        if not 0 <= self.background <= 1e4:
            raise ValueError(f"SphericalJeans: background must be 0 to 10000 galaxies, found {self.background!r}.")
        allowed = ("log10_c200c", "beta")
        if isinstance(self.free, str) or len(set(self.free)) < len(self.free) or not set(self.free) <= set(allowed):
            raise ValueError(f"SphericalJeans: free is a tuple of {', '.join(allowed)}; found {self.free!r}.")
        self._check_free()

    def _check_free(self) -> None:
        galaxies = self.galaxies
        given = {
            "log10_c200c": galaxies.mass_concentration_scatter,
            "beta": galaxies.anisotropy_spread or galaxies.anisotropy != 0,
        }
        for name in self.free:
            if given[name]:
                raise ValueError(f"SphericalJeans: {name} is free, so leave it at 0 in galaxies; found {galaxies}.")

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of theta's columns."""
        return ("log10_mass", *self.free)

    @property
    def shape(self) -> float:
        """Shape k of the Gamma distribution of a cluster's richness over its mean [1]."""
        scatter = self.galaxies.number_scatter
        return 1 / scatter**2 if scatter else np.inf

    def mean_number(self, log10_mass: ArrayLike) -> Values:
        """Mean number of galaxies inside R_vir ("mass") or in the cylinder ("independent") at log10 M200c [dex]."""
        slope = self.galaxies.number_slope if self.richness == "mass" else 0.0
        return self.galaxies.number * 10 ** (slope * (np.asarray(log10_mass, float) - 14))

    def simulate(
        self, theta: ArrayLike, *, seed: int, n_jobs: int | None = None, progress: Callable[[int], object] | None = None
    ) -> Catalogue:
        """Simulate one cluster for each mass.

        Args:
            theta: log10 M200c [dex], (cluster,), 12.5 to 15.7; with free parameters (cluster, parameter).
            seed: Same seed and theta, same catalogue, whatever n_jobs.
            n_jobs: Worker processes; -1 for one a core, None follows `joblib.parallel_config` (one without it).
            progress: Called with the number of clusters done, as they are done.

        Returns:
            The clusters with at least observation.min_galaxies, with the galaxies in the cylinder (members outside it
            are not kept) and the columns `concentration` and, for constant anisotropy, `anisotropy`; all attempts are
            remembered.

        Raises:
            ValueError: A parameter is out of range or not finite, or theta has the wrong shape.
        """
        return jeans_mocks.simulate(self, self.checked(theta), seed=seed, n_jobs=n_jobs, progress=progress)

    def log_likelihood(
        self, observed: Catalogue | Float[np.ndarray, "cluster galaxy 3"], theta: ArrayLike
    ) -> Float[np.ndarray, "cluster theta"]:
        r"""Natural log of p(R, v, N | theta), a density in R [h^-1 Mpc] and v [km/s] of each galaxy in turn.

        $\int dG\,\Gamma(G; k, 1/k)\,e^{-(G\lambda f + B)} \prod_i [G\lambda f p_c(R_i, v_i) + B p_b(R_i, v_i)] / N!$,
        of any cluster, selected or not: summed over N and integrated over R and v it gives 1. Subtract `log_selected`
        for the likelihood of clusters drawn until one is selected.

        Args:
            observed: A catalogue, or its `padded()` array: R_proj, v_los and 1 for a galaxy, 0 for padding.
            theta: Where to evaluate, in the form `simulate` takes: every theta for every cluster.

        Returns:
            A row a cluster, a column a theta; -inf where a galaxy lies outside R_vir and there is no background. Good
            to 2e-4 a galaxy within 4 standard deviations in velocity, to 1e-6 where there are up to 1000 galaxies in
            all; an integral over scatter adds an error that its tests bound.

        Raises:
            ValueError: A parameter is out of range, a galaxy outside the cylinder or not finite, or the catalogue was
            observed with another redshift, cylinder or cosmology.
        """
        return jeans_likelihood.log_likelihood(self, observed, self.checked(theta))

    def log_selected(self, theta: ArrayLike) -> Float[np.ndarray, "theta"]:
        """Natural log of P(N >= observation.min_galaxies | theta); theta in the form `simulate` takes."""
        return jeans_likelihood.log_selected(self, self.checked(theta))

    def checked(self, theta: ArrayLike) -> Float[np.ndarray, "theta parameter"]:
        """Parameters as (theta, parameter).

        Raises:
            ValueError: theta has the wrong shape, or a value is not finite or out of range.
        """
        rows, names = np.asarray(theta, float), self.parameters
        rows = rows[:, None] if rows.ndim == 1 and len(names) == 1 else rows
        if rows.ndim != 2 or rows.shape[1] != len(names) or not len(rows):
            raise ValueError(f"SphericalJeans: theta must be (n, {len(names)}) for {names}, found {np.shape(theta)}.")
        for name, column in zip(names, rows.T, strict=True):
            low, high = LIMITS[name]
            bad = np.flatnonzero(~((column >= low - 1e-6) & (column <= high + 1e-6)))  # float32's rounding
            if bad.size:
                raise ValueError(
                    f"SphericalJeans: {bad.size} of {len(column)} values of {name} outside {low} to {high}, the first "
                    f"at index {bad[0]}: {column[bad[0]]:g}. Masses are log10 of M200c in h^-1 Msun."
                )
        return rows
