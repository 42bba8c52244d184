"""From the files of an N-body simulation to clusters to train on. Run it: `python examples/nbody.py`.

It makes a toy box of NFW haloes first, and writes it as Rockstar and UniverseMachine would; with files of your own, go
on from `convert`.
"""

from pathlib import Path

import numpy as np

from clustermocks import MDPL2, BoxView, Catalogue, HaloMassFunction, lines_of_sight, observe_box
from clustermocks.haloes.cosmology import concentration, nfw_mass, radius_200c, virial_ratio, virial_velocity
from clustermocks.nbody import RockstarHlist, UniverseMachineBinary, convert
from clustermocks.nbody.universemachine import LAYOUT

REDSHIFT = 0.117
AXES = ("x", "y", "z", "vx", "vy", "vz")


def toy_box(side: float, n_hosts: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Columns of haloes and of the galaxies in them: a central at rest, NFW satellites in Gaussian motion.

    Values are representable in single precision, as files have them; ids exceed 2^53, as those of orphans do.
    """
    rng = np.random.default_rng(seed)
    mass = 10 ** HaloMassFunction(low=13.0, high=15.3, redshift=REDSHIFT).draw(n_hosts, seed)
    ratio = virial_ratio(concentration(mass, REDSHIFT, MDPL2), REDSHIFT, MDPL2)
    R_vir = ratio * radius_200c(mass, REDSHIFT, MDPL2)
    position, velocity = rng.uniform(0, side, (n_hosts, 3)), rng.normal(0, 300, (n_hosts, 3))
    ids, central = 2**53 + 1 + 2 * np.arange(n_hosts), np.full(n_hosts, -1)
    host, separation, motion = _satellites(rng, mass, R_vir)
    everywhere = np.concatenate([position, position[host] + separation])
    haloes = {**_place(position, velocity, side), "id": ids, "upid": central, "M200c": mass, "R_vir": R_vir}
    galaxies = {
        **_place(everywhere, np.concatenate([velocity, velocity[host] + motion]), side),
        "id": np.concatenate([ids, 2**54 + 1 + 2 * np.arange(len(host))]),
        "upid": np.concatenate([central, ids[host]]),
    }
    return haloes, galaxies


def _satellites(
    rng: np.random.Generator, mass: np.ndarray, R_vir: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Host, separation [comoving h^-1 Mpc] and velocity relative to it [km/s] of each satellite."""
    host = np.repeat(np.arange(len(mass)), rng.poisson(30 * (mass / 1e14) ** 0.9))
    x = np.linspace(0.01, 3.4, 400)  # in scale radii, of the galaxies' concentration of 2.6
    radius = np.interp(rng.uniform(0, nfw_mass(x[-1]), len(host)), nfw_mass(x), x) / x[-1] * R_vir[host]
    direction = rng.normal(size=(len(host), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    sigma = 0.7 * virial_velocity(mass, REDSHIFT, MDPL2)
    return host, radius[:, None] * direction, sigma[host, None] * rng.normal(size=(len(host), 3))


def _place(position: np.ndarray, velocity: np.ndarray, side: float) -> dict[str, np.ndarray]:
    values = np.concatenate([np.mod(position, side), velocity], axis=1).astype(np.float32)
    return dict(zip(AXES, values.astype(float).T, strict=True))


def write_hlist(path: Path, haloes: dict[str, np.ndarray]) -> None:
    """Write haloes as consistent-trees does: a header that names the columns, radii in kpc/h."""
    columns = {**haloes, "R_vir": 1000 * haloes["R_vir"]}
    names = ["rvir" if name == "R_vir" else name for name in columns]
    lines = ["#" + " ".join(f"{name}({i})" for i, name in enumerate(names))]
    lines += [" ".join(repr(v.item()) for v in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_universemachine(path: Path, galaxies: dict[str, np.ndarray]) -> None:
    """Write galaxies as UniverseMachine does: rows of 128 bytes."""
    rows = np.zeros(len(galaxies["id"]), LAYOUT)
    for name in ("id", "upid"):
        rows[name] = galaxies[name]
    rows["pos"] = np.stack([galaxies[name] for name in AXES], axis=1)
    rows["obs_sm"] = 1e10
    rows.tofile(path)


def main(folder: Path = Path("runs/nbody"), side: float = 250.0, n_hosts: int = 300) -> Catalogue:
    """Write a toy box, read it, observe it along five lines of sight and store the clusters."""
    folder.mkdir(parents=True)
    haloes, galaxies = toy_box(side, n_hosts, seed=1)
    write_hlist(folder / "hlist_0.89510.list", haloes)
    write_universemachine(folder / "sfr_catalog_0.895100.bin", galaxies)

    hosts = convert(RockstarHlist(), folder / "hlist_0.89510.list", folder / "haloes", kind="haloes", side=side)
    tracers = convert(
        UniverseMachineBinary(),
        folder / "sfr_catalog_0.895100.bin",
        folder / "galaxies",
        kind="galaxies",
        side=side,
        minimum={"stellar_mass": 10**9.5},
    )
    mocks = observe_box(hosts, tracers, lines_of_sight(5), view=BoxView(min_log10_mass=13.0))
    mocks.to_parquet(folder / "mocks.parquet")
    print(
        f"{len(mocks)} clusters of {len(np.unique(mocks.host_id))} haloes, {mocks.n_galaxies.mean():.0f} galaxies each"
    )
    print(
        f"stored in {folder / 'mocks.parquet'}; train on them: clustermass train {folder / 'mocks.parquet'} --out MODEL"
    )
    return mocks


if __name__ == "__main__":
    main()
