"""Parts that embeddings share: reading an observation, skipping its padding, and the split into stages.

Distances are comoving [h^-1 Mpc], velocities [km/s].
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple, Self, final

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sbi_clustermass.embeddings.sky import SKY, in_own_frame

_R_SCALE = 1.0  # [h^-1 Mpc]
_V_SCALE = 1000.0  # [km/s]
GROUP = 20  # number of clusters of similar richness that share a width on the CPU


@final
class NoWeights(nn.Module):
    """A frozen parameter without numbers, which is not saved: it shows the device of an embedding without weights.

    sbi 0.27's builders ask an embedding's first parameter for its device, and fail if there is none.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.empty(0), requires_grad=False)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Save nothing."""

    def _load_from_state_dict(self, *_: Any) -> None:
        """Load nothing."""


class FixedPlaces(nn.Module):
    """A module whose own buffers are places, which keep their type: in half precision they would move."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move and convert as torch does, but only move the buffers."""
        before = dict(self._buffers)
        super()._apply(fn, recurse)
        for name, places in before.items():
            found = self._buffers[name]
            if places is not None and found is not None and found.dtype != places.dtype:
                self._buffers[name] = places.to(found.device)
        return self


class PaddedGalaxies(NamedTuple):
    """R_proj, v_los, and True for a galaxy or False for padding, each (batch, galaxy); padded values become 0.

    `sky` holds positions in the cluster's own frame, where they are read: else it has no columns.
    """

    R: Float[Tensor, "batch galaxy"]
    v: Float[Tensor, "batch galaxy"]
    is_galaxy: Bool[Tensor, "batch galaxy"]
    sky: Float[Tensor, "batch galaxy axis"]

    def unit_v(self) -> Float[Tensor, "batch galaxy"]:
        """Velocity over its scale."""
        return self.v / _V_SCALE

    def refilled(self) -> "PaddedGalaxies":
        """Fill the padding of each cluster with its first galaxy instead of zeros; `is_galaxy` is unchanged."""
        first = self.is_galaxy.int().argmax(1, keepdim=True)
        R, v = (torch.where(self.is_galaxy, part, part.gather(1, first)) for part in (self.R, self.v))
        sky = torch.where(self.is_galaxy[..., None], self.sky, self.sky.take_along_dim(first[..., None], 1))
        return self._replace(R=R, v=v, sky=sky)


def read_galaxies(owner: str, x: Float[Tensor, "batch galaxy column"], *, sky: bool = False) -> PaddedGalaxies:
    """Split an observation into its columns, with room for at least one galaxy; refuse another shape."""
    columns = 3 + SKY * sky
    check_shape(owner, x, columns)
    x = x if x.shape[1] else x.new_zeros(len(x), 1, columns)
    is_galaxy = x[..., 2] > 0
    zero = x.new_zeros(())
    R, v = (torch.where(is_galaxy, x[..., i], zero) for i in range(2))
    return PaddedGalaxies(R, v, is_galaxy, in_own_frame(x[..., 3:], is_galaxy) if sky else x[..., 3:])


def check_shape(owner: str, x: Tensor, columns: int = 3) -> None:
    """Refuse an observation that is not (batch, galaxy, columns)."""
    if x.dim() != 3 or x.shape[-1] != columns:
        what = "R, v, 1 or 0" + (", and the position on the sky" if columns > 3 else "")
        raise ValueError(f"{owner}: x has shape {tuple(x.shape)}. It needs (batch, galaxy, {columns}): {what}.")


def has_flags(x: Tensor) -> bool:
    """Whether an observation is sets of galaxies: (batch, galaxy, columns) with 1 or 0 in the third column."""
    return x.dim() == 3 and x.shape[-1] >= 3 and bool((x[..., 2].square() == x[..., 2]).all())


