"""Numbers of the paper that describe its mocks and its network, beside ours.

Masses are M200c [h^-1 Msun] as log10_mass [dex].
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from clustermocks import Catalogue
from clustermocks.haloes.cosmology import Cosmology
from kodi_ramanah_2020.mass_functions import Sets
from kodi_ramanah_2020.published import Kind
from sbi_clustermass.diagnostics.saliency import SIGMA
from sbi_clustermass.embeddings import KDEImage
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.flows import StackedAffine

SAME = "the same"
_ENOUGH = 19_000  # clusters that are "around 20 000"
_NO_SIMULATION = "no N-body simulation: triaxial NFW haloes in Jeans equilibrium"
_SUBHALOES = "galaxies by halo mass as Ho et al. 2019 show them, whose subhaloes these are"
_FLAT_HOSTS = "our haloes are drawn flat in mass; those of a simulation follow the mass function"
_POORER = "members alone are fewer, so that more clusters fail the cut of ten galaxies"
_CHANCE = "the rule stops at the first pause of the validation loss, and when that comes is chance"
_MACHINE = "it depends on the machine: benchmarks/training.py"


class Row(NamedTuple):
    """A number of the paper, ours, and why they differ."""

    where: str
    what: str
    paper: str
    ours: str
    reason: str = SAME


def mock_rows(sets: Mapping[Kind, Sets]) -> Iterator[Row]:
    """Yield the numbers of section 2."""
    training, test = sets["contaminated"].training, sets["contaminated"].test
    seen, cosmology = test.observation, test.cosmology
    cylinder = f"{seen.aperture:g} h^-1 Mpc, {seen.v_cut:g} km/s"
    gained = f"3, {_gained(training):.0f} %"
    low = f"{training.attempts['log10_mass'].to_numpy().min():.1f}"
    yield Row("2.3", "particles, first redshift", "3840^3, 120", "–", _NO_SIMULATION)
    yield Row("2.3", "volume, particle mass", "1 (h^-1 Gpc)^3, 1.51e9 h^-1 Msun", "–", _NO_SIMULATION)
    yield Row("2.3", "redshift", "0.117", f"{seen.redshift:g}")
    yield Row("2.3", "Om, OL, h, sigma8, n_s", "0.307, 0.693, 0.678, 0.8228, 0.96", _of_cosmology(cosmology))
    yield Row("2.3", "lowest log10 M200c", "13.5", low)
    yield Row("2.3", "least mass of a subhalo at accretion", "1e11 h^-1 Msun", "–", _SUBHALOES)
    yield Row("2.3", "aperture, velocity cut", "1.6 h^-1 Mpc, 2500 km/s", cylinder)
    yield Row("2.3", "fewest galaxies", "10", f"{seen.min_galaxies}")
    yield Row("2.3", "lines of sight, clusters gained by more above 10^14.6", "3, 1.5 %", gained, _FLAT_HOSTS)
    for kind, pair in sets.items():
        sizes = len(pair.training), len(pair.test)
        reason = SAME if min(sizes) >= _ENOUGH else _POORER
        paper, ours = "around 20 000, 20 000", f"{sizes[0]}, {sizes[1]}"
        yield Row("2.3", f"clusters to train on, for the test; {kind}", paper, ours, reason)


def network_rows(estimators: Mapping[Kind, MassEstimator]) -> Iterator[Row]:
    """Yield the numbers of sections 2.2 and 4, and of appendix A."""
    flow, training = estimators["contaminated"].flow, estimators["contaminated"].provenance.training
    if training is None or not isinstance(flow, StackedAffine) or not isinstance(flow.embedding, KDEImage):
        raise TypeError(f"the paper's flow on its image is needed, found {flow!r}.")
    image, hidden = flow.embedding, ", ".join(map(str, flow.hidden))
    extent = f"0 to {image.aperture:g} h^-1 Mpc, {image.v_max:g} km/s, {image.bins}"
    rule = f"{training.learning_rate:g}, {training.batch_size}"
    held_out = f"{training.validation_fraction:.0%}".replace("%", " %")
    updates = ", ".join(f"{each.histories[0].best_update} ({kind})" for kind, each in estimators.items())
    yield Row("2.2", "extent and bins of the image", "0 to 1.6 h^-1 Mpc, 2200 km/s, 50", extent)
    yield Row("A", "kernel over sample covariance", "0.15", f"{image.factor**2:.2f}")
    yield Row("4.1", "blocks; neurons of their layers", "3; 512, 64, 512", f"{flow.blocks}; {hidden}")
    yield Row("2.3", "share held out for validation", "10 %", held_out)
    yield Row("4.2", "learning rate, clusters an update", "0.0001, 100", rule)
    yield Row("4.2", "updates without improvement", "200", f"{training.patience}")
    yield Row("4.2", "weight updates", "about 2000", updates, _CHANCE)
    yield Row("4.2", "training", "five minutes of a V100", "–", _MACHINE)


def mask_rows() -> Iterator[Row]:
    """Yield the numbers of section 7."""
    image = KDEImage()
    size = f"{SIGMA:g}: {SIGMA * image.pixel[1]:.0f} km/s, {SIGMA * image.pixel[0]:.3f} h^-1 Mpc"
    yield Row("7", "width of a mask in pixels", "2: 176 km/s, 0.064 h^-1 Mpc", size)
    yield Row("7", "masked images of a cluster", "2500", f"{image.bins**2}")


def _of_cosmology(cosmology: Cosmology) -> str:
    numbers = (cosmology.Om0, 1 - cosmology.Om0, cosmology.h, cosmology.sigma8, cosmology.ns)
    return ", ".join(f"{number:.4g}" for number in numbers)


def _gained(training: Catalogue) -> float:
    """Clusters that lines of sight beyond the third add to those of three [%]."""
    _, number = np.unique(training.attempts["host_id"].to_numpy(), return_counts=True)
    return 100 * float((number - 3).clip(min=0).sum()) / (3 * len(number))
