"""Observations as an embedding takes them."""

from math import pi

import torch

from sbi_clustermass.embeddings.sky import takes_sky


def as_taken(embedding, x):
    """The same galaxies, with positions in random directions behind the flag if the embedding takes the sky."""
    if not takes_sky(embedding):
        return x
    angle = 2 * pi * torch.rand(x.shape[:2], generator=torch.Generator().manual_seed(1))
    sky = (x[..., :1] * torch.stack([angle.cos(), angle.sin()], -1)).to(x)
    return torch.cat([x[..., :3], sky, x[..., 3:]], -1)
