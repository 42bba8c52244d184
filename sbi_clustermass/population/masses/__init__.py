"""Distributions of cluster masses as Pyro models; `MASSES` names them for files and the command line.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; densities are comoving [h^3 Mpc^-3], per dex; `log_` is natural.
"""

from dataclasses import fields
from typing import Any, ClassVar, Protocol

from jaxtyping import Float
from torch import Tensor

from clustermocks.io.registry import check_fields, lookup, split_name
from clustermocks.io.settings import from_json, to_json
from sbi_clustermass.population.masses.cosmology import CosmologyMassFunction
from sbi_clustermass.population.masses.mrp import MassFunction
from sbi_clustermass.population.masses.normal import NormalMasses
from sbi_clustermass.population.parameters import Coordinates, Parameters, Priors


class Masses(Protocol):
    """A distribution of masses whose parameters are inferred: a frozen dataclass, an entry of `MASSES`.

    Attributes:
        name: Name in `MASSES`.
        counts: Whether it is a density per volume, so that the number of clusters informs its amplitude.
    """

    name: ClassVar[str]
    counts: ClassVar[bool]

    @property
    def evolves(self) -> bool:
        """Whether its density depends on redshift."""
        ...

    @property
    def priors(self) -> Priors:
        """Priors of the parameters, by the name of their Pyro site."""
        ...

    @property
    def coordinates(self) -> Coordinates:
        """Coordinates in which the parameters are sampled."""
        ...

    def log_density(
        self, log10_mass: Float[Tensor, "mass"], parameters: Parameters, redshift: Float[Tensor, "shell"]
    ) -> Float[Tensor, "*draw #shell mass"]:
        """Natural log of dn/dlog10M [h^3 Mpc^-3 dex^-1] at each redshift; one shell if it does not evolve."""
        ...

    def derived(self, parameters: Parameters) -> dict[str, Float[Tensor, "*draw"]]:
        """Quantities derived from the parameters, to be reported with them."""
        ...


MASSES: dict[str, type[Masses]] = {"mrp": MassFunction, "cosmology": CosmologyMassFunction, "normal": NormalMasses}


def masses_config(masses: Masses) -> dict[str, Any]:
    """Name and fields in JSON's types.

    Raises:
        TypeError: The distribution is not one of `MASSES`, and could not be rebuilt.
    """
    if MASSES.get(masses.name) is not type(masses):
        raise TypeError(f"{type(masses).__name__} is not one of MASSES ({', '.join(sorted(MASSES))}).")
    return {"name": masses.name, **to_json(masses)}


def masses_from_config(config: object) -> Masses:
    """Rebuild a distribution from the result of `masses_config`.

    Raises:
        ValueError: The name or a field is unknown, or a value is out of range.
    """
    name, values = split_name("mass function", config)
    kind = lookup("mass function", name, MASSES)
    check_fields(f"mass function {name!r}", values, tuple(each.name for each in fields(kind)))  # pyright: ignore
    return from_json(kind, values)
