"""Saliency maps by Gaussian masks: the parts of a cluster's phase space that determine its inferred mass.

Masses are M200c [h^-1 Msun] as log10_mass [dex], distances comoving [h^-1 Mpc], velocities [km/s].
"""

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from torch import Tensor

from clustermocks import Catalogue
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.embeddings.conditions import PLAIN
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.density_estimator import columns_of
from sbi_clustermass.flows.univariate import MixtureEstimator
from sbi_clustermass.posterior import MassPosteriors

SIGMA = 2.0  # [pixel] width of the paper's masks: .064 h^-1 Mpc and 176 km/s
_GRID = 256
_GALAXY_SLOTS = 200_000  # galaxies and padding per batch


@final
@dataclass(frozen=True, eq=False)
class Saliency:
    """Change of one cluster's inferred mass when a part of its phase space is masked.

    Attributes:
        change: log10(M_mask / M_pred) [dex] for a mask centred on each pixel, (R, v); NaN if no galaxy remains.
        density: Kernel density of the unmasked cluster [h Mpc^-1 (km/s)^-1], (R, v).
        R_centres: Pixel centres [comoving h^-1 Mpc].
        v_centres: Pixel centres [km/s].
        log10_mass: Posterior mean M_pred of the unmasked cluster [dex].
        masked: Whether pixels of the image are dimmed or galaxies removed.
    """

    change: Float[np.ndarray, "R v"]
    density: Float[np.ndarray, "R v"]
    R_centres: Float[np.ndarray, "R"]
    v_centres: Float[np.ndarray, "v"]
    log10_mass: float
    masked: Literal["pixels", "galaxies"]

    def at(self, R_proj: ArrayLike, v_los: ArrayLike) -> Float[np.ndarray, "*galaxy"]:
        """Look up the change [dex] for masks on the pixels nearest to some galaxies."""
        a, b = (
            np.abs(np.asarray(x, float)[..., None] - centres).argmin(-1)
            for x, centres in ((R_proj, self.R_centres), (v_los, self.v_centres))
        )
        return self.change[a, b]


def gaussian_masks(bins: int, sigma: float = SIGMA) -> Float[Tensor, "mask pixel"]:
    r"""Masks $1 - \exp(-[(i - a)^2 + (j - b)^2] / 2 \sigma^2)$, one centred on each pixel (a, b) of a square image.

    Kodi Ramanah et al. 2020, eq. 9. Masks and pixels have the order of `KDEImage`: row (a, b) is a * bins + b.
    The width sigma is in pixels.
    """
    if not sigma > 0:
        raise ValueError(f"gaussian_masks: sigma [pixel] must be positive, found {sigma!r}.")
    i = torch.arange(bins, dtype=torch.float64)
    dimmed = torch.exp(-0.5 * ((i[:, None] - i) / sigma) ** 2)
    return 1 - torch.kron(dimmed, dimmed)  # one factor an axis


def saliency(estimator: MassEstimator, catalogue: Catalogue, index: int, *, sigma: float = SIGMA) -> Saliency:
    """Mask every part of one cluster's phase space in turn and infer the mass again (Kodi Ramanah et al. 2020, sec. 7).

    A network on a `KDEImage` sees the image times each of the Gaussian masks of eq. 9, 2500 of them in one batch. As in
    the paper, masked images are not normalised again. The network was not trained on such images: the change shows its
    response to missing light, not the mass of a cluster without those galaxies.

    A network on galaxies, or on an image whose kernel is trained, has no fixed image to dim. Instead, the galaxies that
    a mask would dim to less than half (nearer than 1.18 sigma) are removed, so that the network sees a cluster that
    could exist. Masks that remove the same galaxies share one evaluation.

    The point estimate is the posterior mean instead of the paper's maximum; the two agree for a Gaussian inside the
    prior.

    Args:
        estimator: A trained network, or several as an ensemble.
        catalogue: Catalogue that contains the cluster.
        index: Index of the cluster.
        sigma: Width of the masks [pixel].

    Raises:
        ValueError: `sigma` is not positive.
    """
    cluster = catalogue.select(np.array([range(len(catalogue))[index]]))
    x = torch.from_numpy(cluster.padded(**columns_of(estimator.network)._asdict()))
    summary = _networks(estimator)[0].summary
    image = summary if isinstance(summary, KDEImage) else None  # the network's input, if that is fixed
    seen = estimator.observation
    pixels = image or KDEImage(aperture=seen.aperture, v_max=seen.v_cut)
    masks = gaussian_masks(pixels.bins, sigma)
    found = _of_pixels(estimator, x, masks) if image else _of_galaxies(estimator, x, masks, pixels)
    whole, change = found[0], found[1:] - found[0]
    return Saliency(
        change=change.reshape(pixels.bins, pixels.bins),
        density=pixels.density(x[..., :PLAIN].to(pixels.R_centres.device))[0].cpu().numpy(),
        R_centres=pixels.R_centres.cpu().numpy(),
        v_centres=pixels.v_centres.cpu().numpy(),
        log10_mass=float(whole),
        masked="pixels" if image else "galaxies",
    )


