"""Mock clusters held against an N-body box: surroundings, infall, dispersions and their scatter.

    python benchmarks/nbody_box.py BOX.npz --seed 1
    python benchmarks/nbody_box.py BOX.npz --seed 1 --train [--on-box] [--richness]
    python benchmarks/nbody_box.py BOX.npz --seed 1 --model shipped

BOX.npz holds dark-matter particles and haloes of a periodic box: pos, hpos [comoving h^-1 Mpc], vel, hvel [peculiar
km/s], M200c [h^-1 Msun], meta = (side [h^-1 Mpc], scale factor, ...). The fair comparison is
`HaloModel.dark_matter().with_clustering()` with as many tracers per volume; --independent takes the default mocks.
Every quantity is measured by one function on both; errors are bootstraps over hosts. With --train, a network is trained
on such mocks, flat in mass, and applied to the box, its posteriors reweighted to the box's mass function: bias, scatter
and coverage, on the box and on mocks of its own kind. With --on-box it is trained on one half of the box's haloes, each
along 20 lines of sight, and applied to the other: what can be had. With --model an estimator is applied to the box as
to data: centres and redshifts not known exactly, particles thinned to some densities for depths of a survey.
"""

import argparse
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from clustermocks import Catalogue, FlatMasses, HaloModel, Observation, lines_of_sight, observe_box
from clustermocks.haloes.cosmology import MDPL2, concentration, radius_200c, virial_ratio, virial_velocity
from clustermocks.mocks.chunk import populate
from clustermocks.mocks.spectroscopy import IntrinsicGalaxies
from clustermocks.nbody.boxes import ArrayBox
from clustermocks.nbody.cylinders import HostViews, PeriodicTree, galaxies_around
from clustermocks.nbody.view import BoxView
from clustermocks.observation import line_of_sight_velocity
from sbi_clustermass import MassEstimator, train
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.estimator.training_run import flow_for, training_for

MASSES, HALF_WIDTH = (13.5, 14.0, 14.5), 0.15
DENSITY = 0.0245
REPEATS = 100
LOWEST = 13.0
DEPTHS, BINS, FEWEST = (1.0, 0.3, 0.1), (13.0, 13.5, 14.0, 14.5, 15.6), 50  # of the particles; of posterior means [dex]


class Views(NamedTuple):
    """Clusters along lines of sight, their galaxies in and about the cylinder, and the host of each view."""

    log10_mass: Float[np.ndarray, "view"]
    host: Int[np.ndarray, "view"]
    v_host: Float[np.ndarray, "view"]
    galaxies: IntrinsicGalaxies


def boxes(path: str, seed: int) -> tuple[ArrayBox, ArrayBox]:
    """Haloes and some of the particles of a box."""
    data = np.load(path)
    side, rng = float(data["meta"][0]), np.random.default_rng(seed)
    kept = rng.random(len(data["pos"])) < DENSITY * side**3 / len(data["pos"])

    def columns(position: np.ndarray, velocity: np.ndarray, host: np.ndarray) -> dict[str, np.ndarray]:
        flat = (*np.mod(position.astype(float), side).T, *velocity.astype(float).T)
        n = len(position)
        named = dict(zip(("x", "y", "z", "vx", "vy", "vz"), flat, strict=True))
        return {"id": np.arange(n), "host_id": host, "is_central": np.ones(n, bool), **named}

    n = len(data["hpos"])
    haloes = columns(data["hpos"], data["hvel"], np.arange(n)) | {"M200c": data["M200c"].astype(float)}
    particles = columns(data["pos"][kept], data["vel"][kept], np.full(int(kept.sum()), -1))
    return ArrayBox.from_arrays("haloes", side, haloes), ArrayBox.from_arrays("galaxies", side, particles)


def box_views(path: str, redshift: float, seed: int) -> Views:
    """Haloes above 10^13.3 of the box along three axes, those above 10^14.4 along twelve more lines."""
    data, (_, particles) = np.load(path), boxes(path, seed)
    side = particles.side
    heavy = np.flatnonzero(data["M200c"] > 10**13.3)
    mass = np.log10(data["M200c"][heavy])
    lines = [lines_of_sight(3) if m < 14.4 else np.concatenate([lines_of_sight(3), lines_of_sight(12)]) for m in mass]
    repeat = np.repeat(np.arange(len(heavy)), list(map(len, lines)))
    R_vir = radius_200c(10**mass, redshift, MDPL2) * virial_ratio(
        concentration(10**mass, redshift, MDPL2), redshift, MDPL2
    )
    views = HostViews(
        host_id=heavy[repeat],
        line=np.concatenate([np.arange(len(each)) for each in lines]),
        direction=np.concatenate(lines),
        log10_mass=mass[repeat],
        R_vir=R_vir[repeat],
        position=np.mod(data["hpos"][heavy].astype(float), side)[repeat],
        velocity=data["hvel"][heavy].astype(float)[repeat],
    )
    view = BoxView(centre_error=0.0)
    found, _ = galaxies_around(views, PeriodicTree.from_table(particles.table, side), view)
    return Views(views.log10_mass, views.host_id, np.einsum("ij,ij->i", views.velocity, views.direction), found)


