"""Galaxies counted in bins of projected phase space, in units of the radius and the velocity of a mass.

Distances are comoving [h^-1 Mpc], velocities [km/s], masses M200c [h^-1 Msun].
"""

from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sbi_clustermass.embeddings.conditions import AT_MASS, CONDITIONED, COSMOLOGICAL, PLAIN, Conditions, cosmology_of
from sbi_clustermass.embeddings.galaxies import (
    GROUP,
    FixedPlaces,
    by_richness,
    check_galaxies,
    log10_richness,
    read_galaxies,
)

RADIUS, SPEED = 0.812, 769.0  # r200c [h^-1 Mpc] and V200 [km/s] at 10^14 and z = 0.117, used as units only
R_NODES = (0.0, 0.08, 0.17, 0.3, 0.5, 0.75, 1.0, 1.15, 1.25, 1.3, 1.4, 1.7, 2.2, 4.0)  # [r200c]
V_NODES = (0.0, 0.3, 0.6, 0.95, 1.35, 1.8, 2.3, 5.0)  # [V200]
R_NODES_WIDE = (0.0, 0.08, 0.17, 0.3, 0.5, 0.75, 1.0, 1.35, 1.8, 2.5, 4.0, 7.0)  # [r200c]
V_NODES_WIDE = (0.0, 0.3, 0.6, 0.95, 1.35, 1.8, 2.4, 3.4, 5.5, 10.0)  # [V200]
FARTHEST_NODES = (
    *(0.0, 0.6, 0.9, 1.05, 1.15, 1.2, 1.24),
    *(1.26, 1.27, 1.275, 1.28, 1.285, 1.29, 1.295, 1.3, 1.305, 1.31, 1.32, 1.33),  # members end at R_vir, 1.29 r200c
    *(1.35, 1.38, 1.42, 1.5, 1.7, 2.2, 4.0),
)  # [r200c]
IN_UNITS = 5  # conditions in units of a trial, without a cosmology
_SLOTS = 20_000  # galaxies, padding and trial masses counted together, whose temporaries stay in the cache
_LEAST = 0.02  # of the radius and velocity of a mass of 10^14, for a logarithm


@final
class ScaledCounts(FixedPlaces):
    """Galaxies in bins of R / r200c and |v| / V200 of each trial mass; with `edge` also the farthest, of R / r200c.

    (batch, galaxy, column) -> (batch, trial, bin), the farthest's bins last; conditions in units of each trial follow.
    """

    R_nodes: Tensor
    farthest: Tensor
    v_nodes: Tensor
    scale: Tensor

    def __init__(
        self, log10_mass: Float[np.ndarray, "trial"], *, edge: bool, conditions: bool, cosmology: bool = False
    ) -> None:
        super().__init__()
        self.edge, self.conditions = edge, conditions
        self.columns = COSMOLOGICAL if cosmology else CONDITIONED if conditions else PLAIN
        scale = 10 ** ((np.asarray(log10_mass) - 14) / 3)
        R_nodes, v_nodes = bin_nodes(conditions=conditions)
        parts = {"R_nodes": R_nodes, "v_nodes": v_nodes, "farthest": FARTHEST_NODES, "scale": scale}
        for name, values in parts.items():
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32), persistent=False)

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch trial bin"]:
        """Counts, whose sum for each trial is the number of galaxies; the farthest galaxy's bins sum to 1.

        They have the type of x, and are computed in float32 at least.
        """
        check_galaxies("TrialMasses", x, self.columns)
        exact = x.to(torch.promote_types(x.dtype, self.scale.dtype))
        return by_richness(self._count, exact, max(GROUP, _SLOTS // max(x.shape[1] * len(self.scale), 1))).to(x.dtype)

    def _count(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch trial bin"]:
        galaxies = read_galaxies("TrialMasses", x[..., :PLAIN])
        scale, here = self.scale[:, None], galaxies.is_galaxy[:, None].to(x.dtype)
        known = Conditions.of(x) if self.conditions else None
        r, u = galaxies.R / RADIUS, galaxies.v.abs() / SPEED
        if known is not None:
            r_unit, u_unit = known.units()
            r, u = r / r_unit[:, None], u / u_unit[:, None]
        columns = len(self.v_nodes)
        places_R, places_v = (
            _places(part[:, None] / scale, nodes) for part, nodes in ((r, self.R_nodes), (u, self.v_nodes))
        )
        counts = x.new_zeros(len(x), len(scale), len(self.R_nodes) * columns)
        for row, share in places_R:
            for column, other in places_v:
                counts.scatter_add_(2, row * columns + column, share * other * here)
        parts = [counts]
        if self.edge:
            farthest = x.new_zeros(len(x), len(scale), len(FARTHEST_NODES))
            for node, share in _places(r.amax(1)[:, None, None] / scale, self.farthest):
                farthest.scatter_add_(2, node, share)
            parts.append(farthest)
        if known is not None:
            parts.append(self._in_units(known, r.amax(1), u.amax(1)))
            parts.append(cosmology_of(x)[:, None].expand(-1, len(scale), -1))
        return torch.cat(parts, -1)

    def _in_units(
        self, known: Conditions, end: Float[Tensor, " batch"], fastest: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch trial condition"]:
        """Logs of where galaxies end, errors in units of each trial, and what is the same for all trials."""
        error = known.velocity_error / SPEED / known.units()[1]
        of_trial = [
            (end.clamp(min=_LEAST)[:, None] / self.scale).log(),
            (fastest.clamp(min=_LEAST)[:, None] / self.scale).log(),
            error[:, None] / self.scale,
        ]
        same = [(1 + known.redshift).log(), known.cleaned]
        return torch.stack([*of_trial, *(each[:, None].expand_as(of_trial[0]) for each in same)], -1)


@final
class CountShares(nn.Module):
    """Shares of the galaxies in bins of R / r200c and |v| / V200 of one mass: (batch, galaxy, column) -> features.

    Galaxies are in units of a cluster of 10^14.3 (`conditions.AtMass`). The shares are followed by log10 N, if richness
    counts, and with conditions by where galaxies end, errors in units of V200, redshift and cleaning. No weights.
    """

    even = True  # in velocity

    def __init__(self, *, richness: bool, conditions: bool) -> None:
        super().__init__()
        self.richness = richness
        self.counts = ScaledCounts(np.array([AT_MASS]), edge=False, conditions=conditions)
        self.bins = len(self.counts.R_nodes) * len(self.counts.v_nodes)

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch feature"]:
        """Features of each cluster; the shares sum to 1."""
        counts, known = self.counts(x)[:, 0].tensor_split([self.bins], 1)
        number = [log10_richness(x)] if self.richness else []
        return torch.cat([counts / counts.sum(1, keepdim=True).clamp(min=1), *number, known], 1)


def _places(
    values: Float[Tensor, "*batch"], nodes: Float[Tensor, " node"]
) -> tuple[tuple[Int[Tensor, "*batch"], Float[Tensor, "*batch"]], ...]:
    """The two neighbouring nodes of each value and their shares of it; beyond the ends the last node has the whole."""
    nodes = nodes.to(values.dtype)
    left = torch.searchsorted(nodes, values.contiguous(), right=True).sub_(1).clamp_(0, len(nodes) - 2)
    right_share = ((values - nodes[left]) / nodes.diff()[left]).clamp(0, 1)
    return (left, 1 - right_share), (left + 1, right_share)


def bin_nodes(*, conditions: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes of R / r200c and of |v| / V200."""
    return (R_NODES_WIDE, V_NODES_WIDE) if conditions else (R_NODES, V_NODES)
