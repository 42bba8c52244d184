"""A trained flow with all it needs to be used rightly: prior, observation settings, training range and provenance.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. A saved estimator is a folder with `estimator.json` and
`estimator.safetensors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self, final
from warnings import warn

import numpy as np
import torch
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology, Observation
from clustermocks.settings import installed_version
from sbi_clustermass import storage
from sbi_clustermass.flows import EmbedOnce, StackedAffine
from sbi_clustermass.loop import History, Progress, Training
from sbi_clustermass.posterior import MassPosteriors
from sbi_clustermass.prior import EffectivePrior, fit_effective_prior, mass_prior
from sbi_clustermass.support import warn_of_gaps
from sbi_clustermass.training import ClusterNPE, as_tensors, resolve_device

_GRID = 256
_CLUSTERS_A_CHUNK = 500
_EDGE = 0.05
_REDSHIFT_REACH = 0.1
_FEWEST = 100


@final
@dataclass(frozen=True)
class MassEstimator:
    """A trained density estimator q(log10 M | galaxies). `train` makes one, `load` reads one.

    Attributes:
        network: The trained network.
        flow: The choice it was built from.
        prior: The effective training prior, with its support.
        observation: How the mocks were observed: real clusters are observed the same way.
        cosmology: Of the mocks.
        richness: Fewest and most galaxies of a training cluster.
        history: What happened during training.
        provenance: Simulator, settings, seeds and versions, as text.
    """

    network: EmbedOnce
    flow: StackedAffine
    prior: EffectivePrior
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    history: History
    provenance: Mapping[str, str]

    def __repr__(self) -> str:
        clusters = self.provenance.get("training_clusters", "?")
        masses = f"log10_mass {self.prior.low} to {self.prior.high}"
        return f"MassEstimator({self.flow.name}, {clusters} training clusters, {masses})"

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest log10 mass [dex]; a posterior is zero outside."""
        return self.prior.low, self.prior.high

    def to(self, device: str) -> Self:
        """Move the network to a device, in place; "auto" takes CUDA where there is one."""
        return replace(self, network=self.network.to(resolve_device(device)))

    def posterior(self, catalogue: Catalogue, *, grid: Float[np.ndarray, "mass"] | None = None) -> MassPosteriors:
        """Infer the mass of every cluster: exact on a grid, no sampling, any number of galaxies.

        Args:
            catalogue: Mock or observed clusters.
            grid: Log10 masses [dex]; 256 over the support by default.

        Raises:
            ValueError: The catalogue was observed with another aperture or velocity cut, has no clusters, or the grid
            leaves the support.
        """
        self._check(catalogue)
        low, high = self.support
        grid = np.linspace(low, high, _GRID) if grid is None else np.asarray(grid, float)
        if grid[0] < low or grid[-1] > high:
            raise ValueError(
                f"the grid reaches from {grid[0]} to {grid[-1]}, beyond the prior's support {low} to {high}."
            )
        log_prob = self._log_prob(catalogue, grid)
        return MassPosteriors.from_log_prob(
            grid, log_prob, log_prior=self.prior.log_density(grid), names=catalogue.names
        )

    @torch.no_grad()
    def _log_prob(self, catalogue: Catalogue, grid: np.ndarray) -> Float[np.ndarray, "cluster mass"]:
        device = next(self.network.parameters()).device
        masses = torch.as_tensor(grid, dtype=torch.float32, device=device)
        rows = np.arange(len(catalogue))
        parts = [rows[i : i + _CLUSTERS_A_CHUNK] for i in range(0, len(rows), _CLUSTERS_A_CHUNK)]
        batches = (torch.from_numpy(catalogue.select(part).padded()).to(device) for part in parts)
        return np.concatenate([self.network.log_prob_grid(x, masses).double().cpu().numpy() for x in batches])

    def _check(self, catalogue: Catalogue) -> None:
        if not len(catalogue):
            raise ValueError("the catalogue holds no clusters.")
        for name in ("aperture", "v_cut"):
            ours, theirs = getattr(self.observation, name), getattr(catalogue.observation, name)
            if ours != theirs:
                raise ValueError(f"the clusters were observed with {name} {theirs}, the training set with {ours}.")
        if catalogue.cosmology != self.cosmology:
            raise ValueError(
                f"the clusters' distances assume {catalogue.cosmology}, the training set's {self.cosmology}.\n"
                "  try:    read them with cosmology=estimator.cosmology"
            )
        ours, theirs = self.observation.min_galaxies, catalogue.observation.min_galaxies
        if ours != theirs:
            warn(
                f"clusters of {theirs} galaxies or more, a training set of {ours} or more: the posteriors do not know "
                f"of that cut, and their likelihoods are not those that a population fit needs.\n"
                f"  try:    train on mocks.with_min_galaxies({theirs})",
                UserWarning,
                stacklevel=3,
            )

    def warnings(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
        """Why an answer should not be trusted, with numbers, for each cluster; empty where nothing was found."""
        edges = (
            posteriors.pit(np.full(len(posteriors), self.prior.low + _EDGE)),
            1 - posteriors.pit(np.full(len(posteriors), self.prior.high - _EDGE)),
        )
        redshift = catalogue.column("redshift") if "redshift" in catalogue.columns else np.full(len(catalogue), np.nan)
        return [
            tuple(self._doubts(int(n), z, below, above))
            for n, z, below, above in zip(catalogue.n_galaxies, redshift, *edges, strict=True)
        ]

    def _doubts(self, n_galaxies: int, redshift: float, below: float, above: float) -> list[str]:
        fewest, most = self.richness
        found = []
        if self.provenance.get("sample") == "members":
            found.append("trained on true members only; galaxies of an observed cluster include interlopers")
        if not fewest <= n_galaxies <= most:
            found.append(f"{n_galaxies} galaxies; the training clusters had {fewest} to {most}")
        if abs(redshift - self.observation.redshift) > _REDSHIFT_REACH:
            found.append(f"redshift {redshift:.3f}; the training clusters stood at {self.observation.redshift:.3f}")
        for share, edge, side in ((below, self.prior.low, "low"), (above, self.prior.high, "high")):
            if share > _EDGE:
                found.append(
                    f"{share:.0%} of the posterior lies within {_EDGE} dex of the {side} end of the prior, {edge}"
                )
        return found

    def save(self, folder: str | Path) -> None:
        """Write the estimator into a folder: weights as safetensors, everything else as JSON.

        Raises:
            OSError: The folder cannot be written.
        """
        storage.save(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read an estimator. Nothing is ever unpickled: a file from a stranger can do no harm.

        Raises:
            FileNotFoundError: The folder or one of its two files is missing.
            ValueError: A file is damaged, truncated, of another kind, or the two do not belong together.
        """
        return cls(**storage.load(Path(folder))).to(device)


def train(
    catalogue: Catalogue,
    *,
    flow: StackedAffine | None = None,
    support: tuple[float, float] | None = None,
    training: Training | None = None,
    mirror: bool = True,
    device: str = "auto",
    seed: int | None = None,
    progress: Progress | None = None,
) -> MassEstimator:
    """Train a flow on a mock catalogue.

    Args:
        catalogue: Mock clusters; lines of sight of one host stay on one side of the validation split.
        flow: The architecture, `StackedAffine()` by default.
        support: Lowest and highest log10 mass of the prior [dex]; by default the range of the attempted masses,
            rounded outwards to .01.
        training: The training rule.
        mirror: Show every cluster a second time with v_los reversed, as likely as the first.
        device: "auto" takes CUDA where there is one.
        seed: Of the weights, the split and the order of the batches, in place of the training rule's own.
        progress: Called at every validation with updates, training loss and validation loss [nats].

    Raises:
        ValueError: The catalogue has no masses, or fewer than 100 clusters inside the support.
        TypeError: The flow is a builder of something other than `EmbedOnce`.
    """
    flow = flow or StackedAffine()
    training = training or Training()
    training = training if seed is None else replace(training, seed=seed)
    provenance = {**catalogue.metadata, "training": repr(training), "mirror": str(mirror), **_versions()}
    flow.config()  # refuses what could not be saved before the time is spent
    support = support or _attempted_range(catalogue)
    used = catalogue.select((catalogue.log10_mass >= support[0]) & (catalogue.log10_mass <= support[1]))
    if len(used) < _FEWEST:
        raise ValueError(f"training needs at least {_FEWEST} clusters, and thousands to be of use; found {len(used)}.")
    warn_of_gaps(used, support)
    inference = ClusterNPE(mass_prior(*support), density_estimator=flow, device=device)
    theta, x, groups = *as_tensors(used), used.host_id
    if mirror:
        theta, x, groups = torch.cat([theta, theta]), torch.cat([x, x * torch.tensor([1, -1, 1])]), np.tile(groups, 2)
    network = inference.append_simulations(theta, x).train(training, groups=groups, progress=progress)
    if not isinstance(network, EmbedOnce):
        raise TypeError(f"{type(flow).__name__} built a {type(network).__name__}; an estimator needs an EmbedOnce.")
    return MassEstimator(
        network=network,
        flow=flow,
        prior=fit_effective_prior(used, support),
        observation=catalogue.observation,
        cosmology=catalogue.cosmology,
        richness=(int(used.n_galaxies.min()), int(used.n_galaxies.max())),
        history=inference.history,
        provenance={**provenance, "training_clusters": str(len(used))},
    )


def _attempted_range(catalogue: Catalogue) -> tuple[float, float]:
    masses = catalogue.attempted()[0]
    if not len(catalogue) or not np.isfinite(masses).all():
        raise ValueError("training needs clusters of known mass; this catalogue has none, or observed ones.")
    return float(np.floor(masses.min() * 100) / 100), float(np.ceil(masses.max() * 100) / 100)


def _versions() -> dict[str, str]:
    return {f"version_{name}": installed_version(name) for name in ("sbi-clustermass", "sbi", "torch", "nflows")}
