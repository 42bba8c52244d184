"""What became of the rows of a table."""

from dataclasses import dataclass
from typing import final

import numpy as np

from clustermocks.observation import Observation, in_cylinder
from sbi_clustermass.observations.tables.centring import PhaseSpace
from sbi_clustermass.observations.tables.coordinates import UsableGalaxies


@final
@dataclass(frozen=True)
class RowCounts:
    """Each row of a cluster's table counts once; they add up to `rows`.

    Attributes:
        rows: All of them.
        without_position: No usable position.
        without_redshift: A position, but no usable redshift or velocity.
        without_weight: Both, and a weight of 0 or less.
        duplicates: The same galaxy as another row.
        outside_aperture: Further from the centre than the mocks' aperture.
        outside_velocity: Inside the aperture, beyond the velocity cut: stars, foreground, background.
        used: In the cylinder.
        used_without_error: Of those used, galaxies without a velocity error.
    """

    rows: int
    without_position: int
    without_redshift: int
    without_weight: int
    duplicates: int
    outside_aperture: int
    outside_velocity: int
    used: int
    used_without_error: int

    @classmethod
    def from_galaxies(cls, galaxies: UsableGalaxies, phase_space: PhaseSpace, observation: Observation) -> "RowCounts":
        """Count the rows of one cluster."""
        inside = in_cylinder(phase_space.R_proj, phase_space.v_los, observation)
        beyond = phase_space.R_proj >= observation.aperture
        return cls(
            rows=galaxies.n_rows,
            without_position=galaxies.no_position,
            without_redshift=galaxies.no_velocity,
            without_weight=galaxies.no_weight,
            duplicates=galaxies.duplicates,
            outside_aperture=int(beyond.sum()),
            outside_velocity=int(np.sum(~beyond & ~inside)),
            used=int(inside.sum()),
            used_without_error=int(np.isnan(galaxies.errors[inside]).sum()),
        )

    @property
    def dropped(self) -> int:
        """Rows without a usable position, velocity or weight."""
        return self.without_position + self.without_redshift + self.without_weight

    @property
    def elsewhere(self) -> dict[str, int]:
        """Usable rows that are not used, by the words for why."""
        return {
            "duplicates": self.duplicates,
            "outside the aperture": self.outside_aperture,
            "outside the velocity cut": self.outside_velocity,
        }

    def __str__(self) -> str:
        """The counts in words, zeros left out."""
        unusable = {
            "without a position": self.without_position,
            "without a redshift": self.without_redshift,
            "of weight 0": self.without_weight,
        }
        left_out = unusable | self.elsewhere
        said = ", ".join(f"{count} {words}" for words, count in left_out.items() if count)
        return f"{self.used} of {self.rows} rows used" + (f"; {said}" if said else "")
