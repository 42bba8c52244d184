"""Speed from galaxies to normalised posteriors on 256 masses: ours, and that of sbi's batched method, same weights.

    python benchmarks/inference.py [--clusters 20000] [--sbi-clusters 20] [--device cuda]
    python benchmarks/inference.py --stream 1000000 [--device cuda]

sbi gets the same weights as a stock `NFlowsFlow` with the embedding inside. It embeds a cluster again for each mass and
each of the 10 000 draws of its leakage factor, and keeps these images of all clusters at once. Its time grows with the
number of clusters (linearly, at best), so that 20 of them are timed and scaled. Peak memory is that of the process,
above what it held before.

`--stream` simulates so many mocks into a folder and infers their masses with `clustermass posteriors`, part by part. It
prints time and peak memory of both.
"""

import argparse
import resource
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from nflows.flows.base import Flow
from sbi.inference.posteriors import DirectPosterior
from sbi.neural_nets.estimators import NFlowsFlow

from clustermocks import Catalogue, FlatMasses, HaloModel
from sbi_clustermass import MassEstimator, Training, as_tensors, mass_prior, train
from sbi_clustermass.cli.posteriors import posteriors
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.flows.ensemble import Ensemble

SUPPORT = (13.5, 15.3)


def ours(estimator: MassEstimator, mocks: Catalogue) -> float:
    """Seconds a cluster."""
    start = perf_counter()
    estimator.posterior(mocks)
    return (perf_counter() - start) / len(mocks)


def sbis(estimator: MassEstimator, mocks: Catalogue) -> float:
    """Seconds a cluster of `log_prob_batched(norm_posterior=True)`."""
    stock, device = _stock(estimator.network), next(estimator.network.parameters()).device.type
    x = as_tensors(mocks)[1].to(device)
    prior = mass_prior(*SUPPORT, device=device)
    posterior = DirectPosterior(NFlowsFlow(stock, torch.Size([1]), x.shape[1:]), prior, device=device)
    grid = torch.linspace(*SUPPORT, 256, device=device)[:, None, None].expand(256, len(x), 1)
    start = perf_counter()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        posterior.log_prob_batched(grid, x, norm_posterior=True).cpu()
    return (perf_counter() - start) / len(x)


def peak_memory() -> float:
    """Largest memory the process ever had [MB]; Linux counts in kB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def streamed(n: int, device: str) -> None:
    """Print times and peak memory from masses to posteriors on disk."""
    with TemporaryDirectory() as scratch:
        folder, model = Path(scratch), HaloModel.ho2019()
        few = model.simulate(FlatMasses(*SUPPORT).draw(500, seed=2), seed=2)
        train(few, support=SUPPORT, training=Training(max_updates=1), device=device).save(folder / "model")
        start, before = perf_counter(), peak_memory()
        model.simulate_to(folder / "mocks", FlatMasses(*SUPPORT).draw(n, seed=1), seed=1)
        simulated, after = perf_counter(), peak_memory()
        posteriors(folder / "mocks", model=folder / "model", out=folder / "masses.parquet", device=device)
        inferred, at_end = perf_counter(), peak_memory()
        size = (folder / "masses.parquet").stat().st_size
        print(f"{n} mocks to posteriors on 256 masses, {device}, {torch.get_num_threads()} threads")
        print(f"  simulated  {1e6 * (simulated - start) / n:8.1f} us a cluster, {after - before:6.0f} MB more")
        print(f"  inferred   {1e6 * (inferred - simulated) / n:8.1f} us a cluster, {at_end - after:6.0f} MB more")
        print(f"  file of posteriors {size / 1e9:.2f} GB")


def _stock(network: EmbedOnce | Ensemble) -> Flow:
    """The same weights as a plain nflows flow with the embedding inside.

    Raises:
        TypeError: The network is not one built by `StackedAffine`.
    """
    if not isinstance(network, EmbedOnce) or not isinstance(network.net, NFlowsFlow):
        raise TypeError(f"needs a network of nflows' own parts, got {type(network).__name__}.")
    flow = network.net.net
    return Flow(flow._transform, flow._distribution, network.embedding_net)


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="Galaxies to posteriors: ours and sbi's.")
    parser.add_argument("--clusters", type=int, default=20_000, help="clusters for us")
    parser.add_argument("--sbi-clusters", type=int, default=20, help="clusters for sbi")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the network, for both")
    parser.add_argument("--stream", type=int, help="mocks that are simulated and inferred part by part")
    options = parser.parse_args()
    if options.stream:
        streamed(options.stream, options.device)
        return
    mocks = HaloModel.ho2019().simulate(FlatMasses(*SUPPORT).draw(options.clusters, seed=1), seed=1)
    training = Training(max_updates=1)
    estimator = train(mocks.select(np.arange(500)), support=SUPPORT, training=training, device=options.device)
    estimator.posterior(mocks.select(np.arange(500)))
    before = peak_memory()
    our_time = ours(estimator, mocks)
    memory = peak_memory() - before
    sbi_time = sbis(estimator, mocks.select(np.arange(options.sbi_clusters)))
    print(
        f"posteriors on 256 masses, {len(mocks)} clusters (sbi: {options.sbi_clusters}, scaled), {options.device}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"  ours  {1e3 * our_time:8.2f} ms a cluster, {our_time * len(mocks):.1f} s in all, {memory:.0f} MB more")
    print(f"  sbi   {1e3 * sbi_time:8.2f} ms a cluster    ratio {sbi_time / our_time:6.0f}    (at least 100)")


if __name__ == "__main__":
    main()
