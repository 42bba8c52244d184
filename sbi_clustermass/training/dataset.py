"""Datasets for training, kept in the memory of a device or in files that are mapped into memory.

Distances are comoving [h^-1 Mpc], velocities [km/s]. All numbers are float32.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import NamedTuple, Protocol, Self, final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from clustermocks import Catalogue
from clustermocks.io.atomic import unwritable
from sbi_clustermass.embeddings.sky import SKY

_CHUNK = 2000


class RowIndices(NamedTuple):
    """The same row numbers on the CPU and on the device of the training."""

    cpu: Int[Tensor, " picked"]
    device: Int[Tensor, " picked"]

    def on(self, device: torch.device) -> Int[Tensor, " picked"]:
        """Row numbers that index a tensor on this device, without a copy."""
        return self.device if self.device.device == device else self.cpu


@final
@dataclass(frozen=True)
class Storage:
    """Device and folder in which large arrays are allocated.

    Attributes:
        device: Device of the training.
        folder: Folder for files that are mapped into memory; None for the device's memory.
    """

    device: torch.device
    folder: Path | None = None

    def empty(self, *shape: int) -> Float32[Tensor, "..."]:
        """Allocate an array.

        Raises:
            OSError: The disk is too full for the file.
        """
        if self.folder is None or prod(shape) == 0:
            return torch.empty(shape, dtype=torch.float32, device=self.device)
        file = self.folder / f"{secrets.token_hex(8)}.f32"
        _reserve(file, 4 * prod(shape))
        return torch.from_file(str(file), shared=True, size=prod(shape), dtype=torch.float32).reshape(shape)


class Dataset(Protocol):
    """Pairs of parameters and observations.

    Attributes:
        theta: Parameters, (row, theta), on the device of the training.
    """

    @property
    def theta(self) -> Float[Tensor, "row theta"]: ...

    def take(self, rows: RowIndices) -> Tensor:
        """Observations of some rows, (picked, *event), on the device of the training."""
        ...

    def subset(self, rows: Int[Tensor, " some"], storage: Storage) -> "Dataset":
        """Dataset of some rows, whose numbers are on the CPU; what must be copied goes to this storage."""
        ...

    def digest(self) -> str:
        """Checksum of all numbers."""
        ...


@final
@dataclass(frozen=True)
class DenseDataset:
    """Observations, or summaries of them, that have the same shape.

    Attributes:
        theta: Parameters, (row, theta), on the device of the training.
        x: Observations, (row, *event), on the same device, or on the CPU, where they may be a mapped file.
        is_summary: Whether x is the output of the fixed stage of an embedding.
    """

    theta: Float[Tensor, "row theta"]
    x: Float[Tensor, "row *event"]
    is_summary: bool = False

    def take(self, rows: RowIndices) -> Tensor:
        """Observations of some rows, on the device of theta."""
        return self.x[rows.on(self.x.device)].to(self.theta.device)

    def subset(self, rows: Int[Tensor, " some"], storage: Storage) -> Self:
        """Dataset of some rows, in this order, copied to this storage."""
        x, start = storage.empty(len(rows), *self.x.shape[1:]), 0
        for chunk in chunks(self, rows):
            x[start : start + len(chunk.cpu)] = self.x[chunk.on(self.x.device)]
            start += len(chunk.cpu)
        return replace(self, theta=self.theta[rows.to(self.theta.device)], x=x)

    def digest(self) -> str:
        """Checksum of all numbers."""
        return checksum(self.theta, self.x)


@final
@dataclass(frozen=True)
class RaggedDataset:
    """Observations stored as one list of galaxies; a batch is padded to its own richest cluster.

    Attributes:
        theta: Parameters, (row, theta), on the device of the training.
        flat: R_proj, v_los and, where they are taken, positions on the sky, (galaxy, 2 or 4), on the same device, or on
            the CPU, where they may be a mapped file.
        conditions: What is known of each cluster, (row, condition), on the device of `flat`; no columns for nothing.
        first: Index of each row's first galaxy, (row,), on the device of `flat`.
        sign: 1, or -1 for reversed velocities, (row,), on the device of `flat`.
        count: Number of galaxies in each row, (row,), on the device of `flat`.
    """

    theta: Float[Tensor, "row theta"]
    flat: Float[Tensor, "galaxy observed"]
    conditions: Float[Tensor, "row condition"]
    first: Int[Tensor, " row"]
    sign: Float[Tensor, " row"]
    count: Int[Tensor, " row"]

    @cached_property
    def count_cpu(self) -> Int[Tensor, " row"]:
        """Number of galaxies on the CPU, so that the host can choose the width of a batch without a synchronisation."""
        return self.count.cpu()

    def take(self, rows: RowIndices) -> Float[Tensor, "picked galaxy column"]:
        """Observations of some rows: R_proj, v_los, and 1 for a galaxy or 0 for padding, on the device of theta.

        Positions on the sky, if any, and the conditions follow in further columns.
        """
        device = self.flat.device
        at = rows.on(device)
        step = torch.arange(int(self.count_cpu[rows.cpu].max()), device=device)
        real = step < self.count[at][:, None]
        galaxy = (self.first[at][:, None] + step).clamp(max=len(self.flat) - 1)  # beyond the last: padding
        R, v, *sky = self.flat[galaxy].unbind(-1)
        x = torch.stack([R, v * self.sign[at][:, None], torch.ones_like(R), *sky], -1)
        known = self.conditions[at][:, None].expand(-1, len(step), -1)
        return (torch.cat([x, known], -1) * real[..., None]).to(self.theta.device)

    def subset(self, rows: Int[Tensor, " some"], storage: Storage | None = None) -> Self:
        """Dataset of some rows, in this order; the galaxies are shared, not copied."""
        at = rows.to(self.flat.device)
        per_row = {name: getattr(self, name)[at] for name in ("conditions", "first", "sign", "count")}
        return replace(self, theta=self.theta[rows.to(self.theta.device)], **per_row)

    def mirrored(self) -> Self:
        """Append all rows with reversed velocities; the galaxies are shared, not copied."""
        twice = {name: torch.cat([getattr(self, name)] * 2) for name in ("theta", "conditions", "first", "count")}
        return replace(self, sign=torch.cat([self.sign, -self.sign]), **twice)

    def digest(self) -> str:
        """Checksum of all numbers."""
        return checksum(self.theta, self.flat, self.conditions, self.first, self.sign, self.count)


def chunks(dataset: Dataset, rows: Int[Tensor, " some"] | None = None, size: int = _CHUNK) -> Iterator[RowIndices]:
    """Split all rows, or those with the given numbers, into consecutive chunks."""
    numbers = torch.arange(len(dataset.theta)) if rows is None else rows
    for chunk in numbers.split(size):
        yield RowIndices(chunk, chunk.to(dataset.theta.device))


@final
class GalaxyWriter:
    """Writer of a `RaggedDataset`, part by part; with a folder, only one part at a time is held in memory.

    With `sky`, two columns of positions follow R_proj and v_los.
    """

    def __init__(self, storage: Storage, *, sky: bool = False) -> None:
        self.storage, self.observed = storage, 2 + SKY * sky
        self._count: list[np.ndarray] = []
        self._flat: list[np.ndarray] = []
        self._conditions: list[np.ndarray] = []
        self._file = None if storage.folder is None else storage.folder / f"{secrets.token_hex(8)}.f32"

    def append(
        self,
        flat: Float[np.ndarray, "galaxy observed"],
        count: Int[np.ndarray, "cluster"],
        conditions: Float[np.ndarray, "cluster condition"] | None = None,
    ) -> None:
        """Append clusters: R_proj and v_los of all galaxies, and each cluster's number of galaxies and conditions."""
        known = np.zeros((len(count), 0)) if conditions is None else conditions
        self._count.append(np.asarray(count, np.int64))
        self._conditions.append(np.asarray(known, np.float32))
        flat = np.ascontiguousarray(flat, np.float32)
        if self._file is None:
            self._flat.append(flat)
        else:
            try:
                with self._file.open("ab") as file:
                    file.write(flat.tobytes())  # tofile does not report that the disk is full
            except OSError as error:
                raise unwritable(self._file, error) or error from error

    def append_padded(self, x: Float[Tensor, "cluster galaxy column"]) -> None:
        """Append padded clusters."""
        real = x[..., 2] > 0
        galaxies, known = x.tensor_split([self.observed + 1], -1)
        flat = torch.cat([galaxies[..., :2], galaxies[..., 3:]], -1)[real]
        known = known.amax(1)  # the same for all galaxies, and 0 or more
        self.append(flat.cpu().numpy(), real.sum(1).cpu().numpy(), known.cpu().numpy())

    def finish(self, theta: Float[Tensor, "row theta"]) -> RaggedDataset:
        """Return the dataset of all clusters, with these parameters."""
        count = torch.from_numpy(np.concatenate(self._count))
        total, device = int(count.sum()), self.storage.device
        if self._file is None or total == 0:
            flat = torch.from_numpy(np.concatenate([np.zeros((0, self.observed), np.float32), *self._flat])).to(device)
        else:
            size = self.observed * total
            flat = torch.from_file(str(self._file), shared=False, size=size, dtype=torch.float32)
            flat = flat.reshape(-1, self.observed)
        first = (count.cumsum(0) - count).to(flat.device)
        known = torch.from_numpy(np.concatenate(self._conditions)).to(flat.device)
        sign = flat.new_ones(len(count))
        return RaggedDataset(theta.to(device), flat, known, first, sign, count.to(flat.device))


