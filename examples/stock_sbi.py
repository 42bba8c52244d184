"""The paper's flow in stock sbi: its builder goes into `NPE` like any other, and so would yours.

    python examples/stock_sbi.py

Trains on 2000 clusters of the published mocks' kind for two epochs, then draws the mass of a held-out one.
"""

from sbi.inference import NPE

from clustermocks import FlatMasses, HaloModel
from sbi_clustermass import StackedAffine, as_tensors, mass_prior


def main(n_clusters: int = 2000, hidden: tuple[int, ...] = (512, 64, 512)) -> None:
    """Train and sample with sbi's own classes.

    Args:
        n_clusters: Clusters to simulate.
        hidden: Widths of each block's conditioner; the default is the paper's.
    """
    masses = FlatMasses(13.5, 15.3).draw(n_clusters, seed=1)
    mocks = HaloModel.ho2019().simulate(masses, seed=1)
    theta, x = as_tensors(mocks)  # (cluster, 1) masses, (cluster, galaxy, 3) padded galaxies

    inference = NPE(mass_prior(13.5, 15.3), density_estimator=StackedAffine(hidden=hidden))
    inference.append_simulations(theta[:-1], x[:-1]).train(training_batch_size=100, max_num_epochs=1)
    samples = inference.build_posterior().sample((1000,), x=x[-1:])
    print(f"log10 M200c {samples.mean():.2f} ± {samples.std():.2f}, truth {theta[-1].item():.2f}")


if __name__ == "__main__":
    main()
