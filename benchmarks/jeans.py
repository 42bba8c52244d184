"""Exact likelihoods of 1000 clusters at 256 masses: our time, and that of the integral along each line of sight.

python benchmarks/jeans.py

The peer does the same 32-point integral for every galaxy and mass instead of interpolating; it runs at 16
masses, and its time is scaled. Times are of one core.
"""

from time import process_time

import numpy as np

from clustermocks import Catalogue, FlatMasses, SphericalJeans
from clustermocks.haloes.jeans import Tracers, log_density
from clustermocks.spherical_jeans.galaxies import hosts

CLUSTERS, MASSES = 1000, np.linspace(13.5, 15.3, 256)


def direct(model: SphericalJeans, mocks: Catalogue, masses: np.ndarray) -> np.ndarray:
    """Log density of every galaxy at every mass [h^2 Mpc^-2 (km/s)^-1], (mass, galaxy); -inf beyond R_vir."""
    redshift, cosmology = model.observation.redshift, model.cosmology
    halo = hosts({"log10_mass": masses}, model.galaxies, offsets=(0.0, 0.0), redshift=redshift, cosmology=cosmology)
    R_proj, v_los = (mocks.galaxy_column(name).astype(float) for name in ("R_proj", "v_los"))
    out = np.full((len(masses), len(R_proj)), -np.inf)
    for i, row in enumerate(out):
        R_vir = halo.edge[i] * halo.r_200c[i]
        tracers = Tracers(float(halo.c_200c[i]), model.galaxies.concentration, float(halo.edge[i]), 0.0)
        inside = R_proj < R_vir
        depth = np.arccosh(R_vir / R_proj[inside])
        density = log_density(tracers, depth, v_los[inside, None] / halo.v_200[i])[:, 0]
        row[inside] = density + np.log(2 * depth / R_vir**2 / halo.v_200[i])
    return out


def main() -> None:
    """Print times and their ratio, without and with a background."""
    for background in (0.0, 10.0):
        model = SphericalJeans(background=background)
        start = process_time()
        mocks = model.simulate(FlatMasses(13.7, 15.3).draw(CLUSTERS, seed=1), seed=1)
        simulated, start = process_time() - start, process_time()
        model.log_likelihood(mocks, MASSES)
        ours, start = process_time() - start, process_time()
        direct(model, mocks, MASSES[::16])
        peer = (process_time() - start) * 16
        print(f"SphericalJeans, background {background:g}: {len(mocks)} clusters x {MASSES.size} masses")
        print(f"  simulated in     {simulated:8.1f} s")
        print(f"  likelihoods      {ours:8.1f} s, tables included")
        print(f"  line of sight    {peer:8.1f} s    ratio {peer / ours:.0f}")


if __name__ == "__main__":
    main()
