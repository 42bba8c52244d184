"""Distributions over how clusters are observed, and over what is not known of their galaxies.

No two tables of real clusters were observed in the same way, and little of it is written in them. Mocks for an
estimator of any table draw it from a `SurveyPrior`; what is uncertain about galaxies is drawn from a `PhysicsPrior`.
Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, final

import numpy as np

from clustermocks.haloes.jeans import HIGHEST_BETA, LOWEST_BETA
from clustermocks.io.registry import lookup
from clustermocks.kinematics.membership import REMOVALS, Removal
from clustermocks.mocks.cluster_model import ClusterModel
from clustermocks.mocks.cosmology_prior import CosmologyPrior
from clustermocks.mocks.prior import LAW, Law, Prior, Range
from clustermocks.mocks.survey import Footprint, RadialCompleteness
from clustermocks.observation import Observation, widest_window

Draw = Mapping[str, float | str | bool]
Model = TypeVar("Model", bound=ClusterModel)
_ARCSEC = np.pi / 180 / 3600


@final
@dataclass(frozen=True)
class SurveyPrior(Prior):
    """How observed clusters are observed: ranges that cover published tables of 5 to 1000 galaxies a cluster.

    A table shows its redshift, field and window, and may state its velocity errors and cleaning; the rest is hidden.

    Attributes:
        redshift: Redshift of the clusters [1]; log-uniform. Mass functions, radii, velocities and angles follow.
        aperture: Radius of the field [h^-1 Mpc]; log-uniform: from the cores that one mask of slits covers to surveys.
        v_cut: Half-width of the velocity window [km/s], at most .8 c z (`widest_window`).
        velocity_error: Error of a velocity [km/s]; uniform in its root. 15 to 85 in SDSS and 2dFGRS, 150 to 300 with
            grisms and low-resolution masks.
        rounding: Step to which c z is rounded [km/s]; uniform in its root: up to .001 in redshift.
        cleanings: Removals of interlopers before publication, equally likely among the cleaned.
        cleaned: Share of surveys with interlopers removed [1].
        stated: Share of surveys that state their velocity errors, and whether interlopers were removed [1].
        tracer_density: Number of galaxies per volume [h^3 Mpc^-3]; log-uniform: from luminous galaxies only to those
            half as massive as in the default mocks. The richness of haloes goes with it.
        contrast: How much more likely a member has a redshift than another galaxy [1]; log-uniform: colour cuts and
            targets on the red sequence, or field surveys of blue galaxies.
        completeness: Probability of a redshift where it is highest [1]; uniform.
        radial_slope: Relative difference between the completeness at the centre and at the edge [1]: below 0 it falls
            outwards, above 0 it rises, as where fibres collide or surveys are wide.
        radial_power: Exponent of that change with distance [1]; log-uniform.
        cored: Share of surveys in which a core was observed more deeply [1], as by an integral-field unit.
        core: Radius of this core [h^-1 Mpc]; log-uniform.
        outside_core: Share of the completeness that is left outside the core [1].
        fibre_distance: Least distance between two galaxies with redshifts [h^-1 Mpc]; uniform in its root: .09 are the
            55 arcsec of SDSS at redshift .117.
        wrong_redshifts: Share of galaxies with a wrong redshift inside the window [1]; uniform in its root.
        centre_error: Error of the centre on each sky axis [h^-1 Mpc]; uniform in its root.
        redshift_offset: Error of the redshift of the cluster from which centring starts [km/s].
        sector: Width of a sector without observations [deg]; uniform in its root.
        flattening: 1 - width / length of the field [1]; uniform in its root.
    """

    # Tinker et al. 2008 fitted their mass function at z < 2
    redshift: Range = field(default=(0.01, 1.3), metadata={LAW: Law(0.01, 2.0, uniform_in="log")})
    aperture: Range = field(default=(0.3, 3.0), metadata={LAW: Law(0.1, 5.0, "h^-1 Mpc", "log")})
    v_cut: Range = field(default=(2000.0, 5000.0), metadata={LAW: Law(500.0, 8000.0, "km/s")})
    velocity_error: Range = field(default=(0.0, 300.0), metadata={LAW: Law(0.0, 1000.0, "km/s", "root")})
    rounding: Range = field(default=(0.0, 300.0), metadata={LAW: Law(0.0, 1000.0, "km/s", "root")})
    cleanings: tuple[Removal, ...] = ("clipping", "clipping_2.5", "shifting_gapper", "caustics")
    cleaned: float = 0.35
    stated: float = 0.5
    # for more than .1, haloes below 10^10.5 would be needed
    tracer_density: Range = field(default=(0.0007, 0.1), metadata={LAW: Law(1e-4, 0.1, "h^3 Mpc^-3", "log")})
    contrast: Range = field(default=(0.5, 3.0), metadata={LAW: Law(0.1, 10.0, uniform_in="log")})
    completeness: Range = field(default=(0.1, 1.0), metadata={LAW: Law(0.01, 1.0)})
    radial_slope: Range = field(default=(-1.0, 1.0), metadata={LAW: Law(-1.0, 1.0)})
    radial_power: Range = field(default=(0.25, 2.0), metadata={LAW: Law(0.1, 10.0, uniform_in="log")})
    cored: float = 0.2
    core: Range = field(default=(0.1, 0.6), metadata={LAW: Law(0.01, 5.0, "h^-1 Mpc", "log")})
    outside_core: Range = field(default=(0.0, 0.5), metadata={LAW: Law(0.0, 1.0)})
    fibre_distance: Range = field(default=(0.0, 0.1), metadata={LAW: Law(0.0, 0.5, "h^-1 Mpc", "root")})
    wrong_redshifts: Range = field(default=(0.0, 0.02), metadata={LAW: Law(0.0, 0.5, uniform_in="root")})
    centre_error: Range = field(default=(0.0, 0.3), metadata={LAW: Law(0.0, 1.0, "h^-1 Mpc", "root")})
    redshift_offset: Range = field(default=(0.0, 300.0), metadata={LAW: Law(0.0, 2000.0, "km/s")})
    sector: Range = field(default=(0.0, 180.0), metadata={LAW: Law(0.0, 350.0, "deg", "root")})
    flattening: Range = field(default=(0.0, 0.5), metadata={LAW: Law(0.0, 0.95, uniform_in="root")})

    def __post_init__(self) -> None:
        super().__post_init__()
        for cleaning in self.cleanings:
            lookup("cleaning", cleaning, REMOVALS)

    def draw(self, model: Model, rng: np.random.Generator) -> tuple[Model, Draw]:
        """Draw one survey: the model observed so, and the values drawn by name."""
        drawn = self.numbers(rng)
        cleaned, redshift = rng.uniform() < self.cleaned, drawn["redshift"]
        cleaning: Removal = rng.choice(self.cleanings) if cleaned and self.cleanings else "none"
        drawn["v_cut"] = widest_window(drawn["v_cut"], redshift)
        if rng.uniform() >= self.cored:
            drawn["outside_core"] = 1.0
        highest, slope = drawn["completeness"], drawn["radial_slope"]
        depth = drawn["tracer_density"] / model.tracer_density
        limits = {name: drawn[name] for name in ("redshift", "aperture", "v_cut")}
        same = {name: drawn[name] for name in _SAME}
        observed = replace(
            model,
            observation=replace(model.observation, **limits),
            completeness=RadialCompleteness(
                highest * min(1.0, 1 - slope),
                highest * min(1.0, 1 + slope),
                drawn["radial_power"],
                drawn["core"],
                drawn["outside_core"],
            ),
            footprint=Footprint(drawn["sector"], drawn["flattening"]),
            fibre_collision=drawn["fibre_distance"] / float(model.cosmology.comoving_distance(redshift)) / _ARCSEC,
            cleaning=cleaning,
            galaxies=replace(model.galaxies, richness=depth * model.galaxies.richness),
            **same,
        )
        return observed, drawn | {"cleaning": cleaning, "stated": bool(rng.uniform() < self.stated)}

    def summary(self, observation: Observation) -> Observation:
        """Observation of a catalogue drawn from this prior: median redshift, widest field and window."""
        redshift = self.laws["redshift"].quantile(self.redshift, 0.5)
        return replace(observation, redshift=redshift, aperture=self.aperture[1], v_cut=self.v_cut[1])


_SAME = (  # fields of this prior that a `ClusterModel` has too
    *("tracer_density", "contrast", "centre_error", "redshift_offset"),
    *("velocity_error", "wrong_redshifts", "rounding"),
)


@final
@dataclass(frozen=True)
class PhysicsPrior(Prior):
    """Range of what is not known of galaxies in and around clusters. All of it is hidden from an observer.

    Attributes:
        velocity_bias: Factor on the dispersion of galaxies [1]: 2 to 7 % between samples of simulated galaxies (Munari
            et al. 2013, MNRAS 430, 2638; Wu et al. 2013, MNRAS 436, 460; Anbajagane et al. 2022, MNRAS 510, 2980).
        velocity_bias_slope: Its change with log10 M200c, about 10^14.5 [1/dex].
        velocity_scatter: Lognormal scatter of a halo's dispersion, natural log [1].
        anisotropy: Velocity anisotropy beta [1]: 0 to .4 in observed clusters (Biviano et al. 2013, A&A 558, A1), .2 to
            .25 in N-body haloes.
        galaxy_concentration: r200c over the galaxies' scale radius [1]; log-uniform: 2.0 (van der Burg et al. 2015,
            A&A 577, A19), 2.6 (Budzynski et al. 2012, MNRAS 423, 104), 3.6, and 5.4 for red galaxies (Hennig et al.
            2017, MNRAS 467, 4015).
        richness_factor: Factor on the number of galaxies in haloes, at the same density of the field [1]; log-uniform:
            .09 dex of uncertainty in the relation of Ho et al. 2019.
        richness_slope: Exponent of the number of galaxies in mass [1]: .84 (Lin et al. 2004, ApJ 610, 745) to 1.
        richness_scatter: Relative scatter of the mean number of galaxies [1].
        merger_fraction: Share of clusters with a second clump [1]; log-uniform about a tenth (Evrard et al. 2008).
        boost: Non-linear boost of the correlation function around a cluster [1]: .6 suits particles of dark matter, 1
            satellites of haloes.
        crossing: Density contrast at which infall ends [1]; log-uniform: 50 (Croft et al. 1999), more in N-body boxes.
    """

    velocity_bias: Range = field(default=(0.95, 1.05), metadata={LAW: Law(0.5, 2.0)})
    velocity_bias_slope: Range = field(default=(-0.02, 0.02), metadata={LAW: Law(-0.2, 0.2, "1/dex")})
    velocity_scatter: Range = field(default=(0.04, 0.1), metadata={LAW: Law(0.0, 0.5)})
    anisotropy: Range = field(default=(0.0, 0.4), metadata={LAW: Law(LOWEST_BETA, HIGHEST_BETA)})
    galaxy_concentration: Range = field(default=(2.0, 5.5), metadata={LAW: Law(1.0, 10.0, uniform_in="log")})
    richness_factor: Range = field(default=(0.8, 1.25), metadata={LAW: Law(0.1, 2.0, uniform_in="log")})
    richness_slope: Range = field(default=(0.82, 1.0), metadata={LAW: Law(0.5, 1.2)})
    richness_scatter: Range = field(default=(0.05, 0.2), metadata={LAW: Law(0.0, 0.9)})
    merger_fraction: Range = field(default=(0.05, 0.2), metadata={LAW: Law(0.0, 1.0, uniform_in="root")})
    boost: Range = field(default=(0.4, 1.0), metadata={LAW: Law(0.0, 3.0)})
    crossing: Range = field(default=(50.0, 100.0), metadata={LAW: Law(10.0, 1000.0, uniform_in="log")})

    def draw(self, model: Model, rng: np.random.Generator) -> tuple[Model, Draw]:
        """Draw galaxies of one kind: the model with these, and the values drawn by name."""
        drawn = self.numbers(rng)
        galaxies = replace(
            model.galaxies,
            dispersion_factor=drawn["velocity_bias"],
            dispersion_slope=drawn["velocity_bias_slope"],
            velocity_scatter=drawn["velocity_scatter"],
            anisotropy=drawn["anisotropy"],
            galaxy_concentration=drawn["galaxy_concentration"],
            richness=drawn["richness_factor"] * model.galaxies.richness,
            richness_slope=drawn["richness_slope"],
            richness_scatter=drawn["richness_scatter"],
            mergers=replace(model.galaxies.mergers, fraction=drawn["merger_fraction"]),
        )
        neighbours = replace(model.neighbours, boost=drawn["boost"], crossing=drawn["crossing"])
        return replace(model, galaxies=galaxies, neighbours=neighbours), drawn


@final
@dataclass(frozen=True)
class Priors:
    """The priors of one simulation; None where the model's own settings hold."""

    surveys: SurveyPrior | None = None
    physics: PhysicsPrior | None = None
    cosmologies: CosmologyPrior | None = None

    @property
    def of_groups(self) -> bool:
        """Whether anything is drawn for small groups of clusters: how they are observed, or their galaxies."""
        return self.surveys is not None or self.physics is not None

    def __bool__(self) -> bool:
        return self.of_groups or self.cosmologies is not None

    def draw(self, model: Model, rng: np.random.Generator) -> tuple[Model, Draw]:
        """Draw survey and physics: the model with what was drawn, and the values by name."""
        columns: dict[str, float | str | bool] = {}
        for prior in (self.surveys, self.physics):
            if prior is not None:
                model, drawn = prior.draw(model, rng)
                columns |= drawn
        return model, columns


FIXED = Priors()
