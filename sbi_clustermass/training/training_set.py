"""A mock catalogue made ready for training, whether it fits into memory or not.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clustermocks import Catalogue, Observation
from clustermocks.io.atomic import scratch_folder
from sbi_clustermass.training import Augmentation, Data, Galaxies, GalaxyWriter, Place, Training, split_by_group
from sbi_clustermass.training.dataset import Picked

_FEWEST = 100
_SHOWN_TO_BUILDER = 40_000
_WITHOUT_GALAXIES = ["host_id", "log10_mass"]


@final
@dataclass(frozen=True)
class TrainingSet:
    """Clusters of known mass inside the support.

    Attributes:
        clusters: Masses, hosts and attempts of all of them, without galaxies.
        support: Lowest and highest log10 mass [dex].
        rows: The clusters, and where mirrored once more with velocities reversed.
        groups: A number for each row; rows of one host share it.
        place: Where arrays made from them go.
        augmentation: What is done to them while they are shown, within the catalogue's own cuts.
    """

    clusters: Catalogue
    support: tuple[float, float]
    rows: Galaxies
    groups: Int[np.ndarray, "row"]
    place: Place
    augmentation: Augmentation | None = None

    @classmethod
    def read(
        cls, catalogue: Catalogue | Iterable[Catalogue], place: Place, support: tuple[float, float] | None
    ) -> Self:
        """Read a catalogue, or the parts of one, one at a time.

        Args:
            catalogue: Mock clusters.
            place: Where the galaxies go.
            support: Lowest and highest log10 mass of the prior [dex]; None for the attempted range.

        Raises:
            ValueError: There are no masses, or fewer than 100 clusters inside the support.
        """
        writer, heads = GalaxyWriter(place), []
        for part in [catalogue] if isinstance(catalogue, Catalogue) else catalogue:
            flat = np.stack([part.galaxy_column(name) for name in ("R_proj", "v_los")], 1)
            writer.append(flat, part.n_galaxies)
            heads.append(replace(part, clusters=part.clusters.select(_WITHOUT_GALAXIES)))
        whole = Catalogue.concatenate(heads)
        support = support or attempted_range(whole)
        inside = np.flatnonzero((whole.log10_mass >= support[0]) & (whole.log10_mass <= support[1]))
        if len(inside) < _FEWEST:
            raise ValueError(
                f"training needs at least {_FEWEST} clusters, and thousands to be of use; found {len(inside)}."
            )
        masses = torch.from_numpy(whole.log10_mass.astype(np.float32))[:, None]
        rows = writer.finish(masses).among(torch.from_numpy(inside))
        used = whole.select(inside)
        return cls(used, support, rows, used.host_id, place)

    def under(self, augmentation: Augmentation | None) -> Self:
        """The same clusters, changed at random while they are shown."""
        if augmentation is None:
            return self
        clusters = self.clusters
        return replace(self, augmentation=augmentation.within(clusters.observation, recentred=clusters.is_recentred))

    def mirrored(self) -> Self:
        """With every cluster once more, its velocities reversed."""
        return replace(self, rows=self.rows.mirrored(), groups=np.tile(self.groups, 2))

    @property
    def observation(self) -> Observation:
        """How the clusters are observed, with the richness cut that is left after thinning."""
        changed, observation = self.augmentation, self.clusters.observation
        return observation if changed is None else replace(observation, min_galaxies=changed.min_galaxies)

    @property
    def richness(self) -> tuple[int, int]:
        """Fewest and most galaxies of a cluster; down to the cut where clusters are thinned."""
        fewest, most = int(self.rows.count.min()), int(self.rows.count.max())
        return (fewest if self.augmentation is None else self.augmentation.min_galaxies), most

    def data(self, training: Training) -> Data:
        """The rows with the split of this rule."""
        return Data(self.rows, split_by_group(self.groups, training), self.place)

    def pairs(self, among: Int[Tensor, " some"]) -> tuple[Float[Tensor, "row 1"], Float[Tensor, "row galaxy 3"]]:
        """Masses and observations to size a network and standardise its inputs: at most 40 000, evenly spaced."""
        here = among[:: -(-len(among) // _SHOWN_TO_BUILDER)]
        picked = Picked(here, here.to(self.rows.theta.device))
        return self.rows.theta[picked.there].cpu(), self.rows.take(picked).cpu()


@contextmanager
def working_place(device: str, *, mapped: bool, beside: Path | None) -> Iterator[Place]:
    """Where the arrays of a training go: the device's memory, or files in a temporary folder, which is removed.

    Args:
        device: Of the training.
        mapped: Whether to use files.
        beside: The folder in which to make the temporary one; the system's own by default (TMPDIR).
    """
    if not mapped:
        yield Place(torch.device(device))
        return
    with scratch_folder(Path(gettempdir()) if beside is None else beside, "clusters") as folder:
        yield Place(torch.device(device), folder)


def attempted_range(catalogue: Catalogue) -> tuple[float, float]:
    masses = catalogue.attempted()[0]
    if not len(catalogue) or not np.isfinite(masses).all():
        raise ValueError("training needs clusters of known mass; this catalogue has none, or observed ones.")
    return float(np.floor(masses.min() * 100) / 100), float(np.ceil(masses.max() * 100) / 100)
