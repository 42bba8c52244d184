"""Clusters by row number, wherever they are kept: in the device's memory, or in a file mapped into memory.

Distances are comoving [h^-1 Mpc], velocities [km/s]. All numbers are float32.
"""

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from math import prod
from pathlib import Path
from typing import NamedTuple, Protocol, Self, final

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from clustermocks.io.atomic import unwritable

CHUNK = 2000


class Picked(NamedTuple):
    """The same row numbers on the CPU and on the device of the training."""

    here: Int[Tensor, " picked"]
    there: Int[Tensor, " picked"]

    def on(self, device: torch.device) -> Int[Tensor, " picked"]:
        """Those that index a tensor on this device, without a copy."""
        return self.there if self.there.device == device else self.here


class Rows(Protocol):
    """Pairs of parameters and observations.

    Attributes:
        theta: Parameters, (row, theta), on the device of the training.
    """

    @property
    def theta(self) -> Float[Tensor, "row theta"]: ...

    def take(self, picked: Picked) -> Tensor:
        """Observations of some rows, (picked, *event), on the device of the training."""
        ...

    def among(self, rows: Int[Tensor, " some"], place: "Place") -> "Rows":
        """Some rows, by their numbers on the CPU; what must be copied goes to this place."""
        ...

    def digest(self) -> str:
        """A checksum of everything."""
        ...


@final
@dataclass(frozen=True)
class Table:
    """Observations, or summaries of them, all of one shape.

    Attributes:
        theta: Parameters, (row, theta), on the device of the training.
        x: (row, *event), on the same device, or on the CPU, where it may be a mapped file.
        is_summary: Whether x went through the fixed stage of an embedding.
    """

    theta: Float[Tensor, "row theta"]
    x: Float[Tensor, "row *event"]
    is_summary: bool = False

    def take(self, picked: Picked) -> Tensor:
        """Observations of some rows, on the device of theta."""
        return self.x[picked.on(self.x.device)].to(self.theta.device)

    def among(self, rows: Int[Tensor, " some"], place: "Place") -> Self:
        """Some rows, in order, copied to this place."""
        x, start = place.empty(len(rows), *self.x.shape[1:]), 0
        for picked in parts(self, rows):
            x[start : start + len(picked.here)] = self.x[picked.on(self.x.device)]
            start += len(picked.here)
        return replace(self, theta=self.theta[rows.to(self.theta.device)], x=x)

    def digest(self) -> str:
        """A checksum of everything."""
        return _digest(self.theta, self.x)


@final
@dataclass(frozen=True)
class Galaxies:
    """Observations as galaxies on end; a batch is padded to its own richest cluster.

    Attributes:
        theta: Parameters, (row, theta), on the device of the training.
        flat: R_proj and v_los, (galaxy, 2), on the same device, or on the CPU, where it may be a mapped file.
        first: Number of each row's first galaxy, (row,), on the device of `flat`.
        sign: 1, or -1 where velocities are reversed, (row,), on the device of `flat`.
        count: Galaxies of each row, (row,), on the CPU: the host chooses widths and must not wait for the device.
        count_there: The same on the device of `flat`: to send them over with every batch would wait for it, too.
    """

    theta: Float[Tensor, "row theta"]
    flat: Float[Tensor, "galaxy 2"]
    first: Int[Tensor, " row"]
    sign: Float[Tensor, " row"]
    count: Int[Tensor, " row"]
    count_there: Int[Tensor, " row"]

    def take(self, picked: Picked) -> Float[Tensor, "picked galaxy 3"]:
        """Some rows: R_proj, v_los and 1 for a galaxy or 0 for padding, on the device of theta."""
        device = self.flat.device
        at = picked.on(device)
        step = torch.arange(int(self.count[picked.here].max()), device=device)
        real = step < self.count_there[at][:, None]
        galaxy = (self.first[at][:, None] + step).clamp(max=len(self.flat) - 1)  # beyond the last: padding
        R, v = self.flat[galaxy].unbind(-1)
        x = torch.stack([R, v * self.sign[at][:, None], torch.ones_like(R)], -1) * real[..., None]
        return x.to(self.theta.device)

    def among(self, rows: Int[Tensor, " some"], place: "Place | None" = None) -> Self:
        """Some rows, in order; the galaxies are shared and nothing is copied."""
        at, there = rows.to(self.flat.device), rows.to(self.theta.device)
        parts = {name: getattr(self, name)[at] for name in ("first", "sign", "count_there")}
        return replace(self, theta=self.theta[there], count=self.count[rows], **parts)

    def mirrored(self) -> Self:
        """All rows, and then all rows with velocities reversed; the galaxies are shared."""
        twice = {name: torch.cat([getattr(self, name)] * 2) for name in ("theta", "first", "count", "count_there")}
        return replace(self, sign=torch.cat([self.sign, -self.sign]), **twice)

    def digest(self) -> str:
        """A checksum of everything."""
        return _digest(self.theta, self.flat, self.first, self.sign, self.count)


