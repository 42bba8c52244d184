"""Volume of a survey, in one piece or in shells of redshift.

Volumes are comoving [h^-3 Mpc^3], so that in flat LCDM they depend on Om alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import pi
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import ndtr
from torch import Tensor

from clustermocks import Cosmology
from clustermocks.haloes.cosmology import MDPL2, SPEED_OF_LIGHT
from sbi_clustermass.population.expansion import equation_of_state, squared_rate
from sbi_clustermass.population.parameters import Parameters
from sbi_clustermass.population.sample_variance import Cap

_SKY = 4 * pi * (180 / pi) ** 2  # [deg^2]
_LARGEST_ERROR = 0.2
_MARGIN = 4.0  # redshift errors in front of and behind a survey from which clusters scatter into it
_PARTS = 16  # of a shell, in each of which volume per redshift is constant
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


@final
@dataclass(frozen=True)
class Shell:
    """Part of a survey in which the mass function and the selection are those of one redshift.

    Attributes:
        redshift: Redshift of its clusters [1].
        volume: Volume [h^-3 Mpc^3], in the cosmology that the survey assumes.
        low: Lowest redshift [1]; equal to `high` for a given volume that no cosmology changes.
        high: Highest redshift [1].
        area: Area on the sky [deg^2].
        offsets: Offset of the mean of an observable here, by name: how much deeper the field is than the average.
    """

    redshift: float
    volume: float
    low: float = 0.0
    high: float = 0.0
    area: float = 0.0
    offsets: dict[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class Survey:
    """Shells in which a survey looks for clusters.

    Attributes:
        shells: Parts of the survey.
        cosmology: Cosmology in which redshifts were converted to volumes; a model with its own `Om0` changes them.
        sample_variance: Whether the density in a shell differs from the mean of the universe as that of a part of the
            sky does. It does not in a periodic box, or in mocks drawn from a mass function.
        redshift_error: Standard deviation of the clusters' redshifts over 1 + z [1]; shells are of true redshifts.
        observed: Lowest and highest observed redshift of a survey whose redshifts have errors.

    Raises:
        ValueError: There are no shells, a volume is not positive and finite, or a redshift negative or not finite.
    """

    shells: tuple[Shell, ...]
    cosmology: Cosmology = MDPL2
    sample_variance: bool = True
    redshift_error: float = 0.0
    observed: tuple[float, float] = (0.0, np.inf)

    def __post_init__(self) -> None:
        volumes = [shell.volume for shell in self.shells]
        if not volumes or not all(0 < volume < np.inf for volume in volumes):
            raise ValueError(f"survey: every shell needs a positive finite volume [h^-3 Mpc^3], found {volumes}.")
        if not all(0 <= shell.redshift < np.inf for shell in self.shells):
            raise ValueError(f"survey: every shell needs a redshift of at least 0, found {self.redshift.tolist()}.")

    @classmethod
    def of_volume(cls, volume: float, *, redshift: float = 0.117, sample_variance: bool = True) -> Self:
        """Make a survey of a volume [h^-3 Mpc^3] at one redshift in any cosmology, such as a simulation box.

        Raises:
            ValueError: The volume is not positive and finite.
        """
        return cls((Shell(redshift, float(volume)),), sample_variance=sample_variance)

    @classmethod
    def of_sky(
        cls,
        area: float,
        redshifts: Sequence[float],
        *,
        cosmology: Cosmology = MDPL2,
        offsets: dict[str, float] | None = None,
        sample_variance: bool = True,
        redshift_error: float = 0.0,
    ) -> Self:
        """Make shells between increasing redshifts on a part of the sky.

        Mass function and selection are those of one redshift in a shell: a fit of evolution needs widths of .1 or less.
        With redshift errors take widths of up to two errors: at .05, errors of .03 leave 1 % in the number of the
        outermost shells, at .1 2 to 4 %.

        Args:
            area: Area [deg^2].
            redshifts: Edges of the shells, one more than there are shells.
            cosmology: Cosmology in which volumes are computed.
            offsets: Offsets of observables in this part of the sky, as in `Shell`.
            sample_variance: Whether the density in a shell differs from the mean of the universe.
            redshift_error: Standard deviation of the clusters' redshifts over 1 + z [1]: of photometric ones. Clusters
                are selected by their observed redshift, between the first and the last edge; shells of four errors
                each are added in front and behind, out of which they may scatter.

        Raises:
            ValueError: The area is no part of the sky, the edges do not rise from 0, or the error is not between 0 and
                .2.
        """
        edges = np.asarray(redshifts, float)
        if not 0 < area <= _SKY:
            raise ValueError(f"survey: area must be positive and at most {_SKY:.0f} deg^2, got {area}.")
        rising = edges.ndim == 1 and len(edges) > 1 and np.isfinite(edges).all() and np.all(np.diff(edges) > 0)
        if not (rising and edges[0] >= 0):
            raise ValueError(f"survey: redshifts are two or more edges of shells that rise from 0, got {redshifts}.")
        if not 0 <= redshift_error < _LARGEST_ERROR:
            raise ValueError(f"survey: redshift_error must lie between 0 and {_LARGEST_ERROR}, found {redshift_error}.")
        observed = cls.observed
        if redshift_error:
            observed = float(edges[0]), float(edges[-1])
            margin = _MARGIN * redshift_error * (1 + edges[[0, -1]])
            edges = np.unique([max(edges[0] - margin[0], 0.0), *edges, edges[-1] + margin[1]])
        cubes = cosmology.comoving_distance(edges) ** 3
        volumes = 4 * pi / 3 * area / _SKY * np.diff(cubes)
        centres = _mean_redshift(edges, cosmology, redshift_error, observed)
        rows = np.column_stack([centres, volumes, edges[:-1], edges[1:]]).tolist()
        shells = tuple(Shell(*row, area=area, offsets=offsets or {}) for row in rows)
        return cls(shells, cosmology, sample_variance, redshift_error, observed)

    @classmethod
    def joined(cls, *parts: Self) -> Self:
        """Join several parts of the sky to one survey.

        Raises:
            ValueError: There are no parts, or they differ in more than their shells.
        """
        if not parts:
            raise ValueError("survey: there are no parts to join.")
        shared = ("cosmology", "sample_variance", "redshift_error", "observed")
        found = {name: {getattr(part, name) for part in parts} for name in shared}
        for name, values in found.items():
            if len(values) > 1:
                raise ValueError(f"survey: parts that are joined must have one {name}, found {values}.")
        return replace(parts[0], shells=sum((part.shells for part in parts), ()))

    def __len__(self) -> int:
        return len(self.shells)

    @property
    def redshift(self) -> Float[np.ndarray, "shell"]:
        """Redshift of each shell [1]."""
        return np.array([shell.redshift for shell in self.shells])

    def offset(self, observable: str) -> Float[np.ndarray, "shell"]:
        """Offset of the mean of an observable in each shell; 0 by default."""
        return np.array([shell.offsets.get(observable, 0.0) for shell in self.shells])

    def places(self) -> tuple[tuple[Cap, ...], Int[np.ndarray, "shell"]]:
        """Different parts of space, and the number of that of each shell: shells of the same redshifts share one.

        A given volume is taken as a sphere.
        """
        ends = [(shell.low, shell.high) if shell.high > shell.low else i for i, shell in enumerate(self.shells)]
        different = list(dict.fromkeys(ends))
        number = np.array([different.index(one) for one in ends])
        found = []
        for i in range(len(different)):
            shells = [shell for shell, place in zip(self.shells, number, strict=True) if place == i]
            area = sum(shell.area for shell in shells) / _SKY * 4 * pi
            low, high = self.cosmology.comoving_distance([shells[0].low, shells[0].high])
            if not area:
                area, low, high = 4 * pi, 0.0, (3 * shells[0].volume / (4 * pi)) ** (1 / 3)
            found.append(Cap(float(low), float(high), area, shells[0].redshift))
        return tuple(found), number

    def place(self, redshift: Float[np.ndarray, "cluster"] | None, n: int) -> Int[np.ndarray, "cluster"]:
        """Number of the shell of each cluster, the first one if several parts of the sky have the same redshifts.

        Such shells differ in area, which multiplies a cluster's likelihood by a constant, and in offsets, which the
        cluster's own observable carries.

        Raises:
            ValueError: Redshifts are missing, or lie in no shell, or in several that differ in their redshifts.
        """
        if redshift is None:
            if len(self) > 1:
                raise ValueError(f"survey: {len(self)} shells need the clusters' redshifts, and there are none.")
            return np.zeros(n, int)
        if len(self) == 1 and self.shells[0].low == self.shells[0].high:
            return np.zeros(n, int)
        self._refuse_outside(redshift)
        ends = [(shell.low, shell.high) for shell in self.shells]
        inside = np.array(
            [
                (redshift >= low) & (redshift < high) & counts
                for (low, high), counts in zip(ends, self._is_first_of_its_redshifts, strict=True)
            ]
        )
        number = inside.sum(axis=0)
        bad = np.flatnonzero(number != 1)
        if bad.size:
            raise ValueError(
                f"survey: {bad.size} of {n} clusters lie in no shell or in several; the first, at redshift "
                f"{redshift[bad[0]]}, lies in {number[bad[0]]} of {len(self)} shells, which reach from redshift "
                f"{min(ends)[0]:g} to {max(high for _, high in ends):g}.\n"
                "  try:    leave out the clusters beyond the survey, or give overlapping parts the same edges"
            )
        return inside.argmax(axis=0)

    def _refuse_outside(self, redshift: Float[np.ndarray, "cluster"]) -> None:
        low, high = self.observed
        outside = np.flatnonzero((redshift < low) | (redshift >= high))
        if outside.size:
            raise ValueError(
                f"survey: {outside.size} of {len(redshift)} clusters lie outside its redshifts, {low} to {high}, the "
                f"first at {redshift[outside[0]]}. Leave them out."
            )

    @property
    def _is_first_of_its_redshifts(self) -> Bool[np.ndarray, "shell"]:
        ends = [(shell.low, shell.high) for shell in self.shells]
        return np.array([ends.index(one) == i for i, one in enumerate(ends)])

    def log_kernel(self, redshift: Float[np.ndarray, "cluster"]) -> Float[np.ndarray, "cluster shell"]:
        """Natural log of p(observed redshift | shell), for haloes spread over the volume of the shell.

        Of several parts of the sky with the same redshifts only the first counts, as in `place`.
        """
        low, high, share = self._parts_of_shells()
        error = self.redshift_error * (1 + 0.5 * (low + high))
        z = redshift[:, None, None]
        density = (ndtr((high - z) / error) - ndtr((low - z) / error)) / (high - low)
        with np.errstate(divide="ignore"):
            return np.where(self._is_first_of_its_redshifts, np.log((share * density).sum(-1)), -np.inf)

    @cached_property
    def mixing(self) -> Float[np.ndarray, "observed shell"]:
        """Share of the haloes of each shell that are observed at the redshifts of another of the same area [1]."""
        if not self.redshift_error:
            return np.eye(len(self))
        low, high, share = self._parts_of_shells()
        z = 0.5 * (low + high)
        first, last = (np.array([getattr(shell, end) for shell in self.shells]) for end in ("low", "high"))
        patch = np.cumsum([0, *(first[1:] < last[:-1])])
        inside = (first >= self.observed[0]) & (last <= self.observed[1]) & (patch[:, None] == patch).T
        below = ndtr((np.stack([first, last])[:, :, None, None] - z) / (self.redshift_error * (1 + z)))
        return inside.T * (share * (below[1] - below[0])).sum(-1)

    def _parts_of_shells(self) -> tuple[Float[np.ndarray, "shell part"], ...]:
        """Lowest and highest redshift of equal parts of each shell, and their shares of its volume."""
        edges = np.stack([np.linspace(shell.low, shell.high, _PARTS + 1) for shell in self.shells])
        volume = np.diff(self.cosmology.comoving_distance(edges) ** 3)
        return edges[:, :-1], edges[:, 1:], volume / volume.sum(-1, keepdims=True)

    def log_volumes(self, parameters: Parameters) -> Float[Tensor, "*draw shell"]:
        """Natural log of the shells' volumes [h^-3 Mpc^3], with Om0 and w of `parameters` if they are there."""
        given = torch.tensor([shell.volume for shell in self.shells], dtype=torch.float64).log()
        if "Om0" not in parameters:
            return given
        edges = torch.tensor([[shell.low, shell.high] for shell in self.shells], dtype=torch.float64)
        Om0, w = (part[..., None, None] for part in (parameters["Om0"], equation_of_state(parameters)))
        distance = _comoving_distance(edges, Om0, w)
        area = torch.tensor([shell.area for shell in self.shells], dtype=torch.float64)
        cubes = distance[..., 1] ** 3 - distance[..., 0] ** 3
        fixed = edges[:, 0] == edges[:, 1]  # a given volume
        return torch.where(fixed, given, torch.log(4 * pi / 3 * area / _SKY * torch.where(fixed, 1.0, cubes)))


