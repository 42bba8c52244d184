"""Members of clusters: calibration of their probabilities, and how well they separate members, against four rivals.

    python benchmarks/membership.py [--model MODEL]
    python benchmarks/membership.py --box BOX.npz

MODEL is an estimator with a membership, by default the one that ships; the mocks are of the kinds behind that one, and
other than those. Rivals are the removals of interlopers that observers use, which keep a galaxy or not, and the
universal phase-space density of Mamon, Biviano & Murante 2010 (A&A 520, A30): members of an NFW halo over interlopers
of their law, at the mass of the M-sigma relation and, to tell the mass from the method, at the network's. All see the
same galaxies. The area under the ROC curve of a removal is that of a curve of straight lines through its one point.
With --box a network is trained on mocks of dark matter and applied to an N-body box (`nbody_box.py`), its masses under
the box's mass function.
"""

import argparse
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple, get_args

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from scipy.stats import rankdata

from clustermocks import Catalogue, FlatMasses, HaloModel, Observation
from clustermocks.kinematics.dispersion import velocity_dispersion
from clustermocks.kinematics.membership import CleaningMethod, members
from clustermocks.spherical_jeans.galaxies import JeansGalaxies
from sbi_clustermass import MassEstimator, MassPosteriors
from sbi_clustermass.baselines import evrard2008
from sbi_clustermass.baselines.jeans_densities import log_mamon2010, mamon2010_number, trial_halos
from sbi_clustermass.diagnostics import mean_of
from sbi_clustermass.estimator.hub import resolve_model
from sbi_clustermass.estimator.membership.network import DEFINITIONS
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.report import Table

PURITY, BINS = 0.9, 10
RICHNESS = (5, 15, 40, 100, 10_000)
TEST, PART = 60_000, 5000  # mocks before the richness cut: of all kinds, and of one
RIVALS = 2500  # clusters on which the methods are compared
LIGHTEST, HEAVIEST = 12.5, 16.0  # masses of the M-sigma relation that are used [dex]
_NETWORK = "network"


class Score(NamedTuple):
    """How well a score tells members: area under the ROC curve, completeness at 90 % purity, purity and completeness.

    The last two are of what has a score above one half; completeness at a purity is NaN where it is never reached.
    """

    area: float
    completeness_at_purity: float
    purity: float
    completeness: float


def score(values: Float[np.ndarray, "galaxy"], truth: Bool[np.ndarray, "galaxy"]) -> Score:
    """Score values that are higher for surer members."""
    n, inside, kept = len(truth), int(truth.sum()), values > 0.5
    area = (rankdata(values)[truth].sum() - inside * (inside + 1) / 2) / max(inside * (n - inside), 1)
    hits = max(int((kept & truth).sum()), 0)
    return Score(float(area), completeness_at(values, truth, PURITY), hits / max(kept.sum(), 1), hits / max(inside, 1))


def completeness_at(values: Float[np.ndarray, "galaxy"], truth: Bool[np.ndarray, "galaxy"], purity: float) -> float:
    """Largest share of the members among galaxies above a threshold that are at least so pure."""
    order = np.argsort(-values, kind="stable")
    found = np.cumsum(truth[order])
    last = np.append(np.diff(values[order]) != 0, True)  # galaxies of one value are taken together
    pure = last & (found >= purity * np.arange(1, len(found) + 1))
    return float(found[pure].max() / truth.sum()) if pure.any() and truth.any() else float("nan")


def reliability(
    values: Float[np.ndarray, "galaxy"], truth: Bool[np.ndarray, "galaxy"], groups: Int[np.ndarray, "galaxy"]
) -> Iterator[tuple[float, float, float, int]]:
    """For ten bins of probability: its mean, probability less truth with its error [%], and the number of galaxies."""
    which = np.clip((values * BINS).astype(int), 0, BINS - 1)
    for i in range(BINS):
        some = which == i
        off = mean_of(values[some] - truth[some], groups[some])
        yield (
            float(values[some].mean()) if some.any() else float("nan"),
            100 * off.value,
            100 * off.error,
            int(some.sum()),
        )


