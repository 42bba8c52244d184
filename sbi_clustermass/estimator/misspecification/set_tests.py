"""Tests of whole sets of clusters against mocks, by sbi: fifty clusters may show what a single one does not."""

import numpy as np
from jaxtyping import Float


def set_mmd(
    clusters: Float[np.ndarray, "cluster feature"],
    mocks: Float[np.ndarray, "mock feature"],
    *,
    seed: int,
    shuffles: int = 300,
) -> float:
    """P-value of the maximum mean discrepancy between a set of clusters and mocks, by sbi: small if the set differs.

    Suitable features are `FeatureDistance.whitened` or `SummaryChecks.standardised`: they do not depend on the set's
    distribution of mass and richness.

    Args:
        clusters: Features of the set, at least two clusters.
        mocks: Features of more mocks than clusters; 1000 at most are used.
        seed: Seed of the choice of mocks.
        shuffles: Number of sets of mocks to compare with [1].

    Raises:
        ValueError: Fewer than two clusters, or no more mocks than clusters.

    References:
        Schmitt et al. 2023, arXiv:2112.08866; `sbi.diagnostics.misspecification`.
    """
    import torch
    from sbi.diagnostics.misspecification import calc_misspecification_mmd

    if len(clusters) < 2 or len(mocks) < 2 * len(clusters):
        raise ValueError(
            f"set_mmd: {len(clusters)} clusters and {len(mocks)} mocks; needs two, and twice as many mocks."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        shuffled = torch.as_tensor(mocks, dtype=torch.float32)[torch.randperm(len(mocks))]
        x_obs = torch.as_tensor(clusters, dtype=torch.float32)
        size = min(1000, len(mocks))
        return float(calc_misspecification_mmd(x_obs, shuffled, n_shuffle=shuffles, max_samples=size)[0])


def marginal_p_value(
    clusters: Float[np.ndarray, "cluster feature"],
    mocks: Float[np.ndarray, "mock feature"],
    *,
    seed: int,
    epochs: int = 200,
) -> Float[np.ndarray, "cluster"]:
    """P-value of each cluster's density among mocks, under sbi's flow of the features: small if it is unusual.

    The flow is trained on half of the mocks; the p-value is the share of the other half that has a lower density.

    Args:
        clusters: Features of the clusters, as for `set_mmd`.
        mocks: Features of some thousand mocks.
        seed: Seed of the halves and the flow.
        epochs: Largest number of epochs of the training.

    References:
        `sbi.diagnostics.misspecification.calc_misspecification_logprob`, whose p-value this is.
    """
    import torch
    from sbi.inference import MarginalTrainer

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        x = torch.as_tensor(mocks, dtype=torch.float32)[torch.randperm(len(mocks))]
        trainer = MarginalTrainer("nsf", show_progress_bars=False).append_samples(x[: len(x) // 2])
        density = trainer.train(max_num_epochs=epochs)
    with torch.no_grad():
        held_out = np.sort(density.log_prob(x[len(x) // 2 :]).numpy())
        found = density.log_prob(torch.as_tensor(clusters, dtype=torch.float32)).numpy()
    return np.searchsorted(held_out, found, side="right") / len(held_out)
