"""Robustness of masses to data or clusters that differ from the mocks: changes of the same clusters' posteriors.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s]. Every number is a
difference between two results for the same clusters, with the error of that paired difference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from clustermocks import Catalogue, HaloModel, RadialCompleteness
from clustermocks.catalogue.ragged import with_column
from clustermocks.perturbations import (
    thinned,
    with_centre_offset,
    with_radial_incompleteness,
    with_redshift_offset,
    with_velocity_errors,
    within_aperture,
)
from sbi_clustermass.diagnostics.calibration import central_level
from sbi_clustermass.diagnostics.residuals import Measured, mean_of
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.report.content import Table

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator

LEVEL = 0.68


@final
@dataclass(frozen=True)
class Family:
    """One kind of change, in several sizes.

    Attributes:
        name: Name of the change.
        unit: Unit of the sizes.
        sizes: Sizes of the change.
        change: Function of catalogue, size and seed that returns the changed catalogue.
    """

    name: str
    unit: str
    sizes: tuple[float, ...]
    change: Callable[[Catalogue, float, int], Catalogue]


FAMILIES: tuple[Family, ...] = (
    Family("share of galaxies kept", "1", (0.9, 0.7, 0.5, 0.3, 0.1), thinned),
    Family("velocity errors", "km/s", (100.0, 200.0, 300.0, 500.0), with_velocity_errors),
    Family("centre offset", "h^-1 Mpc", (0.1, 0.2, 0.3, 0.5), with_centre_offset),
    Family("redshift offset", "km/s", (100.0, 200.0, 500.0), lambda c, dv, _: with_redshift_offset(c, dv)),
    Family("radius of the field", "h^-1 Mpc", (1.4, 1.2, 1.0, 0.8), lambda c, R_max, _: within_aperture(c, R_max)),
    Family(
        "completeness at the edge", "1", (0.8, 0.5, 0.2),
        lambda c, edge, seed: with_radial_incompleteness(c, RadialCompleteness(1.0, edge), seed),
    ),
)  # fmt: skip


@final
@dataclass(frozen=True)
class Change:
    """Effect of one change on posteriors, over the clusters that have one before and after.

    Attributes:
        family: Name of the change.
        label: Size of the change, with its unit.
        n: Number of clusters that are compared.
        kept: Share of the clusters that still have a posterior [1].
        shift: Mean change of the posterior mean [dex].
        width: Ratio of the mean posterior standard deviations, after over before [1].
        scatter: Scatter of the residuals after the change [dex].
        scatter_change: Change of the scatter of the same clusters [dex].
        covered: Share of true masses inside the central 68 % after the change [1].
        covered_change: Change of that share for the same clusters [1].
    """

    family: str
    label: str
    n: int
    kept: float
    shift: Measured
    width: Measured
    scatter: Measured
    scatter_change: Measured
    covered: Measured
    covered_change: Measured


def robustness(
    estimator: "MassEstimator", mocks: Catalogue, *, families: Sequence[Family] = FAMILIES, seed: int = 1
) -> tuple[Change, ...]:
    """Change the data of mock clusters and infer their masses again.

    Args:
        estimator: A trained estimator.
        mocks: Clusters of known mass; for meaningful coverage drawn like the training set.
        families: Kinds and sizes of changes.
        seed: Seed of the changes, the same for every size, so that sizes are paired, too.

    Raises:
        ValueError: A change leaves fewer than two clusters with a posterior.
    """
    rows = pa.array(np.arange(len(mocks)))  # as host ids they identify each line of sight after a change
    clusters = replace(mocks, clusters=with_column(mocks.clusters, "host_id", rows))
    before, found = _Inferred(clusters, estimator.posterior(clusters)), []
    for family in families:
        for size in family.sizes:
            label = f"{size:g}" if family.unit == "1" else f"{size:g} {family.unit}"
            changed = _checked(family.change(clusters, size, seed), family.name, label)
            found.append(_compare(family.name, label, before, _Inferred(changed, estimator.posterior(changed))))
    return tuple(found)


def variants(model: HaloModel) -> dict[tuple[str, str], HaloModel]:
    """Models in which one assumption is changed, by name and value of the change."""

    def galaxies(**fields: object) -> HaloModel:
        return replace(model, galaxies=replace(model.galaxies, **fields))  # type: ignore[arg-type]

    ours, density = model.galaxies, model.tracer_density
    return {
        ("concentration of the galaxies", "1.8"): galaxies(galaxy_concentration=1.8),
        ("concentration of the galaxies", "4"): galaxies(galaxy_concentration=4.0),
        ("anisotropy", "-0.3"): galaxies(anisotropy=-0.3),
        ("anisotropy", "0.3"): galaxies(anisotropy=0.3),
        ("anisotropy", "Mamon & Lokas 2005"): galaxies(anisotropy="mamon_lokas"),
        ("density of field galaxies", "x 0.7"): replace(model, tracer_density=0.7 * density),
        ("density of field galaxies", "x 1.4"): replace(model, tracer_density=min(1.4 * density, 1.0)),
        ("galaxies in haloes", "x 0.8"): galaxies(richness=0.8 * ours.richness),
        ("galaxies in haloes", "x 1.2"): galaxies(richness=1.2 * ours.richness),
        ("share of mergers", "0"): galaxies(mergers=replace(ours.mergers, fraction=0.0)),
        ("share of mergers", "0.3"): galaxies(mergers=replace(ours.mergers, fraction=0.3)),
    }


def simulator_robustness(
    estimator: "MassEstimator",
    log10_masses: Float[np.ndarray, "cluster"],
    *,
    model: HaloModel | None = None,
    changed: Mapping[tuple[str, str], HaloModel] | None = None,
    seed: int = 1,
    n_jobs: int | None = None,
) -> tuple[Change, ...]:
    """Simulate the same hosts with a model other than that of the training, and infer their masses.

    Masses and seeds are the same, and so are the halo shapes and, if the number of galaxies does not change, the
    galaxies' random numbers. Otherwise hosts are paired by mass only.

    Args:
        estimator: A trained estimator.
        log10_masses: Masses of the hosts [dex].
        model: Model of the training set; by default `HaloModel()` with the estimator's observation and cosmology.
        changed: Changed models by name and value of the change; `variants(model)` by default.
        seed: Seed of the simulations.
        n_jobs: Number of workers of `HaloModel.simulate`.
    """
    model = model or HaloModel(observation=estimator.observation, cosmology=estimator.cosmology)
    clusters = model.simulate(log10_masses, seed=seed, n_jobs=n_jobs)
    before, found = _Inferred(clusters, estimator.posterior(clusters)), []
    for (name, label), other in (variants(model) if changed is None else changed).items():
        after = _checked(other.simulate(log10_masses, seed=seed, n_jobs=n_jobs), name, label)
        found.append(_compare(name, label, before, _Inferred(after, estimator.posterior(after))))
    return tuple(found)


def robustness_table(changes: Sequence[Change], title: str = "How masses change with data and mocks") -> Table:
    """Format the changes as a table."""
    header = (
        "change", "size", "still answered", "shift [dex]", "width ratio",
        "scatter [dex]", "its change [dex]", "68 % coverage", "its change",
    )  # fmt: skip
    note = (
        "The same clusters before and after; errors are those of the paired differences. Shift: of the posterior "
        "mean. Width ratio: mean posterior standard deviation after over before. Scatter: standard deviation of "
        "log10(predicted/true). Coverage: of the central 68 %, promised for clusters drawn as the training set was."
    )
    return Table(title, header, tuple(_cells(each) for each in changes), note)


class _Inferred(NamedTuple):
    """Clusters and their posteriors."""

    clusters: Catalogue
    posteriors: MassPosteriors


def _compare(family: str, label: str, whole: _Inferred, changed: _Inferred) -> Change:
    """Compare the clusters that have a posterior before and after a change."""
    ids = whole.clusters.host_id, changed.clusters.host_id
    _, first, second = np.intersect1d(*ids, assume_unique=True, return_indices=True)
    truth = whole.clusters.log10_mass[first]
    before, after = whole.posteriors[first], changed.posteriors[second]
    residuals = before.mean - truth, after.mean - truth
    scatter = Measured(float(residuals[1].std(ddof=1)), mean_of(_influence(residuals[1])).error)
    influence = mean_of(_influence(residuals[1]) - _influence(residuals[0]))
    inside = tuple(central_level(each, truth) <= LEVEL for each in (before, after))
    return Change(
        family=family,
        label=label,
        n=len(first),
        kept=len(first) / len(whole.clusters),
        shift=mean_of(after.mean - before.mean),
        width=_ratio(after.std, before.std),
        scatter=scatter,
        scatter_change=Measured(scatter.value - float(residuals[0].std(ddof=1)), influence.error),
        covered=mean_of(inside[1].astype(float)),
        covered_change=mean_of(inside[1].astype(float) - inside[0]),
    )


def _ratio(after: Float[np.ndarray, "cluster"], before: Float[np.ndarray, "cluster"]) -> Measured:
    """Ratio of two means over the same clusters, its error by the delta method."""
    ratio = float(after.mean() / before.mean())
    return Measured(ratio, mean_of((after - ratio * before) / before.mean()).error)


def _influence(residual: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster"]:
    """Influence of each cluster on the standard deviation, ((r - mean)^2 - s^2) / (2 s)."""
    scatter = residual.std(ddof=1)
    return ((residual - residual.mean()) ** 2 - scatter**2) / (2 * scatter)


def _checked(changed: Catalogue, name: str, label: str) -> Catalogue:
    if len(changed) < 2:
        raise ValueError(f"robustness: {name} {label} leaves {len(changed)} clusters with enough galaxies.")
    return changed


def _cells(change: Change) -> tuple[str, ...]:
    return (
        change.family, change.label, f"{change.kept:.1%}", f"{change.shift:+.3f}", str(change.width),
        str(change.scatter), f"{change.scatter_change:+.3f}", str(change.covered), f"{change.covered_change:+.3f}",
    )  # fmt: skip
