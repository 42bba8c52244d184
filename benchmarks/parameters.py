"""Distances of joint posteriors of mass, concentration and anisotropy from the exact one, in nats.

    python benchmarks/parameters.py [--quick] [--out runs/parameters] [--embedding summary] [FLOW ...]

`SphericalJeans` with a background, flat in log10 M200c, log10 c200c and beta: 20 000 clusters to train on, 1000 for the
test. Every flow of FLOWS is trained on all three parameters in the prior's box, all behind one embedding; `chain` is
the mass first, by `tabulated` on `trial_masses`, then the others given it (`train(..., parameters=...)`). A distance is
the mean of ln q(truth) of the exact posterior minus that of the flow. P-values of SBC of each parameter and of TARP of
all three are sbi's, for `mdn` and `chain`. Finished parts are kept in --out, the chain as an estimator in its folder
chain, and the same command continues. `--quick` takes a fiftieth of the clusters: it tests that everything runs.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from time import process_time

import numpy as np
import torch
from jaxtyping import Float

from clustermocks import Catalogue, SphericalJeans
from sbi_clustermass import (
    EMBEDDINGS,
    FLOWS,
    ClusterNPE,
    JeansTask,
    Posteriors,
    Tabulated,
    Training,
    TrialMasses,
    train,
)
from sbi_clustermass.diagnostics.simulation_based_calibration import sbc_of_each, tarp
from sbi_clustermass.flows.evaluation import batches_of
from sbi_clustermass.training.defaults import default_training

PARAMETERS = ("log10_mass", "log10_c200c", "beta")
TASK = JeansTask(
    SphericalJeans(background=10.0, free=("log10_c200c", "beta")), low=(13.5, 0.3, -0.5), high=(15.3, 1.1, 0.5)
)
CHAIN, SAMPLES = "chain", 500
CALIBRATED = (CHAIN, "mdn")


@dataclass(frozen=True)
class Contest:
    """Clusters, and the exact log density at the true parameters of those for the test, (cluster,)."""

    train_set: Catalogue
    test_set: Catalogue
    exact: Float[np.ndarray, "cluster"]
    training: Training | None

    @property
    def truth(self) -> Float[np.ndarray, "cluster parameter"]:
        """True parameters of the clusters for the test."""
        return self.test_set.parameters(PARAMETERS)


def contest(folder: Path, *, seed: int, quick: bool) -> Contest:
    """Simulate the clusters and compute their exact posteriors, or read those that are kept."""
    shrink = 50 if quick else 1
    train_set, test_set = (simulated(n // shrink, s) for n, s in ((20_000, seed), (1000, seed + 1)))
    kept = folder / "exact.npy"
    if not kept.exists():
        x = torch.from_numpy(test_set.padded())
        parts = [TASK.reference_joint(part) for part in x.split(250)]
        truths = np.array_split(test_set.parameters(PARAMETERS), np.cumsum([len(part) for part in parts])[:-1])
        exact = [part.log_prob_at(truth) for part, truth in zip(parts, truths, strict=True)]
        folder.mkdir(parents=True, exist_ok=True)
        np.save(kept, np.concatenate(exact))
    return Contest(train_set, test_set, np.load(kept), Training(max_updates=60) if quick else None)


def simulated(n: int, seed: int) -> Catalogue:
    """Clusters of parameters flat in the box; one in a thousand has too few galaxies, and is left out."""
    theta = np.random.default_rng(seed).uniform(TASK.low, TASK.high, (n, len(PARAMETERS)))
    return TASK.model.simulate(theta, seed=seed)


def one_flow(name: str, embedding: str, given: Contest) -> tuple[Float[np.ndarray, "cluster"], Posteriors | None]:
    """Train a flow of all parameters in the box; its log densities at the truth, and samples to be calibrated."""
    flow = FLOWS[name](embedding=EMBEDDINGS[embedding]())
    theta = torch.from_numpy(given.train_set.parameters(PARAMETERS)).float()
    inference = ClusterNPE(TASK.prior, density_estimator=flow, device="cpu")
    inference.append_simulations(theta, torch.from_numpy(given.train_set.padded()))
    network = inference.train(given.training or replace(default_training(flow.embedding), seed=1))
    log_prob = np.empty(len(given.test_set))
    samples = np.empty((len(log_prob), SAMPLES, len(PARAMETERS)))
    torch.manual_seed(1)
    with torch.no_grad():
        for rows in batches_of(given.test_set.n_galaxies, clusters=100):
            x = torch.from_numpy(given.test_set.select(rows).padded())
            log_prob[rows] = -network.loss(torch.from_numpy(given.truth[rows]).float(), x).numpy()
            if name in CALIBRATED:
                samples[rows] = network.sample(torch.Size([SAMPLES]), x).transpose(0, 1).numpy()
    if name not in CALIBRATED:
        return log_prob, None
    names = tuple(map(str, range(len(samples))))
    return log_prob, Posteriors(PARAMETERS, samples, np.array(TASK.low), np.array(TASK.high), names)


def the_chain(given: Contest, folder: Path) -> tuple[Float[np.ndarray, "cluster"], Posteriors]:
    """Train the mass first and the others given it, and keep that; log densities at the truth, and samples."""
    estimator = train(
        given.train_set,
        flow=Tabulated(embedding=TrialMasses(14.4, 1.8, trials=73, edge=True)),
        parameters=PARAMETERS,
        support=dict(zip(PARAMETERS, zip(TASK.low, TASK.high, strict=True), strict=True)),
        training=given.training,
        training_given_mass=given.training,
        seed=1,
        device="cpu",
    )
    estimator.save(folder / CHAIN)
    return estimator.log_prob(given.test_set, given.truth), estimator.joint(given.test_set, SAMPLES, seed=1)


def measured(name: str, embedding: str, given: Contest, folder: Path) -> dict[str, object]:
    """Distance from the exact posterior with its error, p-values of SBC and TARP, and the time of the training."""
    start = process_time()
    log_prob, posteriors = the_chain(given, folder) if name == CHAIN else one_flow(name, embedding, given)
    lost = given.exact - log_prob
    found = {"lost": lost.mean(), "error": lost.std() / len(lost) ** 0.5, "seconds": process_time() - start}
    if posteriors is not None and len(lost) >= 100:
        found |= {each: of.ks_pvalue for each, of in sbc_of_each(posteriors, given.truth, seed=1).items()}
        found["tarp"] = tarp(posteriors, given.truth, seed=1).ks_pvalue
    return found


def main() -> None:
    """Print a line for each flow as it is done."""
    parser = argparse.ArgumentParser()
    parser.add_argument("flows", nargs="*", default=[*FLOWS, CHAIN], help=f"of {', '.join(FLOWS)}, and {CHAIN}")
    parser.add_argument("--embedding", default="summary", help="of the flows; the chain has its own")
    parser.add_argument("--seed", type=int, default=2, help="of the clusters")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("runs/parameters"))
    given = parser.parse_args()
    clusters = contest(given.out, seed=given.seed, quick=given.quick)
    exact = clusters.exact
    print(f"exact posterior: mean ln q {exact.mean():.3f} ± {exact.std() / len(exact) ** 0.5:.3f}", flush=True)
    for name in given.flows:
        kept = given.out / (f"{name}.json" if name == CHAIN else f"{name}+{given.embedding}.json")
        if not kept.exists():
            kept.write_text(json.dumps(measured(name, given.embedding, clusters, given.out), default=float))
        found = json.loads(kept.read_text())
        others = "  ".join(f"{key} {value:.3f}" for key, value in found.items() if key not in ("lost", "error"))
        print(f"{kept.stem:28} {found['lost']:.3f} ± {found['error']:.3f}  {others}", flush=True)


if __name__ == "__main__":
    main()
