"""Weight updates per second with the paper's network: ours, a bare torch loop, and stock `NPE.train`.

    python benchmarks/training.py [--device cuda]

All three train the same network on the same 2000 clusters with batches of 100 and validate on 200. The bare loop and
ours take the truncated loss from images computed once and validate every 100 updates; stock NPE takes its plain loss
and computes the images in every update. The network that ships is timed next: `Tabulated` on `TrialMasses`, with
clusters thinned anew in every update.
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
import torch
from sbi.inference import NPE

from clustermocks import Catalogue, FlatMasses, HaloModel
from sbi_clustermass import StackedAffine, Tabulated, Training, TrialMasses, as_tensors, mass_prior
from sbi_clustermass.flows import EmbedOnce
from sbi_clustermass.training import (
    Augmentation,
    Dataset,
    DenseDataset,
    GalaxyWriter,
    Storage,
    TrainingData,
    fit,
    split_by_group,
)
from sbi_clustermass.training.tracker import NullTracker

CLUSTERS, SUPPORT = 2000, (13.5, 15.3)
UPDATES = {"cpu": 200, "cuda": 2000}


def ours(theta: torch.Tensor, x: torch.Tensor) -> float:
    """Updates per second of `fit`, with the computation of the images."""
    return fitted(StackedAffine()(theta.cpu(), x.cpu()), DenseDataset(theta, x), None)


def thinned(theta: torch.Tensor, mocks: Catalogue) -> float:
    """Updates per second of the network that ships, on galaxies that change with every update."""
    writer = GalaxyWriter(Storage(theta.device))
    writer.append(np.stack([mocks.galaxy_column(name) for name in ("R_proj", "v_los")], 1), mocks.n_galaxies)
    network = Tabulated(embedding=TrialMasses())(theta.cpu(), as_tensors(mocks)[1])
    return fitted(network, writer.finish(theta), Augmentation(recentre=True))


def fitted(network: EmbedOnce, dataset: Dataset, augmentation: Augmentation | None) -> float:
    """Updates per second of `fit`, on the device of the dataset."""
    updates, n = UPDATES[dataset.theta.device.type], len(dataset.theta)
    training = Training(max_updates=updates, patience=updates, augmentation=augmentation)
    network, data = network.to(dataset.theta.device), TrainingData(dataset, split_by_group(np.arange(n), training))
    start = perf_counter()
    fit(network, data, support=SUPPORT, training=training)  # ends with a validation: all was computed
    return updates / (perf_counter() - start)


def bare(theta: torch.Tensor, x: torch.Tensor) -> float:
    """Updates per second of the shortest loop that does the same."""
    network, updates = StackedAffine()(theta.cpu(), x.cpu()).to(theta.device), UPDATES[theta.device.type]
    start = perf_counter()
    with torch.no_grad():
        images = network.summary(x)
    live, n = network.on_summaries(), int(0.9 * len(x))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
    for update in range(1, updates + 1):
        rows = torch.randint(0, n, (100,), device=theta.device)
        loss = live.truncated_loss(theta[rows], images[rows], low=SUPPORT[0], high=SUPPORT[1]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        if update % 100 == 0:
            with torch.no_grad():
                live.truncated_loss(theta[n:], images[n:], low=SUPPORT[0], high=SUPPORT[1]).mean().item()
    return updates / (perf_counter() - start)


def stock(theta: torch.Tensor, x: torch.Tensor) -> float:
    """Updates per second of sbi's own loop."""
    inference = NPE(
        mass_prior(*SUPPORT, device=theta.device.type), density_estimator=StackedAffine(), device=theta.device.type,
        tracker=NullTracker(), show_progress_bars=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inference.append_simulations(theta, x)
        start = perf_counter()
        inference.train(training_batch_size=100, learning_rate=1e-4, max_num_epochs=4)
    return 5 * int(0.9 * len(theta) / 100) / (perf_counter() - start)  # max_num_epochs=4 runs five


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description="Weight updates a second.")
    parser.add_argument("--device", choices=list(UPDATES), default="cpu")
    device = parser.parse_args().device
    mocks = HaloModel.ho2019().simulate(FlatMasses(*SUPPORT).draw(CLUSTERS, seed=1), seed=1)
    theta, x = (part.to(device) for part in as_tensors(mocks))
    if device != "cpu":
        bare(theta, x)  # the first use of a device is slow
    rates = {name: run(theta, x) for name, run in {"bare": bare, "ours": ours, "stock": stock}.items()}
    print(f"training, {len(theta)} clusters, 4 042 950 weights, {device}, {torch.get_num_threads()} threads")
    print(f"  ours             {rates['ours']:6.1f} updates/s")
    for name, least in (("bare", 0.95), ("stock", 1.1)):
        ratio = rates["ours"] / rates[name]
        print(f"  {name:<15}  {rates[name]:6.1f} updates/s    ratio {ratio:5.2f}    (at least {least})", flush=True)
    print(f"the network that ships, thinned anew: {thinned(theta, mocks):.1f} updates/s")


if __name__ == "__main__":
    main()
