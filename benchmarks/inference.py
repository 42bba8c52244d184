"""Galaxies to normalised posteriors on 256 masses: ours, and sbi's batched route with the same weights.

    python benchmarks/inference.py

sbi gets the same weights as a stock `NFlowsFlow` with the embedding inside, and is timed on fewer clusters because it
embeds a cluster again for each mass.
"""

import warnings
from time import perf_counter

import numpy as np
import torch
from nflows.flows.base import Flow
from sbi.inference.posteriors import DirectPosterior
from sbi.neural_nets.estimators import NFlowsFlow
from torch import nn

from clustermocks import Catalogue, FlatMasses, HaloModel
from sbi_clustermass import MassEstimator, Training, as_tensors, mass_prior, train

CLUSTERS, SBI_CLUSTERS, SUPPORT = 5000, 20, (13.5, 15.3)


def ours(estimator: MassEstimator, mocks: Catalogue) -> float:
    """Seconds a cluster."""
    start = perf_counter()
    estimator.posterior(mocks)
    return (perf_counter() - start) / len(mocks)


def sbis(estimator: MassEstimator, mocks: Catalogue) -> float:
    """Seconds a cluster of `log_prob_batched(norm_posterior=True)`."""
    network = estimator.network
    flow = network.net.net
    stock = Flow(flow._transform, flow._distribution, nn.Sequential(network.summary, network.embedding))
    x = as_tensors(mocks)[1]
    posterior = DirectPosterior(NFlowsFlow(stock, torch.Size([1]), x.shape[1:]), mass_prior(*SUPPORT))
    grid = torch.linspace(*SUPPORT, 256)[:, None, None].expand(256, len(x), 1)
    start = perf_counter()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        posterior.log_prob_batched(grid, x, norm_posterior=True)
    return (perf_counter() - start) / len(x)


def main() -> None:
    """Print the comparison."""
    mocks = HaloModel.ho2019().simulate(FlatMasses(*SUPPORT).draw(CLUSTERS, seed=1), seed=1)
    training = Training(max_updates=1)
    estimator = train(mocks.select(np.arange(500)), support=SUPPORT, training=training, device="cpu")
    our_time, sbi_time = ours(estimator, mocks), sbis(estimator, mocks.select(np.arange(SBI_CLUSTERS)))
    print(f"posteriors on 256 masses, {len(mocks)} clusters (sbi: {SBI_CLUSTERS}), {torch.get_num_threads()} threads")
    print(f"  ours  {1e3 * our_time:8.2f} ms a cluster")
    print(f"  sbi   {1e3 * sbi_time:8.2f} ms a cluster    ratio {sbi_time / our_time:6.0f}    (at least 100)")


if __name__ == "__main__":
    main()
