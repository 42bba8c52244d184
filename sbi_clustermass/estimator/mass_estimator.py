"""A trained flow together with its prior, observation settings, training range and provenance.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, final

import numpy as np
from jaxtyping import Float

from clustermocks import Catalogue
from clustermocks.io.paths import as_path
from sbi_clustermass.estimator.compatibility import check_observation, grid_inside
from sbi_clustermass.estimator.trained_estimator import TrainedEstimator
from sbi_clustermass.estimator.verdict import Reason, unlike_mocks
from sbi_clustermass.estimator.warnings import TrainingRange
from sbi_clustermass.flows.evaluation import leakage_of, log_prob_and_spread
from sbi_clustermass.posterior import MassPosteriors, Posteriors, Recalibration
from sbi_clustermass.training import Progress, Training

if TYPE_CHECKING:
    from sbi.inference.posteriors import DirectPosterior

    from sbi_clustermass.estimator.given_mass import GivenMass


@final
class MassEstimator(TrainedEstimator):
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
        given_mass: Density of other parameters given the mass; None if the mass alone is inferred.
        membership: Network of the galaxies' memberships; None if `with_membership` was not called.

    Example:
        >>> estimator = train(mocks, seed=1)  # doctest: +SKIP
        >>> posteriors = estimator.posterior(clusters)  # doctest: +SKIP
        >>> posteriors.mean, posteriors.std  # doctest: +SKIP
    """

    def with_parameters(
        self,
        mocks: Catalogue | Iterable[Catalogue],
        parameters: Sequence[str],
        *,
        training: Training | None = None,
        checkpoint: str | Path | None = None,
        progress: Progress | None = None,
    ) -> Self:
        """Train a network of other parameters given the mass, of the same flow; the mass does not change.

        Args:
            mocks: Clusters drawn and observed as the training set was, or it itself; in parts, if larger than memory.
            parameters: Names besides the mass, as `train` takes them.
            training: Settings of the training; by default `default_training_given_mass`.
            checkpoint: Folder for the state of the training, from which the same call resumes.
            progress: Called at every validation.

        Raises:
            ValueError: The mocks do not hold a parameter, `posterior` refuses them, or the mass' training is not known.
        """
        from sbi_clustermass.estimator.given_mass_training import train_on_mocks

        folder = None if checkpoint is None else as_path(checkpoint)
        given_mass = train_on_mocks(self, mocks, parameters, training=training, checkpoint=folder, progress=progress)
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
            ValueError: There are too few mocks, they do not hold masses and truths, or `posterior` refuses them.
        """
        from sbi_clustermass.estimator.membership.membership import Membership

        check_observation(mocks, self.observation, self.cosmology, smaller=self.takes_any_field)
        membership = Membership.fit(mocks, richness=self.counts_galaxies, conditions=self.takes_conditions, seed=seed)
        return replace(self, membership=membership, provenance=replace(self.provenance, membership_clusters=len(mocks)))

    def memberships(
        self, catalogue: Catalogue, posteriors: MassPosteriors | None = None
    ) -> Float[np.ndarray, "galaxy definition"]:
        """Probability of each galaxy to belong to its cluster, with the mass marginalised over its posterior.

        Where the catalogue states that interlopers were removed, the probabilities are those of the remaining galaxies.

        Args:
            catalogue: Mock or observed clusters.
            posteriors: Their posteriors, from `posterior`; inferred if not given.

        Returns:
            Probabilities to lie inside r200c, to lie inside the virial radius, and to be bound (too slow to get beyond
            5 r200c), for galaxies in the order of `Catalogue.galaxy_column`.

        Raises:
            ValueError: The estimator has no membership, posteriors are missing, or `posterior` refuses the clusters.
        """
        if self.membership is None:
            raise ValueError(
                "this estimator does not know members from interlopers.\n"
                "  try:    estimator.with_membership(mocks), and save it"
            )
        posteriors = self.posterior(catalogue) if posteriors is None else posteriors
        if len(posteriors) != len(catalogue):
            raise ValueError(f"memberships: {len(posteriors)} posteriors of {len(catalogue)} clusters.")
        return self.membership.memberships(catalogue, posteriors)

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
        check_observation(catalogue, self.observation, self.cosmology, smaller=self.takes_any_field)
        grid = grid_inside(self.support, grid)
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
            n: Number of draws of each cluster, at least two.
            seed: Seed of the draws.

        Raises:
            ValueError: The estimator infers the mass alone, or `posterior` refuses the catalogue.
        """
        given_mass = self._given_mass()
        seeds = np.random.SeedSequence(seed).generate_state(len(catalogue)).tolist()
        return given_mass.joint(self.posterior(catalogue), catalogue, n, seeds=seeds)

    def log_prob(
        self, catalogue: Catalogue, theta: Float[np.ndarray, "cluster parameter"]
    ) -> Float[np.ndarray, "cluster"]:
        """Natural log of each cluster's joint posterior density at one set of `parameters`; -inf outside the support,
        NaN for a NaN.

        Raises:
            ValueError: The estimator infers the mass alone, theta has another shape, or `posterior` refuses the
                catalogue.
        """
        given_mass, theta = self._given_mass(), np.asarray(theta, float)
        if theta.shape != (len(catalogue), len(self.parameters)):
            raise ValueError(
                f"theta is (cluster, parameter) for {self.parameters}, {len(catalogue)} clusters; found {theta.shape}."
            )
        unknown = np.asarray(np.isnan(theta).any(axis=1))
        theta = np.where(unknown[:, None], (self.support[0], *given_mass.low), theta)  # sbi's mixtures refuse a NaN
        of_mass = self.posterior(catalogue).log_prob_at(theta[:, 0])
        found = of_mass + given_mass.log_prob(catalogue, theta[:, :1], theta[:, None, 1:])[:, 0]
        return np.where(unknown, np.nan, found)

    def _given_mass(self) -> "GivenMass":
        if self.given_mass is None:
            raise ValueError(
                "this estimator infers the mass alone.\n"
                "  try:    train(mocks, parameters=('log10_mass', 'log10_c200c', 'beta'))"
            )
        return self.given_mass

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
        found = TrainingRange.from_estimator(self).reasons(catalogue, posteriors)
        if self.alarm is None:
            return found
        unlike = self.alarm.warnings(self.network, catalogue, posteriors)
        return [(*outside, *unlike_mocks(more)) for outside, more in zip(found, unlike, strict=True)]

    def warnings(self, catalogue: Catalogue, posteriors: MassPosteriors) -> list[tuple[str, ...]]:
        """List the `reasons` of each cluster as sentences."""
        return [tuple(each.text for each in of) for of in self.reasons(catalogue, posteriors)]
