"""The assumptions behind a mass, in plain words: those of the model, and those of each cluster's table.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from clustermocks.observation import observed_redshift
from sbi_clustermass.estimator.provenance import BUDGET
from sbi_clustermass.estimator.verdict import TOO_FAR
from sbi_clustermass.observations.cluster_summary import describe_centre, describe_redshift, labelled_line
from sbi_clustermass.observations.results import TAIL, ClusterResult, MassResult

if TYPE_CHECKING:
    from sbi_clustermass.estimator.mass_estimator import MassEstimator
    from sbi_clustermass.estimator.provenance import Provenance
    from sbi_clustermass.observations.model_stamp import ModelStamp
    from sbi_clustermass.observations.tables import ObservedCluster

_RATE = 0.01  # rate of false alarms, the default of `Alarm.warnings`


def explain_model(estimator: "MassEstimator", stamp: "ModelStamp") -> list[str]:
    """List the assumptions of every mass by one estimator."""
    seen, cosmology = estimator.observation, estimator.cosmology
    paragraphs = {
        "model": f"{stamp.model or 'not saved'}, checksum {stamp.checksum or 'none'}, sbi_clustermass {stamp.version}",
        "mass": "M200c: inside the sphere whose mean density is 200 times the critical one at the cluster's redshift",
        "cylinder": f"galaxies with R_proj < {seen.aperture:g} comoving h^-1 Mpc of the centre and |v_los| < "
        f"{seen.v_cut:g} km/s in the cluster's frame; fewer than {seen.min_galaxies} give no mass",
        "who counts": f"every galaxy in the cylinder, member or not: nobody is removed, since the mocks hold "
        f"interlopers as well. {_cleaned(estimator.provenance)}",
        "cosmology": f"flat LCDM with Om = {cosmology.Om0:.4g}, sigma8 = {cosmology.sigma8:.4g}, for distances and for "
        f"the mocks; h = {stamp.h:g} for what stands without h^-1 in its unit",
        "mocks": _mocks(estimator),
        "spectroscopy": _spectroscopy(estimator.provenance),
        "number of galaxies": _richness(estimator),
        "training prior": _prior(estimator),
        "told": _told(estimator),
        "besides the mass": _besides(estimator),
        "error budget": estimator.provenance.notes.get(BUDGET, "not measured"),
        "verdict": _verdict(estimator),
    }
    return ["What every mass here assumes", *(labelled_line(*pair) for pair in paragraphs.items())]


def explain_cluster(result: ClusterResult, stamp: "ModelStamp") -> list[str]:
    """List the assumptions of one cluster's mass, in the units of the sky; empty where its table could not be read."""
    cluster = result.cluster
    if cluster is None:
        return []
    paragraphs = {
        "cylinder here": _cylinder_here(cluster, stamp),
        "centre": describe_centre(cluster),
        "redshift": describe_redshift(cluster),
        "galaxies": str(cluster.counts),
    }
    if isinstance(result, MassResult):
        paragraphs["prior"] = _with_mass_function(result)
    notes = [labelled_line("read", note) for note in cluster.notes]
    return [f"What the mass of {result.name} assumes", *(labelled_line(*pair) for pair in paragraphs.items()), *notes]


def _cylinder_here(cluster: "ObservedCluster", stamp: "ModelStamp") -> str:
    seen, z = cluster.catalogue.observation, cluster.redshift
    if isnan(z):
        return f"{seen.aperture:g} comoving h^-1 Mpc; without a redshift no other unit can be given"
    physical = seen.aperture / stamp.h / (1 + z)
    angle = 60 * np.rad2deg(seen.aperture / float(stamp.cosmology.comoving_distance(z)))
    nearest, farthest = (float(observed_redshift(z, sign * seen.v_cut)) for sign in (-1, 1))
    size = f"{physical:.2f} physical Mpc for h = {stamp.h:g}, {angle:.1f} arcmin"
    return f"{size}; redshifts {nearest:.4f} to {farthest:.4f}"


def _mocks(estimator: "MassEstimator") -> str:
    provenance, redshift = estimator.provenance, f"redshift {estimator.observation.redshift:g}"
    if surveys := provenance.mocks.surveys:
        redshift = f"redshifts {surveys['redshift'][0]:g} to {surveys['redshift'][1]:g}"
    simulator, n = provenance.mocks.simulator or "an unnamed simulator", provenance.training_clusters or "?"
    who = {
        "all": "all galaxies around a cluster are interlopers, in haloes that cluster about it and fall in",
        "satellites": "interlopers are satellites of other haloes only",
    }.get(provenance.mocks.settings.get("interlopers", ""), "interlopers as that simulator has them")
    if provenance.mocks.sample == "members":
        who = "true members only: no interlopers at all"
    return f"{n} clusters by {simulator} at {redshift}; {who}"


