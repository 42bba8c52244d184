"""The part of the prior over surveys that suits the clusters at hand, each range with its reason.

What an observer knows and what the galaxies show is narrowed; what is hidden stays as wide as the prior of the
estimator that ships. Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities
[km/s].
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
from jaxtyping import Float

from clustermocks import FlatMasses, HaloModel, SurveyPrior
from sbi_clustermass.estimator.training_options import TrainingOptions
from sbi_clustermass.tailored.survey import MODEL, SURVEYS, Survey

MASSES = FlatMasses(12.8, 15.8)
REDSHIFT_MARGIN = 0.05  # of 1 + z: over it E(z) changes a mass by .03 dex at most
FIELD_MARGIN = 0.1  # of the radius that galaxies reach: centres are wrong by up to .3 h^-1 Mpc
ERROR_MARGIN = 0.3  # of the errors: so much tables under- or overestimate theirs
STEP_FACTOR, FINEST = 1.25, 10.0  # of a step of rounding; the finest one that is looked for [km/s]

Parts: TypeAlias = Mapping[str, Any]  # arguments of `SurveyPrior.narrowed`


class Choice(NamedTuple):
    """A chosen setting, its value and the reason, as text."""

    what: str
    value: str
    why: str


@final
@dataclass(frozen=True)
class Choices:
    """Settings of the mocks, with their reasons.

    Attributes:
        model: Simulator.
        surveys: Prior over surveys from which the mocks are drawn.
        n: Number of mocks.
        because: Each choice with its reason.
        cautions: Sentences about what no choice can correct.
    """

    model: HaloModel
    surveys: SurveyPrior
    n: int
    because: tuple[Choice, ...]
    cautions: tuple[str, ...]


def choose(survey: Survey, options: TrainingOptions | None = None, *, n: int = 40_000) -> Choices:
    """Choose the mocks for these clusters; a pure function of measurements and wishes.

    Args:
        survey: Properties of the clusters.
        options: Wishes: `velocity_error`, `completeness`, `cleaning` and `min_galaxies` in place of what is measured.
        n: Number of mocks.

    Raises:
        ValueError: A wish lies outside the prior.
    """
    options = options or TrainingOptions()
    least = options.min_galaxies or MODEL.observation.min_galaxies
    known = _redshift(survey), _field(survey), _errors(survey, options), _rounding(survey), _cleaning(survey, options)
    narrowed = (*known, _depth(survey, options))
    because = (
        *(choice for _, choice in narrowed),
        Choice("fewest galaxies", f"{least}", "as asked" if options.min_galaxies else "those of the prior"),
        Choice("masses", f"log10 M200c {MASSES.low:g} to {MASSES.high:g}, flat", "the ends are far from all clusters"),
        Choice("mocks", f"{n}", "as asked"),
    )
    model = replace(MODEL, observation=replace(MODEL.observation, min_galaxies=least))
    surveys = SURVEYS.narrowed(**{name: part for parts, _ in narrowed for name, part in parts.items()})
    return Choices(model, surveys, n, because, tuple(_cautions(survey)))


def _redshift(survey: Survey) -> tuple[Parts, Choice]:
    z = survey.known("redshift")
    if not z.size:
        return {}, Choice("redshift", _ends(SURVEYS.redshift), "no redshift of a cluster is known")
    low, high = (end + side * REDSHIFT_MARGIN * (1 + end) for end, side in ((z.min(), -1), (z.max(), 1)))
    part = _part("redshift", low, high)
    why = f"{len(z)} of {len(survey.clusters)} clusters at {_ends(z)}; {REDSHIFT_MARGIN:.0%} of 1 + z more"
    return {"redshift": part}, Choice("redshift", _ends(part), why)


def _field(survey: Survey) -> tuple[Parts, Choice]:
    reach, widest = survey.known("reach"), survey.known("widest")
    part = _part("aperture", (1 - FIELD_MARGIN) * reach.min(), (1 + FIELD_MARGIN) * widest.max())
    why = f"galaxies reach {_ends(reach)}; those of a field of {widest.max():.4g} could; {FIELD_MARGIN:.0%} more"
    return {"aperture": part}, Choice("field", f"{_ends(part)} h^-1 Mpc", why)


def _errors(survey: Survey, options: TrainingOptions) -> tuple[Parts, Choice]:
    stated, n = survey.known("velocity_error"), len(survey.clusters)
    share = {0: 0.0, n: 1.0}.get(len(stated), SURVEYS.stated)
    part, why = SURVEYS.velocity_error, f"not stated for {n - len(stated)} of {n} clusters: as wide as the prior"
    if len(stated) == n:
        part = _part("velocity_error", (1 - ERROR_MARGIN) * stated.min(), (1 + ERROR_MARGIN) * stated.max())
        why = f"the clusters' are {_ends(stated)}; {ERROR_MARGIN:.0%} more"
    if options.velocity_error is not None:
        part, why = (0.0, options.velocity_error), "as asked"
    return {"velocity_error": part, "stated": share}, Choice("velocity errors", f"{_ends(part)} km/s", why)


def _rounding(survey: Survey) -> tuple[Parts, Choice]:
    step = survey.known("rounding")
    if not step.size:
        return {}, Choice("rounding", f"{_ends(SURVEYS.rounding)} km/s", "too few galaxies to see it")
    part = _part("rounding", step.min() / STEP_FACTOR, max(step.max() * STEP_FACTOR, FINEST))
    why = f"c z of {np.count_nonzero(step)} of {len(step)} clusters is rounded; steps of {_ends(step)} km/s"
    return {"rounding": part}, Choice("rounding", f"{_ends(part)} km/s", why)


def _cleaning(survey: Survey, options: TrainingOptions) -> tuple[Parts, Choice]:
    if options.cleaning is not None or survey.cleaned:
        how = SURVEYS.cleanings if options.cleaning is None else (options.cleaning,)
        why = "as stated, and to be stated for infer (--cleaned)"
        return {"cleaned": 1.0, "cleanings": how}, Choice("interlopers", f"removed by {' or '.join(how)}", why)
    if survey.known("velocity_error").size == len(survey.clusters):
        why = "the tables state errors, and no removal of interlopers (--cleaned)"
        return {"cleaned": 0.0}, Choice("interlopers", "all kept", why)
    why = "the tables state nothing (--cleaned)"
    return {}, Choice("interlopers", f"removed from {SURVEYS.cleaned:.0%} of the mocks", why)


def _depth(survey: Survey, options: TrainingOptions) -> tuple[Parts, Choice]:
    why = f"hidden from an observer; clusters have {_ends(survey.known('n_galaxies'))} galaxies in the cylinder"
    if options.completeness is None:
        return {}, Choice("depth and targeting", "as wide as the prior", why)
    part = options.completeness, SURVEYS.completeness[1]
    return {"completeness": part}, Choice("completeness", _ends(part), f"as asked; depth and targeting are {why}")


def _cautions(survey: Survey) -> Iterator[str]:
    if survey.failed:
        yield f"{survey.failed} clusters were not measured: {'; '.join(' '.join(r.split()) for r in survey.reasons)}."
    if not survey.known("redshift").size:
        yield "No redshift of a cluster is known, which makes errors of masses larger: --redshift gives it."


def _part(name: str, low: float, high: float) -> tuple[float, float]:
    """Range inside that of the prior, to four digits, which are finer than any margin."""
    low, high = np.clip([float(f"{end:.4g}") for end in (low, high)], *getattr(SURVEYS, name)).tolist()
    return low, high


def _ends(values: Sequence[float] | Float[np.ndarray, "value"]) -> str:
    low, high = f"{min(values):.4g}", f"{max(values):.4g}"
    return low if low == high else f"{low} to {high}"
