"""A catalogue of galaxy clusters: one row a cluster, its galaxies as ragged columns.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s]. Arrow holds the
columns; NumPy arrays come out.

A catalogue also lists every *attempted* cluster, selected or not, because P(selected | mass), from which the effective
training prior and a survey's selection function follow, is measured on all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self, final

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Float32, Int

from clustermocks.catalogue import parquet
from clustermocks.catalogue.parameters import read_parameters
from clustermocks.catalogue.part_folder import PartFolder
from clustermocks.catalogue.provenance import Change, Provenance
from clustermocks.catalogue.ragged import Ragged, from_stream, to_stream, with_column
from clustermocks.catalogue.schema import COSMOLOGY, GALAXY_TYPES, attempted, check_columns
from clustermocks.haloes.cosmology import Cosmology
from clustermocks.io.paths import as_path
from clustermocks.observation import Observation


@final
@dataclass(frozen=True)
class Catalogue:
    """Clusters that passed the richness cut, with their observed galaxies.

    Build one with `from_arrays`, `from_parquet` or a simulator.

    Attributes:
        clusters: Arrow table, a row for each selected cluster.
        attempts: Arrow table, a row for each attempted cluster: host_id, log10_mass, n_galaxies, n_members, eligible.
        observation: How the clusters were observed.
        cosmology: Cosmology of distances and masses.
        provenance: How the catalogue was made: simulator, settings, seed, changes.
    """

    clusters: pa.Table
    attempts: pa.Table
    observation: Observation
    cosmology: Cosmology
    provenance: Provenance = field(default_factory=Provenance)

    @classmethod
    def from_arrays(
        cls,
        observation: Observation,
        cosmology: Cosmology,
        *,
        clusters: Mapping[str, np.ndarray],
        galaxies: Mapping[str, np.ndarray],
        offsets: Int[np.ndarray, "cluster_and_one"],
        provenance: Provenance | None = None,
    ) -> Self:
        """Build a catalogue from flat arrays; clusters below the minimum richness are kept as attempts only.

        Args:
            observation: Settings of the observation; `min_galaxies` is the richness cut.
            cosmology: Cosmology of distances and masses.
            clusters: `log10_mass` [dex] (NaN where unknown), `host_id`, and any further per-cluster column, each
                (cluster,); `eligible` (bool) is False for clusters excluded for a reason other than richness.
            galaxies: `R_proj` [h^-1 Mpc], `v_los` [km/s], where known `position_angle` [rad] and, for mocks,
                `in_cylinder` and the truths `is_member`, `within_r200c` and `is_bound` (bool), each (galaxy,).
            offsets: Galaxies of cluster i are `offsets[i]:offsets[i + 1]`.
            provenance: How the catalogue was made.

        Raises:
            ValueError: A column is missing or unknown or has the wrong length, a distance is negative, or a distance
                or velocity is not finite.
        """
        check_columns(clusters, galaxies, np.asarray(offsets))
        eligible = np.asarray(clusters.get("eligible", np.ones(len(clusters["log10_mass"]), bool)))
        columns = {name: pa.array(np.asarray(values)) for name, values in clusters.items() if name != "eligible"}
        for name, values in galaxies.items():
            flat = pa.array(np.asarray(values), type=GALAXY_TYPES[name])
            columns[name] = pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat)
        table = pa.table(columns)
        attempts = attempted(table, galaxies, np.asarray(offsets), eligible)
        everything = cls(table, attempts, observation, cosmology, provenance or Provenance())
        return everything._select_rows(everything._attempted_selected())

    def __reduce__(self) -> tuple:
        """Pickle the tables as Arrow streams: a column at a time takes ten times longer."""
        tables = (to_stream(table) for table in (self.clusters, self.attempts))
        return _from_streams, (*tables, self.observation, self.cosmology, self.provenance)

    def __len__(self) -> int:
        return self.clusters.num_rows

    def __repr__(self) -> str:
        return f"Catalogue({len(self)} clusters of {self.attempts.num_rows} attempted, {self.observation})"

    # ---- one value a cluster ----------------------------------------------------------------------------------------

    def column(self, name: str) -> np.ndarray:
        """Return one per-cluster column, (cluster,).

        Raises:
            KeyError: There is no such column; the message lists the existing ones.
        """
        if name not in self.clusters.column_names or name in GALAXY_TYPES:
            known = [n for n in self.clusters.column_names if n not in GALAXY_TYPES]
            raise KeyError(f"no cluster column {name!r}. There are: {', '.join(known)}.")
        return self.clusters[name].to_numpy()

    @property
    def log10_mass(self) -> Float[np.ndarray, "cluster"]:
        """Log10 of M200c [h^-1 Msun]; NaN where unknown."""
        return self.column("log10_mass")

    def parameters(self, names: Sequence[str]) -> Float[np.ndarray, "cluster parameter"]:
        """True parameters of mock clusters, a column each.

        Args:
            names: Of `log10_mass` (M200c [h^-1 Msun]), `log10_c200c` (concentration of the mass [dex]), and `beta`
                (velocity anisotropy of the galaxies [1]).

        Raises:
            ValueError: A name is unknown, or the catalogue does not hold that parameter.
        """
        return read_parameters(self.clusters, names)

    @property
    def host_id(self) -> Int[np.ndarray, "cluster"]:
        """Identifier of the host halo, which all lines of sight through it share."""
        return self.column("host_id")

    def observation_column(self, name: str) -> Float[np.ndarray, "cluster"]:
        """Redshift, aperture or v_cut of each cluster: its own, in a column of that name, or the observation's."""
        common = np.full(len(self), getattr(self.observation, name))
        if name not in self.columns:
            return common
        own = np.asarray(self.column(name), float)
        return np.where(np.isfinite(own), own, common)

    def conditions(self, *, cosmology: bool = False) -> Float32[np.ndarray, "cluster condition"]:
        """What an observer knows of each cluster besides its galaxies, `CONDITIONS`, as numbers for a network.

        Redshift [1], velocity error [km/s], and 1 where interlopers were removed. An error or a removal that is not
        stated is 0: a `SurveyPrior` has surveys that do not state theirs, so that a network takes 0 for "none, or
        unknown"; but a removal from all of its surveys is known. Where field and velocity window end is no condition,
        as the galaxies themselves show it.

        Args:
            cosmology: Whether `COSMOLOGY` follows, Om0 and sigma8 [1]: in columns, or else those that lengths assume.
        """
        stated = np.asarray(self.column("stated")) if "stated" in self.columns else np.ones(len(self), bool)
        error = np.asarray(self.column("velocity_error"), float) if "velocity_error" in self.columns else np.zeros(1)
        cleaned = np.full(len(self), bool(self.provenance.cleaning))
        if "cleaning" in self.columns:
            cleaned |= np.asarray(self.column("cleaning") != "none")
        everywhere = self.provenance.surveys.get("cleaned") == 1
        known = np.where(stated, np.nan_to_num(error), 0.0), (stated | everywhere) & cleaned
        true = [self._cosmology_column(name) for name in COSMOLOGY if cosmology]
        return np.stack([self.observation_column("redshift"), *known, *true], 1).astype(np.float32)

    def _cosmology_column(self, name: str) -> Float[np.ndarray, "cluster"]:
        return self.column(name) if name in self.columns else np.full(len(self), getattr(self.cosmology, name))

    def in_cosmology(self, cosmology: Cosmology) -> Self:
        """The same observed clusters, as of a universe of this Om0 and sigma8; lengths assume what they assumed."""
        clusters = self.clusters.drop_columns([name for name in COSMOLOGY if name in self.columns])
        for name in COSMOLOGY:
            clusters = clusters.append_column(name, pa.array(np.full(len(self), getattr(cosmology, name))))
        return replace(self, clusters=clusters)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each cluster: its `name` column, or its position."""
        if "name" in self.clusters.column_names:
            return tuple(str(name) for name in self.clusters["name"].to_pylist())
        return tuple(str(i) for i in range(len(self)))

    @cached_property
    def n_galaxies(self) -> Int[np.ndarray, "cluster"]:
        """Number of galaxies that `galaxies(i)` returns."""
        return np.diff(self._galaxies.offsets)

    @property
    def is_recentred(self) -> bool:
        """Whether velocities are relative to a centre measured from the galaxies, as those of data are."""
        return self.provenance.settings.get("recentre") is not False

    # ---- galaxies ---------------------------------------------------------------------------------------------------

    @cached_property
    def _galaxies(self) -> Ragged:
        return Ragged(self.clusters)

    def galaxy_column(self, name: str) -> np.ndarray:
        """One column of the galaxies of all clusters, (galaxy,): R_proj [h^-1 Mpc], v_los [km/s], another or a truth.

        position_angle [rad] is where on the sky a galaxy lies from the centre (`sky_positions`), where that is known.
        Truths are is_member (inside R_vir), within_r200c, and is_bound (not to get beyond 5 r200c, `haloes.binding`).
        """
        return self._galaxies.columns[name]

    def galaxies(self, index: int) -> tuple[Float32[np.ndarray, "galaxy"], Float32[np.ndarray, "galaxy"]]:
        """R_proj [h^-1 Mpc] and v_los [km/s] of one cluster's galaxies."""
        part = self._part(index)
        return self.galaxy_column("R_proj")[part], self.galaxy_column("v_los")[part]

    @property
    def galaxy_columns(self) -> dict[str, np.ndarray]:
        """Columns of the galaxies of all clusters: `OBSERVED` and, for mocks, the truths, each (galaxy,)."""
        return dict(self._galaxies.columns)

    @property
    def has_sky(self) -> bool:
        """Whether it is known where on the sky galaxies lie, and not only how far from the centre."""
        return "position_angle" in self.columns

    def sky_positions(self) -> Float32[np.ndarray, "galaxy 2"]:
        """Position on the sky of the galaxies of all clusters, from the centre of R_proj [comoving h^-1 Mpc].

        The first axis points where position_angle is 0: north of observed clusters, along `sky_basis` of mocks.

        Raises:
            ValueError: Only distances are known.
        """
        if not self.has_sky:
            raise ValueError(
                "these clusters have no position_angle: only distances of their galaxies from the centre are known.\n"
                "  try:    mocks of this version, or tables with ra and dec"
            )
        angle = self.galaxy_column("position_angle")
        return self.galaxy_column("R_proj")[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)

    @property
    def cluster_of_galaxy(self) -> Int[np.ndarray, "galaxy"]:
        """Index of the cluster to which each galaxy belongs."""
        return np.repeat(np.arange(len(self)), self.n_galaxies)

    def is_member(self, index: int) -> Bool[np.ndarray, "galaxy"]:
        """True for the galaxies of one mock cluster that lie within R_vir of its centre.

        Raises:
            ValueError: The catalogue holds observed clusters, whose members are unknown.
        """
        self._check_membership()
        return self.galaxy_column("is_member")[self._part(index)]

    def _check_membership(self) -> None:
        if "is_member" not in self.clusters.column_names:
            raise ValueError("membership is unknown: only mock catalogues carry is_member.")

    def _part(self, index: int) -> slice:
        index = range(len(self))[index]
        return slice(int(self._galaxies.offsets[index]), int(self._galaxies.offsets[index + 1]))

    def padded(
        self, width: int | None = None, *, sky: bool = False, conditions: bool = False, cosmology: bool = False
    ) -> Float32[np.ndarray, "cluster galaxy column"]:
        """Pack all clusters into one array: R_proj, v_los and 1 for a galaxy, zeros for padding.

        Args:
            width: Number of galaxies to pad to; the richest cluster's by default.
            sky: Whether the two `sky_positions` of each galaxy follow.
            conditions: Whether the `conditions` of each cluster follow in three further columns.
            cosmology: Whether they follow in five, Om0 and sigma8 the last.

        Raises:
            ValueError: A cluster has more than `width` galaxies, as nothing is truncated; or positions are unknown.
        """
        richest = int(self.n_galaxies.max(initial=0))
        width = richest if width is None else width
        if richest > width:
            raise ValueError(f"a cluster has {richest} galaxies, more than width={width}; pad to at least {richest}.")
        known = (
            self.conditions(cosmology=cosmology) if conditions or cosmology else np.zeros((len(self), 0), np.float32)
        )
        plain = 3 + 2 * sky
        out = np.zeros((len(self), width, plain + known.shape[1]), np.float32)
        real = np.arange(width) < self.n_galaxies[:, None]
        for channel, name in enumerate(("R_proj", "v_los")):
            out[..., channel][real] = self.galaxy_column(name)
        out[..., 2] = real
        if sky:
            out[..., 3:5][real] = self.sky_positions()
        out[..., plain:] = known[:, None] * real[..., None]
        return out

    # ---- other catalogues from this one -----------------------------------------------------------------------------

    def without_sky(self) -> Self:
        """The same clusters without the positions of galaxies on the sky, of which only the distances remain."""
        return replace(self, clusters=self.clusters.drop_columns(["position_angle"])) if self.has_sky else self

    def select(self, which: Bool[np.ndarray, "cluster"] | Int[np.ndarray, "some"]) -> Self:
        """Keep clusters, by mask or by index (repeats allowed); attempts, and so P(selected | mass), do not change.

        Raises:
            ValueError: A mask has another length than the catalogue.
        """
        which = np.asarray(which)
        rows = np.flatnonzero(which) if which.dtype == bool else which
        if which.dtype == bool and len(which) != len(self):
            raise ValueError(f"a mask of {len(which)} values cannot select from {len(self)} clusters.")
        return self._select_rows(rows)

    def _select_rows(self, which: np.ndarray) -> Self:
        rows = np.flatnonzero(which) if which.dtype == bool else which
        return replace(self, clusters=self.clusters.take(pa.array(rows, pa.int64())))

    def with_min_galaxies(self, minimum: int) -> Self:
        """Raise the richness cut; P(selected | mass) then follows the new cut.

        Raises:
            ValueError: The new cut is lower than the present one, below which no galaxies were kept.
        """
        if minimum < self.observation.min_galaxies:
            now = self.observation.min_galaxies
            raise ValueError(f"cannot lower the richness cut from {now} to {minimum}: poorer clusters were not kept.")
        stricter = replace(self, observation=replace(self.observation, min_galaxies=minimum))
        return stricter._select_rows(self.n_galaxies >= minimum)

    def pure(self) -> Self:
        """Keep the true members only, and apply the richness cut to them.

        Members lie within the Bryan & Norman (1998) virial radius in three dimensions, in the cylinder or not.

        Raises:
            ValueError: The catalogue holds observed clusters, whose members are unknown.
        """
        self._check_membership()
        minimum, passed = self.observation.min_galaxies, pa.array(self._attempted_selected())
        attempts = with_column(self.attempts, "eligible", passed)
        attempts = with_column(attempts, "n_galaxies", attempts["n_members"])
        provenance = replace(self.provenance, sample="members")
        clean = replace(self, clusters=self._galaxies.members_only(), attempts=attempts, provenance=provenance)
        return clean._select_rows(clean.n_galaxies >= minimum)

    def with_galaxies(
        self,
        galaxies: Mapping[str, np.ndarray],
        cluster: Int[np.ndarray, "galaxy"],
        *,
        change: Change | None = None,
        keep_failed: bool = True,
    ) -> Self:
        """Replace the galaxies of the clusters; the richness cut is applied again.

        Args:
            galaxies: `R_proj` [h^-1 Mpc], `v_los` [km/s], where known `position_angle` [rad] and, for mocks, the
                truths, each (galaxy,).
            cluster: Index of each galaxy's cluster, rising.
            change: Entry in the provenance.
            keep_failed: Whether failed attempts are kept. They are dropped in any case after `select`, so that the
                attempts of the result are its own clusters.
        """
        count = np.bincount(cluster, minlength=len(self))
        changed = self.from_arrays(
            self.observation,
            self.cosmology,
            clusters={name: self.column(name) for name in self.columns if name not in GALAXY_TYPES},
            galaxies=galaxies,
            offsets=np.concatenate([[0], np.cumsum(count)]),
            provenance=self.provenance if change is None else self.provenance.changed(change),
        )
        masses, selected = self.attempted()
        if not keep_failed or not np.array_equal(masses[selected], self.log10_mass, equal_nan=True):
            return changed
        failed = self.attempts.filter(pa.array(~selected)).cast(changed.attempts.schema)
        return replace(changed, attempts=pa.concat_tables([changed.attempts, failed]).combine_chunks())

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """Split by host, so that no host halo has lines of sight on both sides.

        Args:
            fraction: Share of the hosts that goes to the first catalogue, in (0, 1).
            seed: Seed of the shuffle.

        Raises:
            ValueError: `fraction` is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction must lie between 0 and 1, got {fraction}.")
        hosts = np.unique(self.attempts["host_id"].to_numpy())
        chosen = np.random.default_rng(seed).permutation(hosts)[: round(fraction * len(hosts))]
        return self._of_hosts(chosen, inside=True), self._of_hosts(chosen, inside=False)

    def _of_hosts(self, hosts: Int[np.ndarray, "host"], *, inside: bool) -> Self:
        rows = np.isin(self.host_id, hosts, invert=not inside)
        attempts = np.isin(self.attempts["host_id"].to_numpy(), hosts, invert=not inside)
        return replace(self._select_rows(rows), attempts=self.attempts.filter(pa.array(attempts)))

    @classmethod
    def concatenate(cls, catalogues: Sequence[Self]) -> Self:
        """Concatenate catalogues of one cosmology, one observation and one sample.

        The result has sky positions if all of them do.

        Raises:
            ValueError: The list is empty, or settings or columns differ.
        """
        if not catalogues:
            raise ValueError("nothing to concatenate: the list of catalogues is empty.")
        if not all(each.has_sky for each in catalogues):
            catalogues = [each.without_sky() for each in catalogues]
        first = catalogues[0]
        for other in catalogues[1:]:
            _check_same_kind(first, other)
        clusters = pa.concat_tables([c.clusters for c in catalogues]).combine_chunks()
        attempts = pa.concat_tables([c.attempts for c in catalogues]).combine_chunks()
        return replace(first, clusters=clusters, attempts=attempts)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns, per cluster and per galaxy."""
        return tuple(self.clusters.column_names)

    # ---- selection --------------------------------------------------------------------------------------------------

    def _attempted_selected(self) -> Bool[np.ndarray, "attempt"]:
        rich = self.attempts["n_galaxies"].to_numpy() >= self.observation.min_galaxies
        return rich & self.attempts["eligible"].to_numpy()

    def attempted(self) -> tuple[Float[np.ndarray, "attempt"], Bool[np.ndarray, "attempt"]]:
        """Log10 mass of every attempted cluster [dex] and whether it passed the cuts: data for P(selected | mass)."""
        return self.attempts["log10_mass"].to_numpy(), self._attempted_selected()

    # ---- files ------------------------------------------------------------------------------------------------------

    def to_parquet(self, path: str | Path) -> None:
        """Write the catalogue to one Parquet file, which appears whole or not at all."""
        parquet.write(as_path(path), self.clusters, self.attempts, self.observation, self.cosmology, self.provenance)

    @classmethod
    def from_parquet(cls, path: str | Path) -> Self:
        """Read a file that `to_parquet` wrote, or a folder that `HaloModel.simulate_to` wrote.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: It is not a catalogue, is damaged, or is a folder whose simulation is not finished.
        """
        path = as_path(path)
        if path.is_dir():
            folder = PartFolder.open(path).whole()
            return cls.concatenate([folder.read(index, cls.from_parquet) for index in range(len(folder.counts))])
        return cls(*parquet.read(path))


def _from_streams(clusters: bytes, attempts: bytes, *facts: Any) -> Catalogue:
    return Catalogue(from_stream(clusters), from_stream(attempts), *facts)


def _check_same_kind(first: Catalogue, other: Catalogue) -> None:
    """Refuse two catalogues that cannot be concatenated."""
    for what in ("observation", "cosmology"):
        if getattr(other, what) != getattr(first, what):
            raise ValueError(f"catalogues differ in their {what}: {getattr(first, what)} and {getattr(other, what)}.")
    if not first.provenance.same_sample(other.provenance):
        raise ValueError("catalogues differ in the simulator's settings; they are of different samples.")
    if other.clusters.schema != first.clusters.schema:
        raise ValueError(f"catalogues differ in their columns: {first.columns} and {other.columns}.")
