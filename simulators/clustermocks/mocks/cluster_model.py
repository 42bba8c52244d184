"""Choices of the halo model: which galaxies there are, how they populate haloes, and how haloes surround a cluster.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass, field
from typing import Literal

from clustermocks.haloes.environment import Neighbours
from clustermocks.haloes.satellites import HaloGalaxies
from clustermocks.io.settings import check_ranges
from clustermocks.mocks.survey import Survey


@dataclass(frozen=True)
class ClusterModel(Survey):
    """Clusters with their surroundings, and how they are observed (`Survey`). `HaloModel` simulates them.

    Attributes:
        interlopers: "satellites": only satellites of haloes are galaxies, as in Ho et al.'s mocks. "all": also the
            centrals of all haloes and of the cluster itself, and galaxies that orbit beyond its R_vir.
        tracer_density: Number of galaxies per volume with "all", which sets the lightest halo with a central
            [h^3 Mpc^-3]; .0245 is that of UniverseMachine galaxies in MDPL2 with M_acc > 10^11 h^-1 Msun.
        galaxies: How galaxies populate a halo.
        neighbours: How haloes surround the cluster.
    """

    interlopers: Literal["satellites", "all"] = "all"
    tracer_density: float = 0.0245
    galaxies: HaloGalaxies = field(default_factory=HaloGalaxies)
    neighbours: Neighbours = field(default_factory=Neighbours)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interlopers not in ("satellites", "all"):
            raise ValueError(
                f"{type(self).__name__}: interlopers must be 'satellites' or 'all', found {self.interlopers!r}."
            )
        check_ranges(self, tracer_density=(0, 1.0, "h^3 Mpc^-3"))
