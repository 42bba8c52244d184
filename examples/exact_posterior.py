"""Distances of flows from the exact posterior, in nats, on clusters with a known likelihood.

    python examples/exact_posterior.py

Trains the paper's flow and one that counts galaxies in units of trial masses, a few hundred updates each, on spherical
clusters over a uniform background. `clustermass compare --jeans mass+background` does the same for any combination.
"""

from clustermocks import SphericalJeans
from sbi_clustermass import KDEImage, StackedAffine, Tabulated, Training, TrialMasses
from sbi_clustermass.diagnostics.comparison import Comparison, ComparisonSetup, compare


def main(n_clusters: int = 4000, hidden: tuple[int, ...] = (512, 64, 512), max_updates: int = 600) -> None:
    """Print the mean log posterior density at the true mass, of the flows and exact.

    Args:
        n_clusters: Clusters to simulate, a quarter of them for the comparison.
        hidden: Widths of each block's conditioner in the paper's flow; the default is the paper's.
        max_updates: Weight updates of each training.
    """
    model = SphericalJeans(background=10.0)
    paper = ComparisonSetup.from_jeans(model, n_clusters, training=Training(max_updates=max_updates, seed=1))
    faster = Training(max_updates=max_updates, learning_rate=5e-3, batch_size=200, seed=1)
    results = (
        compare(paper, {"stacked_affine": StackedAffine(hidden=hidden)}, {"kde": KDEImage()}),
        compare(paper.with_training(faster), {"tabulated": Tabulated()}, {"trial_masses": TrialMasses(edge=True)}),
    )
    found = Comparison.joined(*results)
    print(found.markdown())
    for row in found.rows:
        print(f"{row.entry.name} stands {row.gap} nats below the exact posterior")


if __name__ == "__main__":
    main()