def mock_views(model: HaloModel, n: int, seed: int) -> Views:
    """Mocks of one mass distribution, falling as the box's haloes do."""
    rng = np.random.default_rng(seed)
    mass = np.concatenate([rng.uniform(m - HALF_WIDTH, m + HALF_WIDTH, n) for m in MASSES])
    clusters, _, galaxies = populate(model, mass, rng)
    return Views(clusters.log10_mass, np.arange(len(mass)), np.zeros(len(mass)), galaxies)


class PerView(NamedTuple):
    """Numbers of each view, (view,): counts in the cylinder, moments of velocities, dispersions."""

    host: np.ndarray
    log10_mass: np.ndarray
    numbers: dict[str, np.ndarray]


def measure(views: Views, redshift: float) -> PerView:
    """Every number of each view."""
    index, position, v_galaxy, _ = views.galaxies
    n = len(views.log10_mass)
    mass = 10**views.log10_mass
    scale = radius_200c(mass, redshift, MDPL2)[index]
    v_200 = virial_velocity(mass, redshift, MDPL2)
    v_peculiar = v_galaxy - views.v_host[index]
    radius = np.linalg.norm(position, axis=1)
    r, cosine = radius / scale, position[:, 2] / np.maximum(radius, 1e-9)
    v_los = line_of_sight_velocity(position[:, 2], v_galaxy, views.v_host[index], redshift, MDPL2)
    inside = (np.hypot(position[:, 0], position[:, 1]) < 1.6) & (np.abs(v_los) < 2500)
    u, w = v_peculiar / v_200[index], v_los / v_200[index]

    def total(where: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(index[where], None if values is None else values[where], minlength=n).astype(float)

    def moments(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        number = total(where)
        mean = total(where, v_los) / np.maximum(number, 1)
        return number, np.sqrt(total(where, (v_los - mean[index]) ** 2) / np.maximum(number - 1, 1))

    member, shells = (r < 1) & inside, {"2to3": (2, 3), "9to14": (9, 14), "2to2.5": (2, 2.5)}
    numbers = {"all": total(inside), "far": total(inside & (r > 3)), "member": total(member)}
    numbers["1to3"] = total(inside & (r > 1) & (r < 3))
    for name, (low, high) in shells.items():
        where = (r > low) & (r < high)
        numbers |= {f"vr {name}": total(where, u * cosine), f"mu2 {name}": total(where, cosine**2)}
        numbers |= {f"v2 {name}": total(where, u**2), f"n {name}": total(where)}
    for name, where in (("edge", (r > 0.8) & (r < 1)), ("core", r < 0.2)):
        numbers |= {f"v2 {name}": total(where, w**2), f"n {name}": total(where)}
    numbers |= {"v2 member": total(member, w**2), "v4 member": total(member, w**4)}
    for name, where in (("pure", member), ("contaminated", inside)):
        number, sigma = moments(where)
        numbers[f"n {name}"] = number
        numbers[f"log sigma {name}"] = np.log10(np.where(number > 9, sigma, np.nan))
    return PerView(views.host, views.log10_mass, numbers)


def _excess(number: np.ndarray) -> float:
    """Scatter of a number beyond Poisson over its mean [1]."""
    return float(np.sqrt(max(number.var() - number.mean(), 0.0)) / number.mean())


def _scatter(mass: np.ndarray, log_sigma: np.ndarray, number: np.ndarray | None = None) -> float:
    """Scatter of log10 sigma about a line in mass [dex], without the noise of a finite number."""
    usable = np.isfinite(log_sigma)
    if usable.sum() < 3:
        return float("nan")
    residual = log_sigma[usable] - np.polyval(np.polyfit(mass[usable], log_sigma[usable], 1), mass[usable])
    noise = 0.0 if number is None else np.mean(1 / (2 * (number[usable] - 1))) / np.log(10) ** 2
    return float(np.sqrt(max(residual.var() - noise, 0.0)))


def quantities(seen: PerView, rows: np.ndarray) -> dict[str, float]:
    """Quantities of the table, from some views of one mass."""
    number = {name: values[rows] for name, values in seen.numbers.items()}
    ratio = {name: number[f"vr {name}"].sum() / number[f"mu2 {name}"].sum() for name in ("2to3", "9to14")}
    rms = {name: np.sqrt(number[f"v2 {name}"].sum() / number[f"n {name}"].sum()) for name in ("edge", "core")}
    shell = {name: number[f"{name} 2to2.5"].sum() for name in ("vr", "mu2", "v2", "n")}
    rms["2to2.5"] = np.sqrt((shell["v2"] - shell["vr"] ** 2 / shell["mu2"]) / shell["n"])
    mass, pure, all_ = seen.log10_mass[rows], number["log sigma pure"], number["log sigma contaminated"]
    n = number["member"].sum()
    return {
        "far interlopers, beyond Poisson": _excess(number["far"]),
        "all galaxies, beyond Poisson": _excess(number["all"]),
        "share of members": n / number["all"].sum(),
        "number at 1 to 3 r200c": number["1to3"].mean(),
        "radial velocity at 2 to 3 r200c [V200]": ratio["2to3"],
        "radial velocity at 9 to 14 r200c [V200]": ratio["9to14"],
        "rms velocity at 2 to 2.5 r200c [V200]": rms["2to2.5"],
        "members' dispersion, r > .8 [V200]": rms["edge"],
        "members' dispersion, r < .2 [V200]": rms["core"],
        "scatter of log sigma, pure, intrinsic": _scatter(mass, pure, number["n pure"]),
        "scatter of log sigma, contaminated": _scatter(mass, all_),
        "members' dispersion [V200]": np.sqrt(number["v2 member"].sum() / n),
        "kurtosis of members": number["v4 member"].sum() * n / number["v2 member"].sum() ** 2 - 3,
    }


def with_errors(seen: PerView, centre: float, rng: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Quantities at one mass and their standard errors, by a bootstrap over hosts."""
    rows = np.flatnonzero(np.abs(seen.log10_mass - centre) < HALF_WIDTH)
    hosts, which = np.unique(seen.host[rows], return_inverse=True)
    of_host = np.split(rows[np.argsort(which, kind="stable")], np.cumsum(np.bincount(which))[:-1])
    found = quantities(seen, rows)
    drawn = [
        quantities(seen, np.concatenate([of_host[i] for i in rng.integers(0, len(hosts), len(hosts))]))
        for _ in range(REPEATS)
    ]
    return {name: (value, float(np.std([each[name] for each in drawn]))) for name, value in found.items()}


class BoxMasses(NamedTuple):
    """Mass function of the box: a parabola in log10 mass fitted to its logarithm."""

    coefficients: np.ndarray

    @classmethod
    def fit(cls, log10_mass: np.ndarray) -> "BoxMasses":
        """Fit the masses of all hosts above `LOWEST`."""
        count, edges = np.histogram(log10_mass, np.arange(LOWEST, log10_mass.max() + 0.1, 0.1))
        middle, some = (edges[1:] + edges[:-1]) / 2, count > 0
        return cls(np.polyfit(middle[some], np.log(count[some]), 2, w=np.sqrt(count[some])))

    def log_density(self, log10_mass: np.ndarray) -> np.ndarray:
        """Natural log of the density, up to a constant."""
        return np.polyval(self.coefficients, log10_mass)


def box_catalogue(path: str, seed: int, lines: int) -> Catalogue:
    """Every halo above `LOWEST` along some lines of sight."""
    haloes, tracers = boxes(path, seed)
    view = BoxView(recentre=False, centre_error=0.0, min_log10_mass=LOWEST)
    return observe_box(haloes, tracers, lines_of_sight(lines), view=view, seed=seed)


def trained(clusters: Catalogue, highest: float, options: TrainingOptions) -> MassEstimator:
    """A network trained on clusters of up to some mass [dex]."""
    flow, training = flow_for(options), training_for(options)
    return train(clusters, flow=flow, training=training, support=(LOWEST, highest), device=options.device)


def train_and_apply(path: str, model: HaloModel, n: int, options: TrainingOptions) -> None:
    """Train on mocks, and print how well the masses of the box and of more mocks are inferred."""
    seed, highest = options.seed, 15.6
    estimator = trained(model.simulate(FlatMasses(LOWEST, highest).draw(n, seed), seed=seed), highest, options)
    box = box_catalogue(path, seed, 3)
    prior = BoxMasses.fit(box.attempted()[0])
    grid = np.linspace(LOWEST, highest, 521)
    weight = np.exp(prior.log_density(grid))
    drawn = np.interp(np.random.default_rng(seed + 1).uniform(size=4000), np.cumsum(weight) / weight.sum(), grid)
    show_bins("box", estimator, box, prior)
    show_bins("mocks", estimator, model.simulate(drawn, seed=seed + 1), prior)


def train_on_box(path: str, options: TrainingOptions) -> None:
    """Train on one half of the box's haloes, and print how well the masses of the other are inferred."""
    box = box_catalogue(path, options.seed, 20)
    prior = BoxMasses.fit(box.attempted()[0])
    one, other = box.split(0.5, seed=options.seed)
    show("half", trained(one, float(one.log10_mass.max()), options), other, prior)


def apply(path: str, estimator: MassEstimator, seed: int) -> None:
    """Print how well an estimator for data infers the masses of the box, at some depths and by posterior mean."""
    haloes, tracers = boxes(path, seed)
    view = BoxView(observation=Observation(min_galaxies=5), dominant=True, min_log10_mass=LOWEST)
    for share in DEPTHS:
        seen = replace(view, completeness=share)
        box = observe_box(haloes, tracers, lines_of_sight(3), view=seen, seed=seed)
        show_bins(f"{DENSITY * share:.4f}", estimator, box, BoxMasses.fit(box.attempted()[0]))


def show_bins(name: str, estimator: MassEstimator, clusters: Catalogue, prior: BoxMasses) -> None:
    """Print the numbers of all clusters, and of those in bins of the posterior mean."""
    show(name, estimator, clusters, prior)
    mean = estimator.posterior(clusters)
    mean = mean.with_prior(prior.log_density(mean.grid)).mean
    for low, high in pairwise(BINS):
        some = (mean >= low) & (mean < high)
        if some.sum() >= FEWEST:
            show(f"  {low:g} to {high:g}", estimator, clusters.select(some), prior)


def show(name: str, estimator: MassEstimator, clusters: Catalogue, prior: BoxMasses) -> None:
    """Print bias, log score, coverage and scatter of posteriors under a prior."""
    clusters = clusters.select(clusters.log10_mass < estimator.support[1])
    posteriors = estimator.posterior(clusters)
    posteriors = posteriors.with_prior(prior.log_density(posteriors.grid))
    true, hosts = clusters.log10_mass, clusters.host_id
    rank = np.abs(2 * posteriors.pit(true) - 1)
    numbers = {"bias": posteriors.mean - true, "log q": posteriors.log_prob_at(true)}
    numbers |= {f"in {level} %": 100.0 * (rank < level / 100) for level in (50, 68, 90, 95)}
    cells = [f"{label} {mean_of(values, hosts):7.3f}" for label, values in numbers.items()]
    print(f"{name:12} {len(true):5} clusters: {', '.join(cells)}, scatter {numbers['bias'].std():.3f}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("box")
    parser.add_argument("--n", type=int, default=3000, help="mocks of each mass")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--train", action="store_true", help="train on mocks and apply to the box")
    parser.add_argument("--on-box", action="store_true", help="train on half of the box instead")
    parser.add_argument("--n-train", type=int, default=50_000, help="mocks to train on")
    parser.add_argument("--richness", action="store_true", help="the network sees the number of galaxies")
    parser.add_argument("--independent", action="store_true", help="neighbours that are independent of each other")
    parser.add_argument("--model", help='folder of an estimator to apply, or "shipped"')
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    model = HaloModel.dark_matter(DENSITY)
    model = model if options.independent else model.with_clustering()
    if options.model:
        folder = resolve_model(None if options.model == "shipped" else options.model)
        apply(options.box, MassEstimator.load(folder, device=options.device), options.seed)
        return
    if options.train:
        training = TrainingOptions(
            flow="tabulated",
            embedding="trial_masses",
            richness=options.richness,
            seed=options.seed,
            device=options.device,
        )
        if options.on_box:
            train_on_box(options.box, training)
        else:
            train_and_apply(options.box, model, options.n_train, training)
        return
    redshift, rng = model.observation.redshift, np.random.default_rng(options.seed)
    box = measure(box_views(options.box, redshift, options.seed), redshift)
    mocks = measure(mock_views(model, options.n, options.seed), redshift)
    columns = {m: (with_errors(box, m, rng), with_errors(mocks, m, rng)) for m in MASSES}
    print(f"{'':42}" + "".join(f"{f'10^{mass:g}: box':>16}{'mocks':>14}" for mass in MASSES))
    for name in columns[MASSES[0]][0]:
        pairs = [
            f"{value:9.3f}±{error:.3f}" for both in columns.values() for value, error in (each[name] for each in both)
        ]
        print(f"{name:42}{' '.join(pairs)}")


if __name__ == "__main__":
    main()