def m_sigma_masses(mocks: Catalogue) -> Float[np.ndarray, "cluster"]:
    """Masses of the relation of Evrard et al. 2008 for the dispersion after 3-sigma clipping [dex]."""
    sigma = velocity_dispersion([mocks.galaxies(i)[1].astype(float) for i in range(len(mocks))], method="clipped")
    redshift = mocks.observation_column("redshift")
    pairs = zip(redshift, np.maximum(np.nan_to_num(sigma), 1.0), strict=True)
    found = [float(evrard2008(z, mocks.cosmology).inverse(np.log10(each))) for z, each in pairs]
    return np.clip(found, LIGHTEST, HEAVIEST)


def universal(
    mocks: Catalogue, log10_mass: Float[np.ndarray, "cluster"], *, virial: bool
) -> Float[np.ndarray, "galaxy"]:
    """Probability of membership by the universal density: members over members and interlopers.

    Numbers are over those inside r200c. Interlopers of the law are all galaxies beyond r200c, so that for members
    inside R_vir those between the two are counted twice.
    """
    found = []
    columns = zip(*(mocks.observation_column(name) for name in ("redshift", "aperture", "v_cut")), strict=True)
    for i, (mass, (redshift, aperture, v_cut)) in enumerate(zip(log10_mass, columns, strict=True)):
        observation = Observation(redshift=float(redshift), aperture=float(aperture), v_cut=float(v_cut))
        settings = {"observation": observation, "cosmology": mocks.cosmology}
        halo, inner = (trial_halos(float(mass), JeansGalaxies(), virial=v, **settings)[0] for v in (virial, False))
        R_proj, v_los = (each.astype(float) for each in mocks.galaxies(i))
        member = halo.inside * halo.per_virial / inner.per_virial * np.exp(halo.log_members(R_proj, v_los))
        other = np.exp(log_mamon2010(inner, R_proj, v_los, observation=observation))
        found.append(member / (member + mamon2010_number(inner, observation) * other))
    return np.concatenate(found)


def methods(
    mocks: Catalogue, estimator: MassEstimator, definition: str, posteriors: MassPosteriors | None = None
) -> Mapping[str, Float[np.ndarray, "galaxy"]]:
    """Score of each galaxy by the network and by its rivals."""
    posteriors = posteriors or estimator.posterior(mocks)
    network = estimator.memberships(mocks, posteriors)[:, DEFINITIONS.index(definition)]
    removals = {name.replace("_", " "): members(mocks, name).astype(float) for name in get_args(CleaningMethod)}
    virial = definition != "within_r200c"
    masses = {"M-sigma": m_sigma_masses(mocks), "network's mass": posteriors.quantile(0.5)}
    with np.errstate(divide="ignore"):
        densities = {f"universal, {name}": universal(mocks, each, virial=virial) for name, each in masses.items()}
    return {_NETWORK: network, **removals, **densities}


def reliability_table(mocks: Catalogue, probabilities: Float[np.ndarray, "galaxy 3"], title: str) -> Table:
    """Probability less share of members in ten bins, for each definition."""
    groups = groups_of(mocks)[mocks.cluster_of_galaxy]
    columns = [
        [f"{off:+.1f} ± {error:.1f} ({n})" for _, off, error, n in reliability(p, mocks.galaxy_column(name), groups)]
        for name, p in zip(DEFINITIONS, probabilities.T, strict=True)
    ]
    rows = [(f"{i / BINS:.1f} to {(i + 1) / BINS:.1f}", *cells) for i, cells in enumerate(zip(*columns, strict=True))]
    header = ("probability", *DEFINITIONS)
    return Table(f"{title}: probability less truth [%], number of galaxies", header, tuple(rows))


def groups_of(mocks: Catalogue) -> Int[np.ndarray, "cluster"]:
    """Survey of each cluster, or else its host: those of one may be wrong together."""
    column = mocks.column("tracer_density") if "tracer_density" in mocks.columns else mocks.host_id
    return np.unique(column, return_inverse=True)[1]


def rivals_table(
    mocks: Catalogue, found: Mapping[str, Float[np.ndarray, "galaxy"]], definition: str, title: str
) -> Table:
    """Scores of all methods on the same galaxies, and the network's completeness at each one's purity."""
    truth, rows = mocks.galaxy_column(definition), []
    for name, values in found.items():
        each = score(values, truth)
        rival = completeness_at(found[_NETWORK], truth, each.purity)
        cells = (each.area, each.completeness_at_purity, each.purity, each.completeness, rival)
        rows.append((name, *(f"{cell:.3f}" if np.isfinite(cell) else "never" for cell in cells)))
    columns = ("method", "ROC area", "completeness at 90 % purity", "purity", "completeness", "network at that purity")
    return Table(f"{title}, {definition}: {len(mocks)} clusters, {truth.mean():.0%} members", columns, tuple(rows))


