"""The likelihood of SphericalJeans: galaxies as a marked point process, with scatter integrated out.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s], `log_` is natural.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

from clustermocks.catalogue.catalogue import Catalogue
from clustermocks.haloes.jeans import Tracers, fraction_inside, log_density_at
from clustermocks.spherical_jeans.galaxies import Hosts, JeansModel, hosts
from clustermocks.spherical_jeans.poisson import cluster_sums, log_at_least, log_process

_NEAREST = 1e-6  # smaller projected distances count as this one: the density in R vanishes at 0 [h^-1 Mpc]
_CONCENTRATIONS, _BETAS = 9, 5  # nodes over the scatter of each
_ROUNDING = 1 + 1e-6  # catalogues hold float32


class _StackedGalaxies(NamedTuple):
    """Galaxies of one cluster after another, R_proj [h^-1 Mpc] and v_los [km/s], and the number of each cluster."""

    R_proj: Float[np.ndarray, "galaxy"]
    v_los: Float[np.ndarray, "galaxy"]
    number: Int[np.ndarray, "cluster"]


def log_likelihood(
    model: JeansModel,
    observed: Catalogue | Float[np.ndarray, "cluster galaxy 3"],
    theta: Float[np.ndarray, "theta parameter"],
) -> Float[np.ndarray, "cluster theta"]:
    """Log density of the galaxies of each cluster for each theta; see `SphericalJeans.log_likelihood`."""
    galaxies = _flat(model, observed)
    log_weight, offsets = _scatter_nodes(model)
    log_like = np.empty((len(galaxies.number), len(theta)))
    for j, row in enumerate(theta):
        halo = _hosts(model, row, offsets)
        parts = [_log_process(model, galaxies, row[0], halo, i) for i in range(len(log_weight))]
        log_like[:, j] = parts[0] if len(parts) == 1 else logsumexp(np.array(parts) + log_weight[:, None], axis=0)
    log_ring = np.log(2 * np.pi * np.maximum(galaxies.R_proj, _NEAREST))
    return log_like + cluster_sums(log_ring, galaxies.number)[:, None]


def log_selected(model: JeansModel, theta: Float[np.ndarray, "theta parameter"]) -> Float[np.ndarray, "theta"]:
    """Log of P(N >= min_galaxies | theta); see `SphericalJeans.log_selected`."""
    log_weight, offsets = _scatter_nodes(model)
    expected = np.array([_expected(model, row, _hosts(model, row, offsets)) for row in theta])
    log_share = log_at_least(
        model.observation.min_galaxies, expected=expected, shape=model.shape, background=model.background
    )
    return np.asarray(logsumexp(log_share + log_weight, axis=1))


def _scatter_nodes(model: JeansModel) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Log weights and offsets in concentration [dex] and beta, over the scatter: one node where there is none."""
    galaxies = model.galaxies
    dex, dex_weight = np.polynomial.hermite_e.hermegauss(_CONCENTRATIONS if galaxies.mass_concentration_scatter else 1)
    beta, beta_weight = np.polynomial.legendre.leggauss(_BETAS if galaxies.anisotropy_spread else 1)
    weight = np.outer(dex_weight / dex_weight.sum(), beta_weight / 2).ravel()
    at = np.meshgrid(galaxies.mass_concentration_scatter * dex, galaxies.anisotropy_spread * beta, indexing="ij")
    return np.log(weight), (at[0].ravel(), at[1].ravel())


def _hosts(model: JeansModel, row: Float[np.ndarray, "parameter"], offsets: tuple) -> Hosts:
    """Haloes of one theta, one for each node of the scatter."""
    columns = {name: np.full(len(offsets[0]), value) for name, value in zip(model.parameters, row, strict=True)}
    redshift, cosmology = model.observation.redshift, model.cosmology
    return hosts(columns, model.galaxies, offsets=offsets, redshift=redshift, cosmology=cosmology)


def _expected(model: JeansModel, row: Float[np.ndarray, "parameter"], halo: Hosts) -> Float[np.ndarray, "node"]:
    """Mean number of members in the cylinder, one for each node of the scatter."""
    number = float(model.mean_number(row[0]))
    if model.richness == "independent":
        return np.full(len(halo.edge), number)
    return np.array([number * _inside(model, halo, i) for i in range(len(halo.edge))])


