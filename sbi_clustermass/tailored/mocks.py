"""Mocks for a survey: one folder for each shell of redshift, read as one catalogue.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import final

import numpy as np
import pyarrow as pa

from clustermocks import Catalogue, FlatMasses, HaloModel, StoredCatalogue
from clustermocks.incompleteness import as_observed
from sbi_clustermass.tailored.settings import Choices


@final
@dataclass(frozen=True)
class TailoredMocks:
    """Mocks of all shells, part by part, observed as the survey's clusters are.

    Attributes:
        shells: Folder of each redshift's mocks.
        choices: Settings of the observation.
        seed: Seed of thinning and errors.
    """

    shells: tuple[StoredCatalogue, ...]
    choices: Choices
    seed: int

    def __len__(self) -> int:
        """Number of clusters before the thinning."""
        return sum(len(shell) for shell in self.shells)

    def __iter__(self) -> Iterator[Catalogue]:
        """Yield catalogues of one observation, with a column `redshift`.

        Raises:
            ValueError: A part is missing, truncated or damaged; the message names it.
        """
        seeds = np.random.SeedSequence(self.seed)
        for shell, redshift in zip(self.shells, self.choices.redshifts, strict=True):
            for part in shell.whole():
                yield self._observed(part, redshift, int(seeds.spawn(1)[0].generate_state(1)[0]))

    def _observed(self, part: Catalogue, redshift: float, seed: int) -> Catalogue:
        chosen = self.choices
        seen = as_observed(part, chosen.completeness, chosen.velocity_error, cleaning=chosen.cleaning, seed=seed)
        provenance = replace(
            seen.provenance,
            redshifts=tuple(sorted(chosen.redshifts)),
            completeness=chosen.completeness,
            velocity_error=chosen.velocity_error,
        )
        columns = seen.clusters.append_column("redshift", pa.array(np.full(len(seen), redshift)))
        return replace(seen, clusters=columns, observation=chosen.model.observation, provenance=provenance)


def simulate(
    choices: Choices, folder: Path, *, seed: int, n_jobs: int, progress: Callable[[int], object]
) -> TailoredMocks:
    """Simulate the shells, each in a folder of its redshift; the same call resumes an interrupted simulation.

    Args:
        choices: Settings of the mocks.
        folder: Folder that holds those of the shells.
        seed: Seed of masses and mocks of the first shell; that of each further shell is one larger.
        n_jobs: Number of processes.
        progress: Called with the number of mocks done.

    Raises:
        ValueError: A folder holds other mocks; the message names the settings that differ.
        OSError: A folder cannot be written.
    """
    shells, done = [], 0
    for i, (redshift, share) in enumerate(zip(choices.redshifts, choices.shares, strict=True)):
        n = ceil(choices.n * share)
        masses = FlatMasses(choices.low, choices.high).draw(n, seed + i)
        before = done
        shells.append(
            at_redshift(choices.model, redshift).simulate_to(
                folder / f"z{redshift:.4f}", masses, seed=seed + i, n_jobs=n_jobs,
                progress=lambda count, before=before: progress(before + count),
            )
        )  # fmt: skip
        done += n
    return TailoredMocks(tuple(shells), choices, seed)


def at_redshift(model: HaloModel, redshift: float) -> HaloModel:
    """Return the model with another redshift."""
    return replace(model, observation=replace(model.observation, redshift=redshift))
