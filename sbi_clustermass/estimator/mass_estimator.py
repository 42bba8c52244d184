"""A trained flow together with its prior, observation settings, training range and provenance.

Masses are M200c [h^-1 Msun] as log10_mass [dex]. A saved estimator is a folder with `estimator.json`,
`estimator.safetensors` and, for parts that it may have, `alarm.safetensors`, `given_mass.safetensors` and
`membership.safetensors`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, final
from warnings import warn

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue, Cosmology, Observation
from clustermocks.catalogue.parameters import MASS
from sbi_clustermass.estimator import storage
from sbi_clustermass.estimator.config import Card, counts_galaxies
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.estimator.verdict import Grade, Reason
from sbi_clustermass.estimator.warnings import TrainingRange
from sbi_clustermass.flows import EmbedOnce, Flow
from sbi_clustermass.flows.density_estimator import takes_conditions
from sbi_clustermass.flows.device import resolve_device
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.flows.evaluation import leakage_of, log_prob_and_spread
from sbi_clustermass.posterior import MassPosteriors, Posteriors, Recalibration
from sbi_clustermass.posterior.prior import EffectivePrior
from sbi_clustermass.training import History, Progress, Training

if TYPE_CHECKING:
    from sbi.inference.posteriors import DirectPosterior

    from sbi_clustermass.estimator.concentration_prior import ConcentrationPrior
    from sbi_clustermass.estimator.given_mass import GivenMass
    from sbi_clustermass.estimator.membership.membership import Membership
    from sbi_clustermass.estimator.misspecification.alarm import Alarm

_GRID = 256
# fields that an estimator and its card share
_IN_CARD = ("prior", "observation", "cosmology", "richness", "histories", "provenance", "recalibration")


@final
@dataclass(frozen=True)
class MassEstimator:
    """Estimator of cluster masses: a trained conditional density q(log10 M | galaxies) and the data it is valid for.

    `train` makes one from mocks, and `load` reads a saved one. `posterior` infers masses, and `reasons` lists reasons
    to distrust them.

    Attributes:
        network: Trained network, or an ensemble of several.
        flow: Settings from which the network was built.
        prior: Effective training prior; its range is the support of every posterior.
        observation: Aperture, velocity cut and richness cut of the mocks, which observed clusters must share.
        cosmology: Cosmology of the mocks.
        richness: Fewest and most galaxies of a training cluster, after any thinning.
        histories: Losses during the training of each network.
        provenance: Settings, seeds and software versions of the mocks and the training.
        alarm: Test of whether a cluster resembles the mocks; None if `with_alarm` was not called.
        recalibration: Correction of the widths of the posteriors; None if `recalibrated` was not called.
        given_mass: Density of further parameters given the mass; None if the mass alone is inferred.
        membership: Network of the galaxies' memberships; None if `with_membership` was not called.

    Example:
        >>> estimator = train(mocks, seed=1)  # doctest: +SKIP
        >>> posteriors = estimator.posterior(clusters)  # doctest: +SKIP
        >>> posteriors.mean, posteriors.std  # doctest: +SKIP
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
    given_mass: "GivenMass | None" = None
    membership: "Membership | None" = None

    def __repr__(self) -> str:
        clusters = self.provenance.training_clusters or "?"
        masses = f"log10_mass {self.prior.low} to {self.prior.high}"
        members = f"{len(self.histories)} x " if len(self.histories) > 1 else ""
        further = "".join(f", {name}" for name in self.parameters[1:])
        return f"MassEstimator({members}{self.flow.name}, {clusters} training clusters, {masses}{further})"

    @property
    def history(self) -> History:
        """History of the training of the first network."""
        return self.histories[0]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of what is inferred, the mass first."""
        return (MASS, *(() if self.given_mass is None else self.given_mass.parameters))

    @property
    def members(self) -> tuple[Self, ...]:
        """Each network of an ensemble as an estimator of its own of the mass, without alarm and recalibration."""
        networks = self.network.members if isinstance(self.network, Ensemble) else [self.network]
        pairs = zip(networks, self.histories, strict=True)
        own = replace(self, alarm=None, recalibration=None, given_mass=None, membership=None)
        return tuple(replace(own, network=network, histories=(history,)) for network, history in pairs)

    @property
    def counts_galaxies(self) -> bool:
        """Whether the embedding has the number of galaxies as an input."""
        return counts_galaxies(self.flow.config())

    @property
    def takes_conditions(self) -> bool:
        """Whether the network is told redshift, velocity error and cleaning, and its mocks had fields of any size."""
        return takes_conditions(self.network)

    @property
    def is_truncated(self) -> bool:
        """Whether the loss was that of the density truncated to the support."""
        return self.provenance.truncated

    @property
    def support(self) -> tuple[float, float]:
        """Lowest and highest log10 mass of a posterior [dex]; the density is zero outside."""
        return self.prior.low, self.prior.high

    def with_parameters(
        self,
        mocks: Catalogue | Iterable[Catalogue],
        parameters: Sequence[str],
        *,
        training: Training | None = None,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train a network of further parameters given the mass, of the same flow; the mass does not change.

        Args:
            mocks: Clusters drawn and observed as the training set was, or it itself; in parts, if larger than memory.
            parameters: Names besides the mass, as `train` takes them.
            training: Settings of the training; by default `further_training`.
            checkpoint: Folder for the state of the training, from which the same call resumes.
            progress: Called at every validation.

        Raises:
            ValueError: The mocks do not hold a parameter, or the settings of the mass' training are not known.
        """
        from sbi_clustermass.estimator.given_mass import train_further

        given_mass = train_further(
            mocks,
            parameters,
            self.support,
            self.flow,
            self.provenance,
            conditions=self.takes_conditions,
            device=next(self.network.parameters()).device.type,
            training=training,
            checkpoint=None if checkpoint is None else Path(checkpoint),
            progress=progress,
        )
        return replace(self, given_mass=given_mass)

    def with_alarm(self, mocks: Catalogue, *, seed: int = 1) -> Self:
        """Fit an alarm to mocks, so that `warnings` also names clusters unlike any of them.

        Args:
            mocks: Clusters drawn and observed as the training set was, but not in it. At least 1000; a few thousand to
                include rare ones.
            seed: Seed that chooses the mocks on which the rate of false alarms is measured.

        Raises:
            ValueError: There are too few mocks.
        """
        from sbi_clustermass.estimator.misspecification.alarm import Alarm

        alarm = Alarm.fit(self.network, self.posterior, mocks, seed=seed)
        return replace(self, alarm=alarm, provenance=replace(self.provenance, alarm_clusters=len(mocks)))

    def with_membership(self, mocks: Catalogue, *, seed: int = 1) -> Self:
        """Learn from mocks which galaxies are members, so that `memberships` gives their probabilities.

        Args:
            mocks: Clusters drawn and observed as the training set was, with the truth of each galaxy. They may be those
                of the training set; a few ten thousand are good, and take some minutes.
            seed: Seed of the network's weights and of its training.

        Raises:
            ValueError: There are too few mocks, or they do not hold masses and truths.
        """
        from sbi_clustermass.estimator.membership.membership import Membership

        membership = Membership.fit(mocks, richness=self.counts_galaxies, conditions=self.takes_conditions, seed=seed)
        return replace(self, membership=membership, provenance=replace(self.provenance, membership_clusters=len(mocks)))

    def memberships(
        self, catalogue: Catalogue, posteriors: MassPosteriors | None = None
    ) -> Float[np.ndarray, "galaxy definition"]:
        """Probability of each galaxy to belong to its cluster, with the mass marginalised over its posterior.

        Where interlopers were removed, and the estimator is told so, it is that of the galaxies that were left.

        Args:
            catalogue: Mock or observed clusters.
            posteriors: Their posteriors, from `posterior`; inferred if not given.

        Returns:
            Probabilities to lie inside r200c, to lie inside the virial radius, and to be bound (too slow to get beyond
            5 r200c), for galaxies in the order of `Catalogue.galaxy_column`.

        Raises:
            ValueError: The estimator has no membership, or `posterior` refuses the catalogue.
        """
        if self.membership is None:
            raise ValueError(
                "this estimator does not know members from interlopers.\n"
                "  try:    estimator.with_membership(mocks), and save it"
            )
        return self.membership.memberships(catalogue, self.posterior(catalogue) if posteriors is None else posteriors)

    def recalibrated(self, mocks: Catalogue) -> Self:
        """Correct the widths of the posteriors by their calibration on held-out mocks; see `Recalibration`.

        Args:
            mocks: Clusters drawn and observed as the training set was, but not in it. At least 100; a few thousand for
                an accurate correction.

        Raises:
            ValueError: There are too few mocks, the estimator is already recalibrated, or it already has an alarm,
                which must be fitted afterwards.
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
        """Move the networks to a device, in place; "auto" takes CUDA if it is available."""
        if self.given_mass is not None:
            self.given_mass.network.to(resolve_device(device))
        return replace(self, network=self.network.to(resolve_device(device)))

    def posterior(self, catalogue: Catalogue, *, grid: Float[np.ndarray, "mass"] | None = None) -> MassPosteriors:
        """Infer the mass of every cluster.

        The densities are evaluated on a grid, without sampling, and a cluster may have any number of galaxies. You are
        warned if the catalogue has another richness cut than the training set.

        Args:
            catalogue: Mock or observed clusters.
            grid: Rising log10 masses [dex]; 256 over the support by default.

        Raises:
            ValueError: The catalogue is empty, has another cosmology than the training set, another aperture or
                velocity cut (a larger one, if the network takes conditions), or the grid leaves the support.
        """
        self._check(catalogue)
        low, high = self.support
        grid = np.linspace(low, high, _GRID) if grid is None else np.asarray(grid, float)
        if grid[0] < low or grid[-1] > high:
            raise ValueError(
                f"the grid reaches from {grid[0]} to {grid[-1]}, beyond the prior's support {low} to {high}."
            )
        log_prob, spread = log_prob_and_spread(self.network, catalogue, grid)
        found = MassPosteriors.from_log_prob(
            grid,
            log_prob,
            log_prior=self.prior.log_density(grid),
            names=catalogue.names,
            leakage=0.0 if self.is_truncated else leakage_of(self.network, catalogue, self.support),
        )
        if self.recalibration is not None:
            found = self.recalibration.apply(found)
        return replace(found, epistemic_std=spread)

    def joint(self, catalogue: Catalogue, n: int = 1000, *, seed: int) -> Posteriors:
        """Draw all parameters of every cluster: masses from `posterior`, the others given the mass.

        Masses are stratified, one from each nth part of the posterior, in random order.

        Args:
            catalogue: Mock or observed clusters.
            n: Number of draws of each cluster.
            seed: Seed of the draws.

        Raises:
            ValueError: The estimator infers the mass alone, or `posterior` refuses the catalogue.
        """
        further = self._given_mass()
        seeds = np.random.SeedSequence(seed).generate_state(len(catalogue)).tolist()
        return further.joint(self.posterior(catalogue), catalogue, n, seeds=seeds)

    def log_prob(
        self, catalogue: Catalogue, theta: Float[np.ndarray, "cluster parameter"]
    ) -> Float[np.ndarray, "cluster"]:
        """Natural log of each cluster's joint posterior density at one set of `parameters`; -inf outside the support.

        Raises:
            ValueError: The estimator infers the mass alone, theta has another shape, or `posterior` refuses the
                catalogue.
        """
        further = self._given_mass()
        if theta.shape != (len(catalogue), len(self.parameters)):
            raise ValueError(
                f"theta is (cluster, parameter) for {self.parameters}, {len(catalogue)} clusters; found {theta.shape}."
            )
        of_mass = self.posterior(catalogue).log_prob_at(theta[:, 0])
        return of_mass + further.log_prob(catalogue, theta[:, :1], theta[:, None, 1:])[:, 0]

    def _given_mass(self) -> "GivenMass":
        if self.given_mass is None:
            raise ValueError(
                "this estimator infers the mass alone.\n"
                "  try:    train(mocks, parameters=('log10_mass', 'log10_c200c', 'beta'))"
            )
        return self.given_mass

    @property
    def beyond_mass(self) -> "GivenMass | ConcentrationPrior":
        """What gives the other parameters at each mass: a network, or else the concentrations of haloes."""
        from sbi_clustermass.estimator.concentration_prior import ConcentrationPrior

        return ConcentrationPrior(self.cosmology) if self.given_mass is None else self.given_mass

    def epistemic_std(self, catalogue: Catalogue) -> Float[np.ndarray, "cluster"]:
        """Standard deviation between the members' posterior means [dex], which a larger training set would reduce.

        Its square plus the mean of the members' variances is the variance of the ensemble's posterior, which has it as
        `epistemic_std`, too; a recalibration does not change it.

        Raises:
            ValueError: There is only one network, or `posterior` refuses the catalogue.

        References:
            Lakshminarayanan, Pritzel & Blundell 2017 (arXiv:1612.01474).
        """
        if len(self.members) == 1:
            raise ValueError("one network cannot disagree with itself: train with members=5, say.")
        return np.asarray(self.posterior(catalogue).epistemic_std)

    def to_sbi(self, *, width: int | None = None) -> "DirectPosterior":
        """Return the posterior as sbi's `DirectPosterior`, for sbi's diagnostics (SBC, TARP, LC2ST) and plots.

        Its prior is flat over the support, whereas the network learned the effective training prior: draw test sets for
        sbi's diagnostics as the training set was drawn. A recalibration is not applied.

        Args:
            width: Number of galaxies to which every observation is padded, as sbi requires: `catalogue.padded(width)`.
                By default that of the richest training cluster, `richness[1]`.

        Raises:
            ValueError: `width` is not positive.

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
            if theirs != ours and not (self.takes_conditions and theirs < ours):
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

    def reasons(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[Reason, ...]]:
        """List reasons to distrust the mass of each cluster, graded and with their size where it is known.

        Args:
            catalogue: Clusters whose masses were inferred.
            posteriors: Their posteriors, from `posterior`.

        Returns:
            A tuple for each cluster, empty if nothing is wrong.

        Raises:
            ValueError: A cluster is so unlike the training set that its mass would be biased by more than .3 dex.
        """
        found = TrainingRange(
            self.support,
            self.observation,
            self.cosmology,
            self.richness,
            self.provenance,
            counts_galaxies=self.counts_galaxies,
            takes_conditions=self.takes_conditions,
        ).reasons(catalogue, posteriors)
        if self.alarm is None:
            return found
        unlike = self.alarm.warnings(self.network, catalogue, posteriors)
        return [(*outside, *_graded(more)) for outside, more in zip(found, unlike, strict=True)]

    def warnings(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
        """List the `reasons` of each cluster as sentences."""
        return [tuple(each.text for each in of) for of in self.reasons(catalogue, posteriors)]

    def save(self, folder: str | Path) -> None:
        """Write the estimator into a folder: arrays as safetensors, everything else as JSON.

        Raises:
            OSError: The folder cannot be written.
        """
        shape = (self.network.condition_shape[0], self.network.condition_shape[1])
        shared = {name: getattr(self, name) for name in _IN_CARD}
        card = Card(flow=self.flow.config(), condition_shape=shape, **shared)
        storage.save(Path(folder), card, self.network, self.alarm, self.given_mass, self.membership)

    @classmethod
    def load(cls, folder: str | Path, *, device: str = "auto") -> Self:
        """Read a saved estimator. Nothing is unpickled, so that a file from a stranger can do no harm.

        Args:
            folder: Folder that `save` wrote.
            device: "auto" takes CUDA if it is available.

        Raises:
            FileNotFoundError: The folder or a file in it is missing.
            ValueError: A file is damaged, truncated or of another kind, or the files do not belong together.
        """
        card, flow, network, alarm, given_mass, membership = storage.load(Path(folder))
        shared = {name: getattr(card, name) for name in _IN_CARD}
        parts = {"alarm": alarm, "given_mass": given_mass, "membership": membership}
        return cls(network=network, flow=flow, **parts, **shared).to(device)


def _graded(unlike: tuple[str, ...]) -> tuple[Reason, ...]:
    """Ask for care where a cluster is unlike the mocks in more than one way: one alone was not measured to matter."""
    return tuple(Reason(text, Grade.CARE if len(unlike) > 1 else Grade.USE) for text in unlike)