def _comoving_distance(redshift: Float[Tensor, "*batch"], Om0: Tensor, w: Tensor) -> Float[Tensor, "*batch"]:
    """Comoving distance [h^-1 Mpc] in a flat universe, by 12 Gauss-Legendre nodes: precise to 1e-9 up to redshift 2."""
    nodes, weights = (torch.as_tensor(part) for part in ((_NODES + 1) / 2, _WEIGHTS / 2))
    z = redshift[..., None] * nodes
    rate = squared_rate(z, Om0[..., None], w[..., None]).sqrt()
    return SPEED_OF_LIGHT / 100 * redshift * (weights / rate).sum(-1)


def _mean_redshift(
    edges: Float[np.ndarray, "edge"], cosmology: Cosmology, error: float, observed: tuple[float, float]
) -> Float[np.ndarray, "shell"]:
    """Mean redshift of the volume of each shell, of those parts that are observed within the survey."""
    low, high = edges[:-1, None], edges[1:, None]
    z = low + (high - low) * (_NODES + 1) / 2
    weight = cosmology.comoving_distance(z) ** 2 / cosmology.hubble(z) * _WEIGHTS
    if error:
        below = [ndtr((end - z) / (error * (1 + z))) for end in observed]
        weight = weight * (below[1] - below[0])
    return (weight * z).sum(axis=1) / weight.sum(axis=1)
