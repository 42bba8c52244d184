"""What a membership network sees: galaxies in units of a mass, the density about each, and their cluster.

Distances are comoving [h^-1 Mpc], velocities [km/s], masses M200c [h^-1 Msun] as log10_mass [dex].
"""

from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sbi_clustermass.embeddings.conditions import AtMass, Conditions
from sbi_clustermass.embeddings.scaled_counts import IN_UNITS, RADIUS, SPEED, CountShares

GALAXY_INPUTS = 9
_WIDTHS = 0.4, 0.5  # standard deviations of the wide kernel [r200c, V200]; those of the narrow one are half
_FARTHEST, _FASTEST = 6.0, 8.0  # [r200c, V200]; beyond, all are alike
_PAIRS = 1_000_000  # of galaxies at once: some 20 MB
_TYPICAL = 30.0  # number of galaxies to which densities are scaled if richness must not count


class Features(NamedTuple):
    """Features of clusters, of their galaxies one after another, and the index of each galaxy's cluster."""

    clusters: Float[Tensor, "cluster feature"]
    galaxies: Float[Tensor, "galaxy input"]
    cluster: Int[Tensor, " galaxy"]


@final
class MembershipFeatures(nn.Module):
    """Features of galaxies if their cluster had a given mass; no weights.

    Clusters: shares of the galaxies in bins of R / r200c and |v| / V200, log10 N if richness counts, conditions if the
    estimator takes them, and the mass. Galaxies: R / r200c, |v| / V200, and the density of the cluster's other galaxies
    about it, by two kernels, on its side of the mean velocity and on the other. All are the same for -v.
    """

    def __init__(self, *, richness: bool, conditions: bool) -> None:
        super().__init__()
        self.richness, self.conditions = richness, conditions
        shares = CountShares(richness=richness, conditions=conditions)
        self.clusters = AtMass(shares)
        self.width = shares.bins + richness + IN_UNITS * conditions + 1

    @torch.no_grad()
    def forward(self, x: Float[Tensor, "cluster galaxy column"], log10_mass: Float[Tensor, " cluster"]) -> Features:
        """Compute the features of padded clusters, each of one mass."""
        with_mass = torch.cat([x, log10_mass[:, None, None].expand(-1, x.shape[1], 1)], -1)
        unit, is_galaxy = 10 ** ((log10_mass - 14) / 3), x[..., 2] > 0
        r_unit, u_unit = Conditions.of(x).units() if self.conditions else (1.0, 1.0)
        r, u = x[..., 0] / (RADIUS * unit * r_unit)[:, None], x[..., 1] / (SPEED * unit * u_unit)[:, None]
        around = densities(r, u, is_galaxy)
        if not self.richness:
            around = around * (_TYPICAL / is_galaxy.sum(1).clamp(min=1).to(around))[:, None, None]
        r, u = r.clamp(max=_FARTHEST), u.abs().clamp(max=_FASTEST)
        of_galaxy = [(r + 0.02).log(), r / 2, (u + 0.05).log(), u / 2, (-u.square()).exp()]
        galaxies = torch.cat([torch.stack(of_galaxy, -1), (around + 0.05).log()], -1)
        return Features(self.clusters(with_mass), galaxies[is_galaxy], is_galaxy.nonzero()[:, 0])


def densities(
    r: Float[Tensor, "cluster galaxy"], u: Float[Tensor, "cluster galaxy"], is_galaxy: Tensor
) -> Float[Tensor, "cluster galaxy 4"]:
    """Numbers of other galaxies within kernels about each: wide and narrow, about its velocity and about minus that."""
    block, parts = max(_PAIRS // max(r.numel(), 1), 1), []
    for start in range(0, r.shape[1], block):
        rows = slice(start, start + block)
        across = ((r[:, rows, None] - r[:, None]) / _WIDTHS[0]).square()
        about = []
        for sign in (1, -1):
            along = ((u[:, rows, None] - sign * u[:, None]) / _WIDTHS[1]).square()
            wide = (-0.5 * (across + along)).exp() * is_galaxy[:, None]
            about += [wide, wide.square().square()]
        parts.append(torch.stack([each.sum(-1) for each in about], -1))
    itself = torch.ones_like(r), (-2 * (u / _WIDTHS[1]).square()).exp()
    own = torch.stack([itself[0], itself[0], itself[1], itself[1] ** 4], -1)
    return (torch.cat(parts, 1) - own).clamp(min=0) * is_galaxy[..., None]