def _networks(estimator: MassEstimator) -> list[EmbedOnce]:
    return [member.network for member in estimator.members if isinstance(member.network, EmbedOnce)]


# ---- pixels ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _of_pixels(
    estimator: MassEstimator, x: Float[Tensor, "1 galaxy 3"], masks: Float[Tensor, "mask pixel"]
) -> Float[np.ndarray, "whole_and_mask"]:
    """Posterior means of the whole image and of each masked one; numbers after the pixels are unchanged."""
    conditions = []
    for network in _networks(estimator):
        device = next(network.parameters()).device
        summary = network.summary(x.to(device))
        light = torch.ones(1 + len(masks), summary.shape[1], dtype=summary.dtype, device=device)
        light[1:, : masks.shape[1]] = masks.to(light)
        conditions.append(summary * light)
    return _means(estimator, [network.on_summaries() for network in _networks(estimator)], conditions)


# ---- galaxies -------------------------------------------------------------------------------------------------------


@torch.no_grad()
def _of_galaxies(
    estimator: MassEstimator, x: Float[Tensor, "1 galaxy 3"], masks: Float[Tensor, "mask pixel"], pixels: KDEImage
) -> Float[np.ndarray, "whole_and_mask"]:
    """Posterior means of the whole cluster and without the galaxies near each mask; NaN if none remains."""
    kept, which = np.unique(_kept(x, masks, pixels), axis=0, return_inverse=True)
    some = kept.any(axis=1)
    found = np.full(len(kept), np.nan)
    networks = _networks(estimator)
    size = max(1, _GALAXY_SLOTS // x.shape[1])
    for rows in np.array_split(np.flatnonzero(some), -(-int(some.sum()) // size)):
        left = x * torch.from_numpy(kept[rows])[..., None]
        conditions = [left.to(next(network.parameters()).device) for network in networks]
        found[rows] = _means(estimator, networks, conditions)
    return found[which.reshape(-1)]


def _kept(
    x: Float[Tensor, "1 galaxy 3"], masks: Float[Tensor, "mask pixel"], pixels: KDEImage
) -> Bool[np.ndarray, "whole_and_mask galaxy"]:
    """Whether each mask keeps a galaxy: its pixel is dimmed to half or more, or it lies outside the image."""
    R, v = (part.double() for part in (x[0, :, 0], x[0, :, 1]))
    a = torch.floor(R / pixels.pixel[0]).long()
    b = torch.floor((v + pixels.v_max) / pixels.pixel[1]).long()
    on_image = (a >= 0) & (a < pixels.bins) & (b >= 0) & (b < pixels.bins)
    pixel = torch.where(on_image, a * pixels.bins + b, 0)
    stays = (masks >= 0.5)[:, pixel] | ~on_image
    every = torch.cat([torch.ones(1, stays.shape[1], dtype=torch.bool), stays])
    return every.numpy()


# ---- both -----------------------------------------------------------------------------------------------------------


def _means(
    estimator: MassEstimator, networks: list[EmbedOnce], conditions: list[Tensor]
) -> Float[np.ndarray, "condition"]:
    """Posterior means of an estimator's ensemble, given the condition of each network [dex]."""
    grid = np.linspace(*estimator.support, _GRID)
    members = [
        MassPosteriors.from_log_prob(grid, _log_prob(network, condition, grid))
        for network, condition in zip(networks, conditions, strict=True)
    ]
    found = MassPosteriors.mixture(members)
    return (found if estimator.recalibration is None else estimator.recalibration.apply(found)).mean


def _log_prob(
    network: EmbedOnce, condition: Tensor, grid: Float[np.ndarray, "mass"]
) -> Float[np.ndarray, "condition mass"]:
    masses = torch.as_tensor(grid, dtype=torch.float32, device=condition.device)
    within = (float(masses[0]), float(masses[-1])) if isinstance(network.net, MixtureEstimator) else None
    return network.log_prob_grid(condition, masses, within=within).cpu().numpy()
