"""Positions of galaxies on the sky, in a frame that turns and reflects with the cluster.

Where the axes of the sky point says nothing of a mass. In their own frame the galaxies of a cluster have the same
positions however it is turned or reflected: that is exact, and has not to be learned from turned copies.

Positions are from the cluster's centre, comoving [h^-1 Mpc].
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

SKY = 2  # columns of x and y, behind R_proj, v_los and the flag


def takes_sky(network: nn.Module) -> bool:
    """Whether an observation for this network, or a part of it, has the two columns of the sky."""
    return any(getattr(part, "sky", False) for part in network.modules())


def in_own_frame(
    sky: Float[Tensor, "batch galaxy 2"], is_galaxy: Bool[Tensor, "batch galaxy"]
) -> Float[Tensor, "batch galaxy 2"]:
    """Positions along the major and the minor axis of the galaxies' second moments about the centre; 0 for padding.

    Each axis points to the side on which the sum of cubes is positive.
    """
    x, y = torch.where(is_galaxy[..., None], sky, 0).unbind(-1)
    angle = 0.5 * torch.atan2(2 * (x * y).sum(1), (x.square() - y.square()).sum(1))[:, None]
    cosine, sine = angle.cos(), angle.sin()
    own = torch.stack([x * cosine + y * sine, y * cosine - x * sine], -1)
    return own * torch.where(own.pow(3).sum(1, keepdim=True) < 0, -1, 1)