def parts(rows: Rows, among: Int[Tensor, " some"] | None = None, chunk: int = CHUNK) -> Iterator[Picked]:
    """All rows in order, or those with the given numbers, so many at a time."""
    numbers = torch.arange(len(rows.theta)) if among is None else among
    for here in numbers.split(chunk):
        yield Picked(here, here.to(rows.theta.device))


@final
@dataclass(frozen=True)
class Place:
    """Where large arrays go.

    Attributes:
        device: The device of the training.
        folder: A folder for files to map into memory; None for the device's memory.
    """

    device: torch.device
    folder: Path | None = None

    def empty(self, *shape: int) -> Float32[Tensor, "..."]:
        """Room for numbers.

        Raises:
            OSError: There is no room for the file.
        """
        if self.folder is None or prod(shape) == 0:
            return torch.empty(shape, device=self.device)
        file = self.folder / f"{secrets.token_hex(8)}.f32"
        _reserve(file, 4 * prod(shape))
        return torch.from_file(str(file), shared=True, size=prod(shape), dtype=torch.float32).reshape(shape)


@final
class GalaxyWriter:
    """Puts galaxies on end, part by part; into a file where the place has a folder, holding one part at a time."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._count: list[np.ndarray] = []
        self._flat: list[np.ndarray] = []
        self._file = None if place.folder is None else place.folder / f"{secrets.token_hex(8)}.f32"

    def append(self, flat: Float[np.ndarray, "galaxy 2"], count: Int[np.ndarray, "cluster"]) -> None:
        """Add clusters: R_proj and v_los of all their galaxies, and how many belong to each."""
        self._count.append(np.asarray(count, np.int64))
        flat = np.ascontiguousarray(flat, np.float32)
        if self._file is None:
            self._flat.append(flat)
        else:
            try:
                with self._file.open("ab") as file:
                    file.write(flat.tobytes())  # tofile would not say that the disk is full
            except OSError as error:
                raise unwritable(self._file, error) or error from error

    def finish(self, theta: Float[Tensor, "row theta"]) -> Galaxies:
        """All clusters added, with their parameters."""
        count = torch.from_numpy(np.concatenate(self._count))
        total, place = int(count.sum()), self.place
        if self._file is None or total == 0:
            flat = torch.from_numpy(np.concatenate([np.zeros((0, 2), np.float32), *self._flat])).to(place.device)
        else:
            flat = torch.from_file(str(self._file), shared=False, size=2 * total, dtype=torch.float32).reshape(-1, 2)
        first = (count.cumsum(0) - count).to(flat.device)
        sign = torch.ones(len(count), device=flat.device)
        return Galaxies(theta.to(place.device), flat, first, sign, count, count.to(flat.device))


def _reserve(file: Path, size: int) -> None:
    """Take the room on the disk now: to write into a mapped file that finds none ends the process, without a word."""
    try:
        with file.open("wb") as opened:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(opened.fileno(), 0, size)
    except OSError as error:
        raise unwritable(file, error) or error from error


def _digest(*tensors: Tensor) -> str:
    found = blake2b(digest_size=16)
    for tensor in tensors:
        found.update(str(tuple(tensor.shape)).encode())
        for part in tensor.flatten().split(1 << 24):
            found.update(part.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
