"""Training set of a network, read from mock catalogues that may be larger than memory.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Self, final
from warnings import warn

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clustermocks import Catalogue, Observation
from clustermocks.catalogue.parameters import MASS, PARAMETERS
from clustermocks.catalogue.schema import CONDITIONS
from clustermocks.io.atomic import scratch_folder
from clustermocks.mocks.chunk import DRAW
from sbi_clustermass.training.augmentation import Augmentation
from sbi_clustermass.training.dataset import GalaxyWriter, RaggedDataset, RowIndices, Storage
from sbi_clustermass.training.loop import TrainingData
from sbi_clustermass.training.settings import Training, split_by_group

_MIN_CLUSTERS = 100
_MAX_EXAMPLES, _MAX_SLOTS = 40_000, 20_000_000  # clusters, and galaxies with padding
_GAP, _END_BIN = 0.1, 0.1  # smallest gap, and width of the bins that measure the density at its sides [dex]
_CENTRED = 0.5  # share of clusters with a galaxy in the very centre that makes it a habit of the mocks
_FEWEST_VALUES = 1000  # of a parameter that clusters share; with 24 000, coverage is right to a point
_MIN_EXPECTED = 10  # clusters expected in a gap: the chance that it is empty is 1 in 22 000


@final
@dataclass(frozen=True)
class TrainingSet:
    """Clusters of known mass inside the support.

    Attributes:
        clusters: Masses, hosts and attempts of all clusters, without their galaxies.
        support: Lowest and highest log10 mass [dex].
        dataset: Masses and galaxies of the clusters; if mirrored, followed by the same with reversed velocities.
        groups: Group number of each row; rows of one host have the same number.
        storage: Storage of arrays that are computed from the dataset.
        augmentation: Random changes to the clusters during training, with the cuts of the catalogue.
    """

    clusters: Catalogue
    support: tuple[float, float]
    dataset: RaggedDataset
    groups: Int[np.ndarray, "row"]
    storage: Storage
    augmentation: Augmentation | None = None

    @classmethod
    def from_catalogue(
        cls,
        catalogue: Catalogue | Iterable[Catalogue],
        storage: Storage,
        support: tuple[float, float] | None,
        *,
        conditions: bool | None = None,
        sky: bool = False,
        parameters: Sequence[str] = (MASS,),
    ) -> Self:
        """Read a catalogue, or its parts one after another, inside a support [dex]: by default the attempted range.

        Conditions are read by default where they were drawn from a prior, Om0 and sigma8 where these were; positions on
        the sky with `sky`.

        Raises:
            ValueError: There are fewer than 100 clusters inside the support, or a parameter or position is not known.
        """
        columns = ["host_id", *(PARAMETERS[name] for name in parameters)]
        writer, heads = GalaxyWriter(storage, sky=sky), []
        for part in [catalogue] if isinstance(catalogue, Catalogue) else catalogue:
            flat = np.stack([part.galaxy_column(name) for name in ("R_proj", "v_los")], 1)
            flat = np.concatenate([flat, part.sky_positions()], 1) if sky else flat
            of_cosmology = bool(part.provenance.priors.get("cosmologies"))
            has = of_cosmology or bool(part.provenance.surveys) if conditions is None else conditions
            writer.append(flat, part.n_galaxies, part.conditions(cosmology=of_cosmology) if has else None)
            part.parameters(parameters[1:])
            draws = [DRAW] if len(parameters) > 1 and DRAW in part.columns else []
            heads.append(replace(part, clusters=part.clusters.select(columns + draws)))
        whole = Catalogue.concatenate(heads)
        support = support or attempted_range(whole)
        inside = np.flatnonzero((whole.log10_mass >= support[0]) & (whole.log10_mass <= support[1]))
        if len(inside) < _MIN_CLUSTERS:
            raise ValueError(
                f"training needs at least {_MIN_CLUSTERS} clusters, and thousands to be of use; found {len(inside)}."
            )
        masses = torch.from_numpy(whole.log10_mass.astype(np.float32))[:, None]
        dataset = writer.finish(masses).subset(torch.from_numpy(inside))
        used = whole.select(inside)
        return cls(used, support, dataset, used.host_id, storage)

    def given_mass(self, names: Sequence[str], ends: Float[np.ndarray, "parameter 2"]) -> Self:
        """Return the training set of other parameters, with the mass as the last condition, and without the cosmology.

        Clusters that share a draw from priors share an anisotropy, and a redshift by which a network could know it
        again: they stay on one side of the validation split.

        Args:
            names: Parameters that were read.
            ends: Lower and upper end of each one's support.

        Raises:
            ValueError: A parameter is the same in all clusters, or lies outside its support in some.
        """
        theta = self.clusters.parameters(names)
        for name, values, (low, high) in zip(names, theta.T, ends, strict=True):
            outside = int(((values < low) | (values > high)).sum())
            if outside:
                raise ValueError(
                    f"support of {name}: {low:g} to {high:g} leaves out {outside} of {len(values)} training clusters.\n"
                    "  try:    a wider support, or mocks drawn from a narrower prior"
                )
            if np.ptp(values) == 0:
                raise ValueError(f"{name} is {values[0]:g} in all training clusters: there is nothing to be learned.")
            _warn_of_few(name, values)
        dataset = self.dataset
        observed = dataset.conditions[:, : len(CONDITIONS)]
        conditions = torch.cat([observed, dataset.theta.to(observed.device)], 1)
        theta = torch.from_numpy(theta.astype(np.float32)).to(dataset.theta.device)
        groups = self.clusters.column(DRAW) if DRAW in self.clusters.columns else self.groups
        return replace(self, dataset=replace(dataset, theta=theta, conditions=conditions), groups=groups)

    def augmented(self, augmentation: Augmentation | None) -> Self:
        """Return the training set with random changes during training."""
        if augmentation is None:
            return self
        clusters = self.clusters
        return replace(self, augmentation=augmentation.within(clusters.observation, recentred=clusters.is_recentred))

    def mirrored(self) -> Self:
        """Append every cluster with reversed velocities."""
        return replace(self, dataset=self.dataset.mirrored(), groups=np.tile(self.groups, 2))

    @property
    def observation(self) -> Observation:
        """Observation of the clusters, with the richness cut after thinning."""
        changed, observation = self.augmentation, self.clusters.observation
        return observation if changed is None else replace(observation, min_galaxies=changed.min_galaxies)

    @property
    def richness(self) -> tuple[int, int]:
        """Smallest and largest number of galaxies of a cluster; if clusters are thinned, the smallest is the cut."""
        fewest, most = int(self.dataset.count.min()), int(self.dataset.count.max())
        return (fewest if self.augmentation is None else self.augmentation.min_galaxies), most

    def data(self, training: Training) -> TrainingData:
        """Dataset, split as the settings say."""
        return TrainingData(self.dataset, split_by_group(self.groups, training), self.storage)

    def example_pairs(
        self, rows: Int[Tensor, " some"]
    ) -> tuple[Float[Tensor, "row 1"], Float[Tensor, "row galaxy column"]]:
        """Masses and observations from which a network is sized and its inputs standardised: at most 40 000 rows."""
        most = min(_MAX_EXAMPLES, max(_MAX_SLOTS // int(self.dataset.count.max()), 1))
        some = rows[:: -(-len(rows) // most)]
        indices = RowIndices(some, some.to(self.dataset.theta.device))
        return self.dataset.theta[indices.device].cpu(), self.dataset.take(indices).cpu()


def _warn_of_few(name: str, values: Float[np.ndarray, "cluster"]) -> None:
    """Warn of a parameter that clusters share, and that has too few values to tell what a posterior should be."""
    distinct = len(np.unique(values))
    if distinct < min(_FEWEST_VALUES, len(values) / 2):
        warn(
            f"{name} has {distinct} values in {len(values)} training clusters, which share them: posteriors of it will "
            "be too narrow.\n"
            f"  try:    more mocks, so that there are {_FEWEST_VALUES} values",
            UserWarning,
            stacklevel=3,
        )


def warn_of_gaps(catalogue: Catalogue, support: tuple[float, float]) -> None:
    """Warn if the masses end more than .1 dex inside the support although the set is not sparse there.

    A set that was thinned or flattened keeps its attempts, whose range is the default support. Between the ends of the
    set and of the support, the effective prior would have to fall to zero, which no smooth one does.
    """
    masses = catalogue.log10_mass
    ends = float(masses.min()), float(masses.max())
    cure = tuple(round(e, 2) if abs(e - edge) > _GAP else edge for e, edge in zip(ends, support, strict=True))
    for end, edge in zip(ends, support, strict=True):
        gap = abs(edge - end)
        missing = _expected_between(catalogue, end, edge) if gap > _GAP else 0.0
        if missing >= _MIN_EXPECTED:
            warn(
                f"the masses of the training set end at {end:.2f}, {gap:.2f} dex inside the support {support[0]:g} to "
                f"{support[1]:g}, where about {missing:.0f} more would lie if it went on: posteriors are wrong there.\n"
                f"  try:    train(..., support=({cure[0]:g}, {cure[1]:g}))",
                UserWarning,
                stacklevel=3,
            )


def warn_of_counts(clusters: TrainingSet) -> None:
    """Warn if a network that should not see the number of galaxies can read it from a galaxy in the very centre.

    A central at R = 0 is one galaxy of N: its weight in an image, or in a mean over galaxies, is 1/N.
    """
    _, x = clusters.example_pairs(torch.arange(min(1000, len(clusters.clusters))))
    share = float(((x[..., 0] == 0) & (x[..., 2] > 0)).any(dim=1).float().mean())
    if share > _CENTRED:
        warn(
            f"{share:.0%} of the training clusters have a galaxy at R = 0 exactly: its weight gives the number of "
            "galaxies away, which this network should not see; on data it is then wrong.\n"
            "  try:    mocks whose centre is not known exactly (HaloModel(centre_error=0.05)), or richness=True",
            UserWarning,
            stacklevel=3,
        )


def _expected_between(catalogue: Catalogue, end: float, edge: float) -> float:
    """Number of clusters between the set's end and the support's edge if its density were that of the last .1 dex.

    Among attempts that passed the cuts, the kept share is extrapolated; without attempts, the density.
    """
    attempted, passed = catalogue.attempted()
    kept = _count_near(catalogue.log10_mass, end)
    low, high = sorted((end, edge))
    tried = (attempted > low) & (attempted < high)
    if not tried.any():  # the tail of a mass function is sparse
        return kept * abs(edge - end) / _END_BIN if kept > 2 * _MIN_EXPECTED else 0.0
    return float((tried & passed).sum()) * kept / max(_count_near(attempted[passed], end), 1)


def _count_near(masses: Float[np.ndarray, "cluster"], end: float) -> int:
    return int((np.abs(masses - end) < _END_BIN).sum())


@contextmanager
def working_storage(device: str, *, mapped: bool, parent: Path | None) -> Iterator[Storage]:
    """Storage for one training: the device's memory or, if `mapped`, files in a temporary folder.

    The folder is made in `parent`, by default that of the system (TMPDIR), and removed at the end.
    """
    if not mapped:
        yield Storage(torch.device(device))
        return
    with scratch_folder(Path(gettempdir()) if parent is None else parent, "clusters") as folder:
        yield Storage(torch.device(device), folder)


def attempted_range(catalogue: Catalogue) -> tuple[float, float]:
    """Lowest and highest attempted log10 mass, rounded outwards to .01 [dex]."""
    masses = catalogue.attempted()[0]
    if not len(catalogue) or not np.isfinite(masses).all():
        raise ValueError("training needs clusters of known mass; this catalogue has none, or observed ones.")
    return float(np.floor(masses.min() * 100) / 100), float(np.ceil(masses.max() * 100) / 100)
