"""A trained flow with all it needs to be used rightly: prior, observation settings, training range and provenance.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. A saved estimator is a folder with `estimator.json`,
`estimator.safetensors` and, where it knows what mocks look like, `alarm.safetensors`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, final
from warnings import warn

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology, Observation
from sbi_clustermass.estimator import storage
from sbi_clustermass.estimator.config import Card
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.estimator.warnings import TrainingRange
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.flows.evaluation import leakage_of, log_prob_of
from sbi_clustermass.posterior import MassPosteriors, Recalibration
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.training import History

if TYPE_CHECKING:
    from sbi.inference.posteriors import DirectPosterior

    from sbi_clustermass.estimator.misspecification.alarm import Alarm

_GRID = 256


@final
@dataclass(frozen=True)
class MassEstimator:
    """A trained density estimator q(log10 M | galaxies). `train` makes one, `load` reads one.

    Attributes:
        network: The trained network, or several as an ensemble.
        flow: The choice it was built from.
        prior: The effective training prior, with its support.
        observation: How the mocks were observed, the richness cut after any thinning: real clusters are observed the
            same way.
        cosmology: Of the mocks.
        richness: Fewest and most galaxies of a training cluster, after any thinning.
        histories: What happened during the training of each member.
        provenance: How the mocks were made and how the networks were trained: settings, seeds and versions.
        alarm: Knows what mocks look like, and so which clusters look like none; None where it was not taught.
        recalibration: Mends the widths of its posteriors; None where it was not asked for.
    """

    network: EmbedOnce | Ensemble
    flow: Flow
    prior: EffectivePrior
    observation: Observation
    cosmology: Cosmology
    richness: tuple[int, int]
    histories: tuple[History, ...]
    provenance: Provenance
    alarm: "Alarm | None" = None
    recalibration: Recalibration | None = None

    def __repr__(self) -> str:
        clusters = self.provenance.training_clusters or "?"
        masses = f"log10_mass {self.prior.low} to {self.prior.high}"
        members = f"{len(self.histories)} x " if len(self.histories) > 1 else ""
        return f"MassEstimator({members}{self.flow.name}, {clusters} training clusters, {masses})"

    @property
    def history(self) -> History:
        """What happened during training, of the first member."""
        return self.histories[0]

    @property
    def members(self) -> tuple[Self, ...]:
        """Each member of an ensemble as an estimator of its own, without alarm and recalibration."""
        networks = self.network.members if isinstance(self.network, Ensemble) else [self.network]
        pairs = zip(networks, self.histories, strict=True)
        own = replace(self, alarm=None, recalibration=None)
        return tuple(replace(own, network=network, histories=(history,)) for network, history in pairs)

    @property
    def counts_galaxies(self) -> bool:
        """Whether the embedding is told how many galaxies there are."""
        embedding = self.flow.config().get("embedding")
        return isinstance(embedding, dict) and bool(embedding.get("richness"))

    @property
    def is_truncated(self) -> bool:
        """Whether the loss knew the prior's ends, so that to cut the density off there is what was trained."""
        return self.provenance.truncated

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest log10 mass [dex]; a posterior is zero outside."""
        return self.prior.low, self.prior.high

    def with_alarm(self, mocks: Catalogue, *, seed: int = 1) -> Self:
        """Teach it what mocks look like, so that `warnings` names clusters that look like none.

        Args:
            mocks: Drawn and observed as the training set was, but not in it: 1000 or more, some thousand to know rare
                ones.
            seed: Of what is kept aside for the rate of false alarms.

        Raises:
            ValueError: Too few mocks.
        """
        from sbi_clustermass.estimator.misspecification.alarm import Alarm

        alarm = Alarm.fit(self.network, self.posterior, mocks, seed=seed)
        return replace(self, alarm=alarm, provenance=replace(self.provenance, alarm_clusters=len(mocks)))

    def recalibrated(self, mocks: Catalogue) -> Self:
        """Mend the widths of its posteriors by what they are on clusters that no network saw: see `Recalibration`.

        Args:
            mocks: Drawn and observed as the training set was, but not in it: 100 or more, some thousand to be exact.

        Raises:
            ValueError: Too few mocks, or it is recalibrated already, or has an alarm, which comes after.
        """

        if self.recalibration is not None:
            raise ValueError("recalibrated: it is already; its map would be fitted to mended posteriors.")
        if self.alarm is not None:
            raise ValueError(
                "recalibrated: its alarm was taught with the posteriors as they are.\n"
                "  try:    replace(estimator, alarm=None).recalibrated(mocks).with_alarm(mocks)"
            )
        recalibration = Recalibration.fit(self.posterior(mocks), mocks.log10_mass)
        provenance = replace(self.provenance, recalibration_clusters=len(mocks))
        return replace(self, recalibration=recalibration, provenance=provenance)

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
        found = MassPosteriors.from_log_prob(
            grid,
            log_prob_of(self.network, catalogue, grid),
            log_prior=self.prior.log_density(grid),
            names=catalogue.names,
            leakage=0.0 if self.is_truncated else leakage_of(self.network, catalogue, self.support),
        )
        return found if self.recalibration is None else self.recalibration.apply(found)

    def epistemic_std(self, catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Standard deviation between the members' posterior means [dex]: the part that more mocks would take away.

        The variance of the mixture is the square of this plus the mean of the members' own variances. Deep ensembles:
        Lakshminarayanan, Pritzel & Blundell 2017 (arXiv:1612.01474).

        Raises:
            ValueError: There is one network only; or as `posterior` does.
        """
        if len(self.members) == 1:
            raise ValueError("one network cannot disagree with itself: train with members=5, say.")
        spread = MassPosteriors.mixture([member.posterior(catalogue) for member in self.members]).epistemic_std
        return np.asarray(spread)

    def to_sbi(self, *, width: int | None = None) -> "DirectPosterior":
        """The posterior as sbi's `DirectPosterior`, for sbi's diagnostics (SBC, TARP, LC2ST) and plots.

        Its prior is flat between the support's ends, which is what the network learned only if the effective training
        prior is flat: test sets for sbi's diagnostics are drawn as the training set was. It knows of no recalibration.

        Args:
            width: Number of galaxies that every observation is padded to, as sbi demands: `catalogue.padded(width)`.
                That of the richest training cluster by default, `richness[1]`.

        Raises:
            ValueError: `width` is not a positive number.

        Example:
            >>> posterior = estimator.to_sbi()  # doctest: +SKIP
            >>> x = torch.from_numpy(catalogue.padded(estimator.richness[1]))  # doctest: +SKIP
            >>> posterior.sample_batched((1000,), x=x)  # doctest: +SKIP
        """
        from sbi_clustermass.estimator.direct_posterior import direct_posterior

        return direct_posterior(self.network, self.support, width=self.richness[1] if width is None else width)

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
        """List reasons to distrust each cluster's mass, with numbers; empty where there are none.

        Raises:
            ValueError: A cluster is so far outside the training that its mass would be off by more than .3 dex.
        """
        found = self._training_range.warnings(catalogue, posteriors)
        if self.alarm is None:
            return found
        unlike = self.alarm.warnings(self.network, catalogue, posteriors)
        return [(*outside, *more) for outside, more in zip(found, unlike, strict=True)]

    @property
    def _training_range(self) -> TrainingRange:
        return TrainingRange.from_provenance(
            self.provenance,
            support=self.support,
            observation=self.observation,
            cosmology=self.cosmology,
            richness=self.richness,
            counts_galaxies=self.counts_galaxies,
        )

    def save(self, folder: str | Path) -> None:
        """Write the estimator into a folder: weights as safetensors, everything else as JSON.

        Raises:
            OSError: The folder cannot be written.
        """
        card = Card(
            flow=self.flow.config(),
            prior=self.prior,
            observation=self.observation,
            cosmology=self.cosmology,
            richness=self.richness,
            condition_shape=(self.network.condition_shape[0], self.network.condition_shape[1]),
            histories=self.histories,
            provenance=self.provenance,
            recalibration=self.recalibration,
        )
        storage.save(Path(folder), card, self.network, self.alarm)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read an estimator. Nothing is ever unpickled: a file from a stranger can do no harm.

        Raises:
            FileNotFoundError: The folder or one of its two files is missing.
            ValueError: A file is damaged, truncated, of another kind, or the two do not belong together.
        """
        card, flow, network, alarm = storage.load(Path(folder))
        return cls(
            network=network,
            flow=flow,
            prior=card.prior,
            observation=card.observation,
            cosmology=card.cosmology,
            richness=card.richness,
            histories=card.histories,
            provenance=card.provenance,
            alarm=alarm,
            recalibration=card.recalibration,
        ).to(device)
