"""Conditions of an observation: columns behind R_proj, v_los and the flag, the same for all galaxies of a cluster.

A network that takes the sky has the two columns of positions between the flag and them (`embeddings.sky`).

They are `clustermocks.catalogue.schema.CONDITIONS`, given by `Catalogue.conditions`. A network of masses in any
cosmology takes Om0 and sigma8 behind them, and one of other parameters the mass as one more column, the last.
Distances are comoving [h^-1 Mpc], velocities [km/s], masses M200c [h^-1 Msun] as log10_mass [dex].
"""

from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clustermocks.catalogue.schema import CONDITIONS, COSMOLOGY
from clustermocks.haloes.cosmology import MDPL2
from clustermocks.observation import Observation
from sbi_clustermass.embeddings.sky import SKY, takes_sky

PLAIN = 3
CONDITIONED = PLAIN + len(CONDITIONS)
COSMOLOGICAL = CONDITIONED + len(COSMOLOGY)
AT_MASS = 14.3  # log10 mass of the cluster in whose units galaxies are, if a column gives the mass: it is typical
_ERROR_COLUMN = PLAIN + CONDITIONS.index("velocity_error")
_ERROR = 300.0  # km/s: unit of velocity errors
_COSMOLOGY = ((0.3, 0.1), (0.8, 0.15))  # Om0 and sigma8: zero and unit


class Conditions(NamedTuple):
    """Conditions of each cluster, (batch,)."""

    redshift: Float[Tensor, " batch"]
    velocity_error: Float[Tensor, " batch"]
    cleaned: Float[Tensor, " batch"]

    @classmethod
    def of(cls, x: Float[Tensor, "batch galaxy column"]) -> "Conditions":
        """Means over the galaxies of each cluster."""
        return cls(*_mean_over_galaxies(x)[:, : len(CONDITIONS)].unbind(-1))

    def units(self) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        r"""Comoving r200c and V200 of a mass at each redshift, over those at redshift .117.

        At one mass $r_{200c} \propto (1 + z) E^{-2/3}$ and $V_{200} \propto E^{1/3}$.
        """
        expansion = 1 + self.redshift
        usual = float(MDPL2.hubble(Observation.redshift)) / 100
        E = (MDPL2.Om0 * expansion**3 + 1 - MDPL2.Om0).sqrt() / usual
        return expansion / (1 + Observation.redshift) * E ** (-2 / 3), E ** (1 / 3)


class Columns(NamedTuple):
    """What an observation holds besides R_proj, v_los and the flag, in this order: arguments of `Catalogue.padded`."""

    sky: bool
    conditions: bool
    cosmology: bool

    @classmethod
    def of(cls, network: nn.Module, width: int) -> "Columns":
        """Columns that a network takes of which there are so many, without a mass that may be the last."""
        sky = takes_sky(network)
        width -= SKY * sky
        return cls(sky, width >= CONDITIONED, width == COSMOLOGICAL)


def _mean_over_galaxies(x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch known"]:
    """What follows the plain columns, which all galaxies of a cluster share."""
    is_galaxy = (x[..., 2] > 0)[..., None]
    return torch.where(is_galaxy, x[..., PLAIN:], 0).sum(1) / is_galaxy.sum(1).clamp(min=1)


def cosmology_of(x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch parameter"]:
    """Om0 and sigma8 of each cluster's universe, in units of about 1; no columns where x does not hold them."""
    known = _mean_over_galaxies(x)[:, len(CONDITIONS) :]
    zero, unit = known.new_tensor(_COSMOLOGY).T[:, : known.shape[1]]
    return (known - zero) / unit


def _split(x: Float[Tensor, "batch galaxy column"], sky: bool) -> tuple[Tensor, Tensor]:
    """What an embedding takes, and the columns without those of the sky."""
    plain = PLAIN + SKY * sky
    return x[..., :plain], torch.cat([x[..., :PLAIN], x[..., plain:]], -1) if sky else x


@final
class WithConditions(nn.Module):
    """Any embedding of the plain columns, of galaxies in the units of their redshift, with the conditions behind it.

    (batch, galaxy, 6 or 8) -> (batch, feature + 3 or 5); two columns more if the embedding takes the sky.

    Attributes:
        embedding: (batch, galaxy, 3 or 5) -> (batch, feature).
    """

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch feature"]:
        """Features of the embedding, and the conditions in units of about 1."""
        own, x = _split(x, takes_sky(self.embedding))
        found = Conditions.of(x)
        r_unit, v_unit = found.units()
        scales = torch.stack([r_unit, v_unit, torch.ones_like(r_unit), r_unit, r_unit][: own.shape[-1]], -1)
        features = self.embedding(own / scales[:, None]).flatten(1)
        behind = (1 + found.redshift).log(), found.velocity_error / _ERROR, found.cleaned
        return torch.cat([features, torch.stack(behind, -1).to(features), cosmology_of(x).to(features)], 1)


@final
class AtMass(nn.Module):
    """Any embedding, of galaxies in the units of the mass in the last column, with the mass behind it.

    At a given redshift r200c and V200 grow as $M^{1/3}$: galaxies of any cluster become those of one of 10^14.3. So do
    velocity errors.

    Attributes:
        embedding: (batch, galaxy, 3 or 6) -> (batch, feature); two columns more if it takes the sky.
    """

    def __init__(self, embedding: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, x: Float[Tensor, "batch galaxy column"]) -> Float[Tensor, "batch feature"]:
        """Features of the embedding, and the mass [dex] from 14.3."""
        mass = _mean_over_galaxies(x)[:, -1:] - AT_MASS
        scaled, scale, sky = x[..., :-1].clone(), 10 ** (mass / 3), SKY * takes_sky(self.embedding)
        scaled[..., [0, 1, *range(PLAIN, PLAIN + sky)]] /= scale[:, None]
        if scaled.shape[-1] == CONDITIONED + sky:
            scaled[..., _ERROR_COLUMN + sky] /= scale
        return torch.cat([self.embedding(scaled).flatten(1), mass], 1)


def reading(embedding: nn.Module, columns: int) -> nn.Module:
    """The embedding for observations of so many columns: its own way to take conditions or a mass, or ours."""
    besides_sky = columns - SKY * takes_sky(embedding)
    if besides_sky in (PLAIN + 1, CONDITIONED + 1):
        own = getattr(embedding, "at_mass", None)
        return AtMass(reading(embedding, columns - 1) if own is None else own(conditions=columns > CONDITIONED))
    if besides_sky not in (CONDITIONED, COSMOLOGICAL):
        return embedding
    own = getattr(embedding, "with_conditions", None)
    return WithConditions(embedding) if own is None else own(cosmology=columns == COSMOLOGICAL)