def _subsets(mocks: Catalogue) -> Iterator[tuple[str, Int[np.ndarray, "some"]]]:
    for low, high in pairwise(RICHNESS):
        yield f"{low} to {high - 1} galaxies", np.flatnonzero((mocks.n_galaxies >= low) & (mocks.n_galaxies < high))


def of_clusters(
    mocks: Catalogue, rows: Int[np.ndarray, "some"], found: Mapping[str, Float[np.ndarray, "galaxy"]]
) -> tuple[Catalogue, Mapping[str, Float[np.ndarray, "galaxy"]]]:
    """Some clusters, rising, and the scores of their galaxies."""
    kept = np.isin(mocks.cluster_of_galaxy, rows)
    return mocks.select(rows), {name: values[kept] for name, values in found.items()}


def on_mocks(estimator: MassEstimator, show: Console) -> None:
    """Print calibration and rivals on mocks of all surveys, by richness, of cleaned tables, and of mergers."""
    from mocks_to_ship import MODEL, PHYSICS, SURVEYS, drawn

    mocks = drawn(TEST, 7001, n_jobs=1)
    show.print(reliability_table(mocks, estimator.memberships(mocks), "all surveys").rich())
    some = mocks.select(np.arange(min(RIVALS, len(mocks))))
    for definition in DEFINITIONS[:2]:
        found = methods(some, estimator, definition)
        show.print(rivals_table(some, found, definition, "all surveys").rich())
        for name, rows in _subsets(some):
            show.print(rivals_table(*of_clusters(some, rows, found), definition, name).rich())
    masses = FlatMasses(12.8, 15.8).draw(PART, 7002)
    kinds = {
        "cleaned, as stated": (replace(SURVEYS, cleaned=1.0, stated=1.0), PHYSICS),
        "cleaned, not stated": (replace(SURVEYS, cleaned=0.5, stated=0.0), PHYSICS),
        "mergers": (SURVEYS, replace(PHYSICS, merger_fraction=(1.0, 1.0))),
        "no mergers": (SURVEYS, replace(PHYSICS, merger_fraction=(0.0, 0.0))),
    }
    for name, (surveys, physics) in kinds.items():
        some = MODEL.simulate(masses, seed=7002, surveys=surveys, physics=physics, n_jobs=1)
        if name == "cleaned, not stated":
            some = some.select(some.column("cleaning") != "none")
        show.print(reliability_table(some, estimator.memberships(some), name).rich())
        show.print(rivals_table(some, methods(some, estimator, "is_member"), "is_member", name).rich())


def on_box(path: str, n: int, show: Console) -> None:
    """Train on mocks of dark matter, and print calibration and rivals on an N-body box."""
    from nbody_box import DENSITY, LOWEST, BoxMasses, box_catalogue, trained

    model, highest = HaloModel.dark_matter(DENSITY).with_clustering(), 15.6
    mocks = model.simulate(FlatMasses(LOWEST, highest).draw(n, 1), seed=1)
    options = TrainingOptions(flow="tabulated", embedding="trial_masses", max_updates=4000, device="cpu")
    estimator = trained(mocks, highest, options).with_membership(mocks, seed=1)
    box = box_catalogue(path, 1, 3)
    prior = BoxMasses.fit(box.attempted()[0])
    box = box.select(box.log10_mass < highest)
    posteriors = estimator.posterior(box)
    posteriors = posteriors.with_prior(prior.log_density(posteriors.grid))
    show.print(reliability_table(box, estimator.memberships(box, posteriors), "N-body box").rich())
    rows = np.unique(np.linspace(0, len(box) - 1, min(RIVALS, len(box))).astype(int))
    some, known = box.select(rows), posteriors[rows]
    show.print(rivals_table(some, methods(some, estimator, "is_member", known), "is_member", "N-body box").rich())


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder or URL of an estimator with a membership; the shipped one by default")
    parser.add_argument("--box", help="N-body box, in place of the mocks")
    parser.add_argument("--n-train", type=int, default=60_000, help="mocks of dark matter to train on, with --box")
    options, show = parser.parse_args(), Console(width=160)
    if options.box:
        on_box(options.box, options.n_train, show)
        return
    on_mocks(MassEstimator.load(resolve_model(options.model), device="cpu"), show)


if __name__ == "__main__":
    main()
