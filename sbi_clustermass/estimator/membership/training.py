"""Training of a membership network on galaxies of mocks, each at the true mass of its cluster."""

from math import cos, pi

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clustermocks import Catalogue
from clustermocks.kinematics.padding import rows_of_runs
from sbi_clustermass.estimator.membership.features import GALAXY_INPUTS, Features
from sbi_clustermass.estimator.membership.network import DEFINITIONS, MembershipNetwork, cross_entropy
from sbi_clustermass.flows.evaluation import batches_of
from sbi_clustermass.flows.precision import single_precision

LEAST_MOCKS = 100
_UPDATES, _BATCH, _RATE = 20_000, 128, 3e-3  # weight updates at most, clusters in each, Adam's first learning rate
_EPOCHS = 30  # at most: fewer updates for fewer mocks
_HELD_OUT, _CHECKS = 0.1, 20  # share of the hosts for validation, and number of validations
SLOTS = 20_000  # galaxies and padding in a batch


def train_network(mocks: Catalogue, *, richness: bool, conditions: bool, seed: int) -> MembershipNetwork:
    """Train a network on mocks, and keep the weights of its lowest loss on the last tenth of the hosts.

    Raises:
        ValueError: There are too few mocks, or they do not hold masses and truths.
    """
    _check(mocks)
    with torch.random.fork_rng(devices=[]), single_precision():
        torch.manual_seed(seed)
        network = MembershipNetwork(richness=richness, conditions=conditions)
    features, truth = _at_true_masses(network, mocks)
    hosts, rng = np.unique(mocks.host_id), np.random.default_rng(seed)
    is_held_out = mocks.host_id >= hosts[-max(round(_HELD_OUT * len(hosts)), 1)]  # those drawn last: other surveys
    runs = _Runs(features, truth, mocks.n_galaxies)
    return _fit(network, runs, np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out), rng)


def _check(mocks: Catalogue) -> None:
    missing = [name for name in DEFINITIONS if name not in mocks.columns]
    if missing or not np.isfinite(mocks.log10_mass).all():
        what = f"no {', '.join(missing)}" if missing else "clusters without a mass"
        raise ValueError(f"with_membership: the catalogue has {what}.\n  try:    mocks of HaloModel().simulate")
    if len(mocks) < LEAST_MOCKS:
        raise ValueError(f"with_membership: {len(mocks)} mocks are too few; a few ten thousand are good.")


class _Runs:
    """Features and truths of the galaxies of all mocks, from which those of some clusters are taken."""

    def __init__(self, features: Features, truth: Float[Tensor, "galaxy 3"], n: Int[np.ndarray, "cluster"]) -> None:
        self.features, self.truth, self.n, self.first = features, truth, n, np.cumsum(n) - n

    def take(self, clusters: Int[np.ndarray, "some"]) -> tuple[Features, Float[Tensor, "galaxy 3"]]:
        """Features and truths of some clusters."""
        n = self.n[clusters]
        rows = torch.from_numpy(rows_of_runs(self.first[clusters], n))
        cluster = torch.from_numpy(np.repeat(np.arange(len(n)), n))
        picked = Features(self.features.clusters[clusters], self.features.galaxies[rows], cluster)
        return picked, self.truth[rows]


def _at_true_masses(network: MembershipNetwork, mocks: Catalogue) -> tuple[Features, Float[Tensor, "galaxy 3"]]:
    """Features of all clusters at their true masses, in the order of the catalogue."""
    first = np.cumsum(mocks.n_galaxies) - mocks.n_galaxies
    clusters = torch.empty(len(mocks), network.features.width, dtype=torch.float32)
    galaxies = torch.empty(int(mocks.n_galaxies.sum()), GALAXY_INPUTS, dtype=torch.float32)
    for rows in batches_of(mocks.n_galaxies, slots=SLOTS):
        some = mocks.select(rows)
        x = torch.from_numpy(some.padded(conditions=network.features.conditions))
        found = network.features(x, torch.from_numpy(some.log10_mass.astype(np.float32)))
        clusters[rows] = found.clusters
        galaxies[rows_of_runs(first[rows], mocks.n_galaxies[rows])] = found.galaxies
    truth = np.stack([mocks.galaxy_column(name) for name in DEFINITIONS], -1).astype(np.float32)
    index = torch.from_numpy(mocks.cluster_of_galaxy)
    return Features(clusters, galaxies, index), torch.from_numpy(truth)


def _fit(
    network: MembershipNetwork,
    runs: _Runs,
    fitting: Int[np.ndarray, "some"],
    validating: Int[np.ndarray, "others"],
    rng: np.random.Generator,
) -> MembershipNetwork:
    """Adam with a learning rate that falls to 0 as half a cosine; the best weights of all validations are kept.

    `training.loop` is for densities of a cluster's parameters; here each galaxy is an example, and features, which have
    no weights, are computed once.
    """
    updates = min(_UPDATES, _EPOCHS * len(fitting) // _BATCH + 1)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    best, least = network.state_dict(), np.inf
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = _RATE * (1 + cos(pi * update / updates)) / 2
        features, truth = runs.take(rng.choice(fitting, _BATCH))
        optimizer.zero_grad()
        cross_entropy(network(features), truth).mean().backward()
        optimizer.step()
        if (update + 1) % max(updates // _CHECKS, 1) == 0 or update == updates - 1:
            loss = _loss(network, runs, validating)
            if loss < least:
                best, least = {name: value.clone() for name, value in network.state_dict().items()}, loss
    network.load_state_dict(best)
    return network.eval()


@torch.no_grad()
def _loss(network: MembershipNetwork, runs: _Runs, clusters: Int[np.ndarray, "some"]) -> float:
    total, n = 0.0, 0
    for some in np.array_split(clusters, max(len(clusters) // 1000, 1)):
        features, truth = runs.take(some)
        total, n = total + float(cross_entropy(network(features), truth).sum()), n + truth.numel()
    return total / n
