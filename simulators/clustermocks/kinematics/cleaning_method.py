"""Names of the methods that remove interlopers by their distances and velocities, importable without the methods."""

from typing import Literal

CleaningMethod = Literal["clipping", "clipping_2.5", "shifting_gapper", "caustics"]  # keys of `membership.REMOVALS`