def _inside(model: JeansModel, halo: Hosts, i: int) -> float:
    """Fraction of one halo's galaxies that lies in the cylinder."""
    observation, R_vir = model.observation, halo.edge[i] * halo.r_200c[i]
    return fraction_inside(_tracers(model, halo, i), observation.aperture / R_vir, observation.v_cut / halo.v_200[i])


def _tracers(model: JeansModel, halo: Hosts, i: int) -> Tracers:
    return Tracers(float(halo.c_200c[i]), model.galaxies.concentration, float(halo.edge[i]), halo.anisotropy_of(i))


def _log_process(
    model: JeansModel, galaxies: _StackedGalaxies, log10_mass: float, halo: Hosts, i: int
) -> Float[np.ndarray, "cluster"]:
    """Log density of each cluster's galaxies, on the sky [h^2 Mpc^-2] and in velocity, for one halo."""
    number, inside = float(model.mean_number(log10_mass)), _inside(model, halo, i)
    everywhere, expected = (number, number * inside) if model.richness == "mass" else (number / inside, number)
    R_vir = halo.edge[i] * halo.r_200c[i]
    log_member = log_density_at(_tracers(model, halo, i), galaxies.R_proj / R_vir, galaxies.v_los / halo.v_200[i])
    observation = model.observation
    volume = 2 * np.pi * observation.aperture**2 * observation.v_cut
    return log_process(
        log_member + np.log(everywhere / R_vir**2 / halo.v_200[i]),
        galaxies.number,
        expected=expected,
        shape=model.shape,
        background=(model.background, model.background / volume),
    )


def _flat(model: JeansModel, observed: Catalogue | Float[np.ndarray, "cluster galaxy 3"]) -> _StackedGalaxies:
    """Galaxies of one cluster after another, checked against the cylinder."""
    if isinstance(observed, Catalogue):
        _check_settings(model, observed)
        columns = (observed.galaxy_column("R_proj"), observed.galaxy_column("v_los"))
        number = observed.n_galaxies
    else:
        padded = np.asarray(observed)
        if padded.ndim != 3 or padded.shape[2] != 3 or not np.isin(padded[..., 2], (0, 1)).all():
            raise ValueError(
                f"SphericalJeans: galaxies must be (cluster, galaxy, 3): R_proj, v_los and 1, or 0 for padding; found "
                f"shape {padded.shape}."
            )
        real = padded[..., 2] == 1
        columns, number = (padded[..., 0][real], padded[..., 1][real]), real.sum(axis=1)
    R_proj, v_los = (np.asarray(column, float) for column in columns)
    _check_cylinder(model, R_proj, v_los)
    return _StackedGalaxies(R_proj, v_los, number)


def _check_settings(model: JeansModel, catalogue: Catalogue) -> None:
    for name in ("redshift", "aperture", "v_cut"):
        ours, theirs = getattr(model.observation, name), getattr(catalogue.observation, name)
        if ours != theirs:
            raise ValueError(f"SphericalJeans: the catalogue was observed with {name}={theirs}, this model {ours}.")
    if catalogue.cosmology != model.cosmology:
        raise ValueError(f"SphericalJeans: the catalogue's is {catalogue.cosmology}, this model's {model.cosmology}.")


def _check_cylinder(model: JeansModel, R_proj: np.ndarray, v_los: np.ndarray) -> None:
    observation = model.observation
    inside = (R_proj >= 0) & (R_proj <= observation.aperture * _ROUNDING)
    inside &= np.abs(v_los) <= observation.v_cut * _ROUNDING
    bad = np.flatnonzero(~inside)
    if bad.size:
        raise ValueError(
            f"SphericalJeans: {bad.size} of {len(R_proj)} galaxies outside the cylinder, R_proj up to "
            f"{observation.aperture:g} h^-1 Mpc and |v_los| up to {observation.v_cut:g} km/s; the first has R_proj "
            f"{R_proj[bad[0]]:g}, v_los {v_los[bad[0]]:g}. Cut the catalogue, or give the model its observation."
        )