def _cleaned(provenance: "Provenance") -> str:
    share = provenance.mocks.surveys.get("cleaned", 0)
    if share:
        return f"A share of the mocks, {share:.0%}, was cleaned of them beforehand, as tables are"
    return "A table cleaned of them beforehand is unlike the mocks"


def _spectroscopy(provenance: "Provenance") -> str:
    """Completeness, errors and centring of the mocks, including what the training draws."""
    settings, facts = provenance.mocks.settings, provenance.as_text()
    if provenance.mocks.surveys:
        return f"drawn anew for every few mocks, between these limits: {facts['surveys']}"
    augmentation = provenance.training.augmentation if provenance.training else None
    share, error = (
        facts.get(f"{name}_range") or (str(getattr(augmentation, name)) if augmentation else facts.get(name, "?"))
        for name in ("completeness", "velocity_error")
    )
    about = "their biweight redshift, as data are" if settings.get("recentre") else "the true redshift"
    return (
        f"share of galaxies with a redshift {share}, velocity errors {error} km/s; centred within "
        f"{facts.get('centre_error', '?')} h^-1 Mpc and on {about}"
    )


def _told(estimator: "MassEstimator") -> str:
    if not estimator.takes_conditions:
        return "nothing about the table: another redshift, field or cleaning than the mocks' makes the mass wrong"
    return (
        "the redshift, and the velocity error and the removal of interlopers where the table states them; where field "
        "and velocity window end the network sees from the galaxies"
    )


def _richness(estimator: "MassEstimator") -> str:
    fewest, most = estimator.richness
    if estimator.counts_galaxies and estimator.provenance.mocks.surveys:
        return f"counts, for a depth and a completeness that are not known; the mocks had {fewest} to {most} galaxies"
    if estimator.counts_galaxies:
        return "counts: right only for redshifts as complete as the mocks' (train without --richness otherwise)"
    return f"does not count by itself; the mocks had {fewest} to {most} galaxies"


def _prior(estimator: "MassEstimator") -> str:
    low, high = estimator.support
    shape = "not flat" if estimator.prior.coefficients else "flat"
    return (
        f"{shape} in log10 mass from {low:g} to {high:g}. Nature makes fewer massive clusters: for one picked from a "
        "survey the mass function is the prior, and the mass is lower, as said below. A cluster outside gets a mass "
        "inside"
    )


def _besides(estimator: "MassEstimator") -> str:
    """What M500c, concentration and anisotropy rest on."""
    halo = "haloes are NFW; M500c follows from M200c and concentration of the same draw"
    further = estimator.given_mass
    if further is None:
        return f"{halo}, and concentrations scatter by .16 dex about Diemer & Joyce 2019 at the mass and redshift"
    ends = zip(further.parameters, further.low, further.high, strict=True)
    ranges = " and ".join(f"{name} ({low:g} to {high:g})" for name, low, high in ends)
    return (
        f"{halo}. The prior of {ranges} is that of the mocks at each mass: the galaxies of one cluster narrow it by "
        "little, so that a posterior as wide as the prior is no measurement"
    )


def _verdict(estimator: "MassEstimator") -> str:
    start = (
        "use, care or do not use. Care: an effect was found to matter; where its size is measured, from half of the "
        f"posterior's width on. Do not use: the mass may be off by more than {TOO_FAR:g} dex, or the table cannot be "
        "what it says"
    )
    if estimator.alarm is None:
        return f"{start}. This model was not taught which clusters look like no mock: unlike ones go unnoticed"
    return (
        f"{start}. Reasons that compare with the mocks are given for {_RATE:.0%} of the mocks themselves; none is no "
        "proof: what the mocks lack, and does not show in phase space, is not noticed"
    )


def _with_mass_function(mass: MassResult) -> str:
    """The mass with the mass function as prior, unless it depends on a tail of the posterior that no test reaches."""
    start, (low, middle, high) = "with the mass function (Tinker et al. 2008) as prior", mass.under_mass_function
    if isnan(middle):
        return (
            f"{start} the mass is lower, but by how much cannot be told: it hangs on the lowest {TAIL:.0%} of the "
            "posterior, which no number of mocks makes certain"
        )
    lowest = "16 % not known" if isnan(low) else f"16 %: {low:.2f}"
    return f"{start} the median is {middle:.2f} ({lowest}, 84 %: {high:.2f}), not {mass.percentiles[1]:.2f}"
