"""Settings of a population fit from files: the options of `clustermass population`."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Annotated, final

from cyclopts import Parameter, Token

from clustermocks.io.paths import expand_paths
from clustermocks.io.settings import check_ranges

MODELS = ("mass-function", "scaling-relation")


def _edges(_: object, tokens: Sequence[Token]) -> tuple[float, ...]:
    text = tokens[-1].value
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"needs numbers with commas between them, such as 0.1,0.2; got {text!r}.") from error


@final
@dataclass(frozen=True)
class PopulationOptions:
    """Settings of a population fit: the options of `clustermass population`.

    Attributes:
        model: Model to fit: mass-function, or scaling-relation (observables together with the masses).
        form: Shape of the mass distribution: mrp, cosmology (Om and sigma8), or normal for the distribution of the
            sample itself.
        priors: File with masses, relations and their priors, as every run writes it, in place of the defaults.
        mocks: Mock catalogue with masses from 10^12.5 h^-1 Msun on, to which the selection of the survey was applied.
        min_galaxies: Richness cut of the survey, in addition to that of the mocks.
        complete: Whether the survey contains every cluster; then --mocks is not needed.
        volume: Volume of the survey, comoving [h^-3 Mpc^3].
        area: Area of the survey on the sky [deg^2], with --redshifts.
        redshifts: Edges of the redshift shells of the survey, such as 0.1,0.2,0.3.
        shape_only: Whether the number of clusters is left out of the fit.
        table: Table with a column `name`, redshift, and observables NAME, NAME_err.
        observables: Column of --table [dex]; may be repeated.
        correlated: Whether the intrinsic scatters of the observables are correlated.
        same_galaxies: Observable that was measured from the same galaxies as the masses; needs --consistency-check; may
            be repeated.
        consistency_check: Whether to fit such observables nevertheless; the fitted scatter then has no meaning.
        blind: Secret phrase from which offsets follow that shift all results; files that would reveal the truth are not
            written. To see the truth, fit again without this option.
        truth: Mass function of mocks in the cosmology of MDPL2, drawn into the picture: tinker08.
        sampler: nuts, svi or laplace.
        seed: Seed: the same seed gives the same result.

    Raises:
        ValueError: A number is out of range, or `blind` is empty or given with `truth`.
    """

    model: str = MODELS[0]
    form: str = "mrp"
    priors: Path | None = None
    mocks: Path | None = None
    min_galaxies: int | None = None
    complete: bool = False
    volume: float | None = None
    area: float | None = None
    redshifts: Annotated[tuple[float, ...], Parameter(converter=_edges, n_tokens=1, metavar="Z,Z,...")] = ()
    shape_only: bool = False
    table: Path | None = None
    observables: Annotated[tuple[str, ...], Parameter(name="--observable")] = ()
    correlated: bool = False
    same_galaxies: tuple[str, ...] = ()
    consistency_check: bool = False
    blind: str | None = None
    truth: str | None = None
    sampler: str = "nuts"
    seed: int = 1

    def __post_init__(self) -> None:
        expand_paths(self)
        if self.blind is not None and (not self.blind.strip() or self.truth is not None):
            raise ValueError("population: --blind needs a phrase, and no --truth, which would show what it hides.")
        check_ranges(self, min_galaxies=(1, inf), seed=(0, inf))