def check_galaxies(owner: str, x: Tensor, columns: int = 3) -> None:
    """Refuse another shape than (batch, galaxy, columns), and flags other than 1 for a galaxy and 0 for padding.

    sbi's builders standardise x, flags included, unless they are asked not to: galaxies would be taken for padding. The
    flags are read on the CPU only, where sbi's `NPE` tries its network: elsewhere the host would wait for the device.
    """
    check_shape(owner, x, columns)
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return
    flag = x[..., 2]
    is_flag = flag.square() == flag
    if not is_flag.all() and not _is_random(flag):
        found = f"{float(flag[~is_flag][0]):.3g} in the third column"
    elif not flag.any() and x[..., :2].any():
        found = "galaxies, but no 1 in the third column"
    else:
        return
    raise ValueError(
        f"{owner}: the third column of x must be 1 for a galaxy and 0 for padding.\n  found:  {found}\n"
        '  try:    z_score_x="none" in sbi\'s posterior_nn(...) and its like, which standardise x before an embedding'
    )


def _is_random(flag: Float[Tensor, "batch galaxy"]) -> bool:
    """Whether these may be the flags of the one set of random numbers on which sbi 0.27's `mdn` tries an embedding.

    They are all different. Standardised ones repeat themselves, or are different in each place; then those of the first
    galaxy, which every cluster has, are exactly 0. Only a set with a single place, or whose first place was padding in
    the training, is taken for random numbers.
    """
    return len(flag) == 1 and not bool(flag[0, 0].square() == flag[0, 0]) and 2 * len(flag.unique()) > flag.shape[1]


def log10_richness(x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch 1"]:
    """Log10 of the number of galaxies; 0 for a set without any."""
    return (x[..., 2] > 0).sum(1, keepdim=True).clamp(min=1).to(x.dtype).log10()


def by_richness(
    encode: Callable[[Tensor], Tensor], x: Float[Tensor, "batch galaxy 3"], group: int = GROUP
) -> Float[Tensor, "batch feature"]:
    """`encode(x)`, which must not depend on padding, computed on the CPU in groups of clusters of similar richness.

    Half of a batch or more is padding, because its richest cluster sets the width. On other devices the whole batch is
    encoded at once: reading the widths would make the host wait for the device at every step.
    """
    if x.device.type != "cpu" or x.dim() != 3 or len(x) <= group:
        return encode(_trimmed(x) if x.device.type == "cpu" and x.dim() == 3 else x)
    position = torch.arange(1, x.shape[1] + 1)
    order = torch.where(x[..., 2] > 0, position, 0).amax(1).argsort() if x.shape[1] else torch.arange(len(x))
    parts = [encode(_trimmed(x[rows])) for rows in order.split(group)]
    return torch.cat(parts)[order.argsort()]


def _trimmed(x: Float[Tensor, "batch galaxy 3"]) -> Float[Tensor, "batch fewer 3"]:
    used = (x[..., 2] > 0).any(0).nonzero()
    return x[:, : int(used[-1]) + 1] if len(used) else x[:, :1]


def even_part(network: nn.Module, even: Tensor, odd: Tensor) -> Tensor:
    """The part of network(even, odd) that is even in `odd`: the same for -odd, bit for bit."""
    return 0.5 * (network(torch.cat([even, odd], -1)) + network(torch.cat([even, -odd], -1)))


def galaxy_inputs(galaxies: PaddedGalaxies, *, signed: bool) -> Float[Tensor, "batch galaxy input"]:
    """Distance and its log, speed and its square, in units of the scales above; if signed, velocity too; then `sky`."""
    r, u = galaxies.R / _R_SCALE, galaxies.unit_v()
    even = [r, (r + 0.02).log(), u.abs(), u.square()]
    inputs = torch.stack([*even, u] if signed else even, -1)
    return torch.cat([inputs, galaxies.sky / _R_SCALE], -1)


def perceptron(*widths: int, activation: Callable[[], nn.Module] = nn.SiLU) -> nn.Sequential:
    """Linear layers of these widths with an activation between them."""
    layers = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), activation())]
    return nn.Sequential(*layers[:-1])


def stages(embedding: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split an embedding into a fixed and a learned stage: `learned(fixed(x))` is `embedding(x)`.

    The fixed stage has no weights and is computed once for a training set. An embedding with both stages returns them
    from its method `stages()`; any other module is one or the other.
    """
    own = getattr(embedding, "stages", None)
    if own is not None:
        return own()
    learns = any(parameter.requires_grad for parameter in embedding.parameters())
    return (nn.Identity(), embedding) if learns else (embedding, nn.Identity())