def as_tensors(
    catalogue: Catalogue, *, sky: bool = False, conditions: bool = False, cosmology: bool = False
) -> tuple[Float[Tensor, "cluster 1"], Float[Tensor, "cluster galaxy column"]]:
    """Masses and galaxies of a catalogue as sbi expects them: float32, padded to the richest cluster.

    With `sky`, the position of each galaxy follows in two further columns; with `conditions`, what is known of each
    cluster, and with `cosmology` also of its universe (`Catalogue.padded`).
    """
    theta = torch.from_numpy(catalogue.log10_mass.astype(np.float32))[:, None]
    return theta, torch.from_numpy(catalogue.padded(sky=sky, conditions=conditions, cosmology=cosmology))


def _reserve(file: Path, size: int) -> None:
    """Reserve the space on the disk: a write into a mapped file on a full disk kills the process without a message."""
    try:
        with file.open("wb") as opened:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(opened.fileno(), 0, size)
    except OSError as error:
        raise unwritable(file, error) or error from error


def checksum(*tensors: Tensor) -> str:
    """Checksum of the numbers, shapes and types of some dense tensors."""
    found = blake2b(digest_size=16)
    for tensor in tensors:
        found.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        for part in tensor.detach().flatten().split(1 << 24):
            plain = part.cpu().resolve_conj().resolve_neg().contiguous()
            found.update(plain.view(torch.uint8).numpy().tobytes())  # numpy lacks some types
    return found.hexdigest()
