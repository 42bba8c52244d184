r"""Densities of members and interlopers in projected distance and velocity, for a trial halo.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s], `log_` is natural. Densities are
per area and velocity [h^2 Mpc^-2 (km/s)^-1], normalised to 1 in the cylinder.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from clustermocks.haloes.cosmology import Cosmology, Values, nfw_mass
from clustermocks.haloes.jeans import DensityTable, Tracers, density_table, fraction_inside
from clustermocks.observation import Observation
from clustermocks.spherical_jeans.galaxies import Hosts, JeansGalaxies, hosts

_CONCENTRATIONS, _BETAS = 9, 5  # nodes over the scatter of each, as in SphericalJeans
_RADII = 32  # nodes of the integral of interlopers inside r200c
_FIELD = 0.0075  # interlopers of the field, r_v^-2 v_v^-1, per |v| (Mamon, Biviano & Murante 2010)


class TrialHalo(NamedTuple):
    """A halo that a cluster might have, and the effect of the cylinder on its galaxies.

    `edge` [h^-1 Mpc] is the radius where members end, `inside` the share of them in the cylinder, `per_virial` their
    number over that inside R_vir, `log_weight` the log weight of the halo in the scatter at one mass.
    """

    table: DensityTable
    r_200c: float
    v_200: float
    edge: float
    inside: float
    per_virial: float
    log_weight: float

    def log_members(self, R_proj: Values, v_los: Values) -> Values:
        """Log density of members; -inf beyond the edge."""
        scale = self.edge**2 * self.v_200 * self.inside
        return self.table(R_proj / self.edge, v_los / self.v_200) - np.log(scale)


def trial_halos(
    log10_mass: float, galaxies: JeansGalaxies, *, observation: Observation, cosmology: Cosmology, virial: bool
) -> list[TrialHalo]:
    """Construct haloes of one mass, one for each node of the scatter in concentration and anisotropy.

    Members end at R_vir if `virial`, as in `SphericalJeans`, and otherwise at r200c.
    """
    log_weight, offsets = _scatter(galaxies)
    columns = {"log10_mass": np.full(len(log_weight), log10_mass)}
    halo = hosts(columns, galaxies, offsets=offsets, redshift=observation.redshift, cosmology=cosmology)
    return [_trial_halo(halo, i, galaxies, observation, log_weight[i], virial) for i in range(len(log_weight))]


def _trial_halo(
    halo: Hosts, i: int, galaxies: JeansGalaxies, observation: Observation, log_weight: float, virial: bool
) -> TrialHalo:
    end = float(halo.edge[i]) if virial else 1.0  # [r200c]
    tracers = Tracers(float(halo.c_200c[i]), galaxies.concentration, end, halo.anisotropy_of(i))
    r_200c, v_200 = float(halo.r_200c[i]), float(halo.v_200[i])
    c = galaxies.concentration
    return TrialHalo(
        table=density_table(tracers),
        r_200c=r_200c,
        v_200=v_200,
        edge=end * r_200c,
        inside=fraction_inside(tracers, observation.aperture / (end * r_200c), observation.v_cut / v_200),
        per_virial=float(nfw_mass(c * end) / nfw_mass(c * halo.edge[i])),
        log_weight=float(log_weight),
    )


def _scatter(
    galaxies: JeansGalaxies,
) -> tuple[Float[np.ndarray, "node"], tuple[Float[np.ndarray, "node"], Float[np.ndarray, "node"]]]:
    """Log weights, and offsets in concentration [dex] and beta, by Gauss-Hermite times Gauss-Legendre quadrature."""
    dex, dex_weight = np.polynomial.hermite_e.hermegauss(_CONCENTRATIONS if galaxies.mass_concentration_scatter else 1)
    beta, beta_weight = np.polynomial.legendre.leggauss(_BETAS if galaxies.anisotropy_spread else 1)
    in_c, in_beta = np.meshgrid(
        galaxies.mass_concentration_scatter * dex, galaxies.anisotropy_spread * beta, indexing="ij"
    )
    weight = np.outer(dex_weight / dex_weight.sum(), beta_weight / beta_weight.sum())
    return np.log(weight).ravel(), (in_c.ravel(), in_beta.ravel())


def log_uniform(observation: Observation) -> float:
    """Log density of interlopers spread evenly over the cylinder."""
    return -float(np.log(2 * np.pi * observation.aperture**2 * observation.v_cut))


def log_mamon2010(halo: TrialHalo, R_proj: Values, v_los: Values, *, observation: Observation) -> Values:
    r"""Log density of interlopers by the universal law, $A(X) e^{-u^2 / 2 s(X)^2} + B$, cut by the cylinder.

    X = R / r200c, u = |v| / V200: a Gaussian of the cluster's outskirts and a flat field. The law was measured for
    X < 1; beyond, its value at 1 is kept, because its polynomials diverge.

    References:
        Mamon, Biviano & Murante 2010, A&A 520, A30; coefficients as in the code MG-MAMPOSSt.
    """
    amplitude, width = _outskirts(R_proj / halo.r_200c)
    law = amplitude * np.exp(-0.5 * (v_los / halo.v_200 / width) ** 2) + _FIELD
    scale = 2 * halo.r_200c**2 * halo.v_200  # 2: the law is per |v|
    return np.log(law) - np.log(scale * mamon2010_number(halo, observation))


def mamon2010_number(halo: TrialHalo, observation: Observation) -> float:
    """Number of interlopers in the cylinder by the universal law, over the number of galaxies inside r200c [1]."""
    node, weight = np.polynomial.legendre.leggauss(_RADII)
    reach, u_cut = observation.aperture / halo.r_200c, observation.v_cut / halo.v_200
    inner = min(reach, 1.0)
    X = inner * 0.5 * (node + 1)
    inside = (weight * 0.5 * inner) @ (2 * np.pi * X * _column(X, u_cut))
    outside = np.pi * max(reach**2 - 1, 0.0) * _column(np.array(1.0), u_cut)
    return float(inside + outside)


def _column(X: Values, u_cut: float) -> Values:
    """Integral of the law over |v|, per area [r200c^-2]."""
    amplitude, width = _outskirts(X)
    return np.sqrt(np.pi / 2) * amplitude * width * erf(u_cut / (np.sqrt(2) * width)) + _FIELD * u_cut


def _outskirts(X: Values) -> tuple[Values, Values]:
    """Amplitude [r_v^-2 v_v^-1] and width [v_v] of the law's Gaussian."""
    square = np.minimum(X, 1.0) ** 2
    return 10 ** (-1.061 + 0.364 * square - 0.580 * square**2 + 0.533 * square**3), 0.612 - 0.0653 * square
