"""Every number that the paper prints, beside ours, with the reason for each difference.

Masses are M200c [h^-1 Msun] as log10_mass [dex]; residuals are log10(M_predicted / M_true) [dex].
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from jaxtyping import Float

from kodi_ramanah_2020.mass_functions import Sets
from kodi_ramanah_2020.predictions import predictions
from kodi_ramanah_2020.published import (
    CLASSICAL_SCATTER,
    CNN_GAIN,
    CNN_SCATTER,
    GCMRP_AT_100,
    LARGEST_RESIDUALS,
    PUBLISHED,
    TABLE_1,
    TOTAL_GAIN,
    Kind,
)
from kodi_ramanah_2020.real_clusters import RealClusters
from kodi_ramanah_2020.richness_scaling import RichnessScaling
from kodi_ramanah_2020.robustness import FEWER, NOISY, Robustness
from kodi_ramanah_2020.sample import Sample, cell
from kodi_ramanah_2020.setting_numbers import Row, mask_rows, mock_rows, network_rows
from kodi_ramanah_2020.shot_noise import PIVOT_RICHNESS, dispersion_noise
from sbi_clustermass.diagnostics.residuals import Measured, mean_of, residuals
from sbi_clustermass.diagnostics.validation.scores import MASSIVE, MIDDLE, Scores, within
from sbi_clustermass.estimator.mass_estimator import MassEstimator
from sbi_clustermass.report import Section, Table

HEADER = ("section", "number", "the paper", "ours", "reason for the difference")
CLASSICAL, CNN_2D = "M-sigma, direct", "CNN of Ho et al. 2019"
_PRIOR = "the flat prior raises light clusters, which are most of the test set; the next table has it without"
_STEPS = "the next table shows the steps: the mocks, the stopping rule, the image"
_EDGE = "members end at R_vir, and how sharply is the simulator's choice"
_INTERLOPERS = "light clusters have more interlopers here: the relation is flatter, and its inverse scatters more"
_TRAINED_HERE = "trained here on our mocks, with a falling learning rate, and its best epoch kept"
_CONVOLUTIONS = "on our mocks convolutions make more of the image than the paper's flow, trained to the end too"
_EXTREMES = "extremes of a few dozen clusters"
_BEST = "the best of those fitted to our mocks, which may count galaxies"


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """What the numbers are made from.

    Attributes:
        sets: Training and test sets, contaminated and pure.
        estimators: The paper's flow trained by the paper's rule, by kind of set.
        samples: The test sets with its posteriors, by kind of set.
        rivals: Point estimates [dex] of other methods on the test set with interlopers.
        scaling: Fits of eq. 8 to the samples and the rivals.
        robustness: Effects of fewer galaxies and of velocity errors.
        observed: Masses of observed clusters, if there are tables of their galaxies.
    """

    sets: Mapping[Kind, Sets]
    estimators: Mapping[Kind, MassEstimator]
    samples: Mapping[Kind, Sample]
    rivals: Mapping[str, Float[np.ndarray, "cluster"]]
    scaling: RichnessScaling
    robustness: Robustness
    observed: RealClusters | None = None

    def section(self) -> Section:
        """Return the section with the table of all numbers."""
        settings = (*mock_rows(self.sets), *network_rows(self.estimators))
        results = (*self._residuals(), *self._massive(), *self._gains(), *self._eq_8(), *self._changes())
        note = (
            "Residuals are log10(predicted/true), the negative of the paper's epsilon; errors are Monte Carlo over the "
            "test clusters."
        )
        rows = (*settings, *results, *mask_rows(), *self._observed())
        return Section("Every number of the paper", tables=[Table("The paper's numbers and ours", HEADER, rows, note)])

    @cached_property
    def _scores(self) -> Mapping[Kind, Scores]:
        return {kind: predictions([sample]).scores[0] for kind, sample in self.samples.items()}

    def _residuals(self) -> Iterator[Row]:
        for kind, scores in self._scores.items():
            theirs, why = PUBLISHED[kind], _EDGE if kind == "pure" else _STEPS
            yield Row("5", f"mean residual [dex], {kind}", f"{theirs.mean:+.3f}", cell(scores.mean), _PRIOR)
            yield Row("5", f"scatter [dex], {kind}", f"{theirs.scatter:.3f}", cell(scores.scatter), why)
        middle, theirs = self._scores["contaminated"].middle, PUBLISHED["contaminated"].intermediate
        yield Row("5", "scatter in 14 to 15 [dex]", f"{theirs}", cell(middle), _STEPS)

    def _massive(self) -> Iterator[Row]:
        sample, theirs = self.samples["contaminated"], PUBLISHED["contaminated"].massive
        chosen = within(sample.log10_true, MASSIVE)
        found = self._scores["contaminated"].massive
        yield Row("5", "mean |residual| in 14.8 to 15.2 [dex]", f"{theirs}", cell(found), _STEPS)
        yield Row("5", "clusters in 14.8 to 15.2", "around 50", f"{chosen.sum()}", "Poisson noise of rare haloes")
        largest = ", ".join(f"{each:.2f}" for each in np.sort(np.abs(sample.residual[chosen]))[::-1][:2])
        yield Row("5", "two largest |residual| there [dex]", LARGEST_RESIDUALS, largest or "–", _EXTREMES)
        for kind, each in self.samples.items():
            width = cell(mean_of(each.posteriors.std[within(each.log10_true, MASSIVE)]))
            paper = f"about {PUBLISHED[kind].width:.2f}"
            yield Row("5", f"posterior width, most massive [dex], {kind}", paper, width, "as the scatter")

    def _middle(self, rival: str) -> Measured:
        """Scatter of another method between 10^14 and 10^15."""
        clusters, found = self.samples["contaminated"].clusters, self.rivals[rival]
        chosen = within(clusters.log10_mass, MIDDLE) & np.isfinite(found)
        return residuals(found[chosen], clusters.log10_mass[chosen])[1]

    def _gains(self) -> Iterator[Row]:
        ours = self._scores["contaminated"].middle
        classical, cnn = self._middle(CLASSICAL), self._middle(CNN_2D)
        total, over_cnn = "–", "–"
        if ours is not None:
            total, over_cnn = f"{classical.value / ours.value:.1f}", f"{100 * (1 - ours.value / cnn.value):.0f} %"
        yield Row("1", "M-sigma in 14 to 15 [dex]", f"{CLASSICAL_SCATTER}", str(classical), _INTERLOPERS)
        yield Row("1", "CNN of Ho et al. 2019 in 14 to 15 [dex]", f"{CNN_SCATTER}", str(cnn), _TRAINED_HERE)
        yield Row("5", "times better than M-sigma", TOTAL_GAIN, total, _STEPS)
        yield Row("5", "better than the CNN", CNN_GAIN, over_cnn, _CONVOLUTIONS)

    def _eq_8(self) -> Iterator[Row]:
        why = "above 10^14; what no number of galaxies takes away is larger here"
        for kind, sample in self.samples.items():
            fit = next(each.above for each in self.scaling.flows if each.name == sample.name)
            ours = "–" if fit is None else f"{cell(fit.sigma_N)}; {cell(fit.sigma_0)}"
            paper = f"{PUBLISHED[kind].sigma_N:.2f}; {PUBLISHED[kind].sigma_0:.2f}"
            yield Row("5", f"sigma_N; sigma_0 of eq. 8 [dex], {kind}", paper, ours, why)
        noise = f"{float(dispersion_noise(PIVOT_RICHNESS)):.3f}"
        yield Row("5", "noise of a dispersion of 100 galaxies [dex]", "0.09", noise)
        at_100 = f"at least {GCMRP_AT_100}"
        yield Row("1", "traditional methods at 100 galaxies [dex]", at_100, self._best_rival(), _BEST)
        yield Row("1", "least error of ideal measurements [dex]", "0.05", "–", "measured by Wojtak et al. 2018")

    def _best_rival(self) -> str:
        fits = {each.name: each.above for each in self.scaling.rivals if each.name != CNN_2D}
        at = {name: float(fit.scatter(PIVOT_RICHNESS)) for name, fit in fits.items() if fit is not None}
        if not at:
            return "–"
        best = min(at, key=at.__getitem__)
        return f"{at[best]:.3f} ({best})"

    def _changes(self) -> Iterator[Row]:
        why = "the paper changes three clusters, we all"
        shifts = {change: cell(found.mean) for change, found in self.robustness.shifts.items()}
        yield Row("5", "shift by 33 % fewer galaxies [dex]", "marginally lower", shifts[FEWER], why)
        yield Row("5", "shift by errors of 100 km/s [dex]", "not significant", shifts[NOISY], why)

    def _observed(self) -> Iterator[Row]:
        masses = {} if self.observed is None else next(iter(self.observed.inferred.values()))
        for row in TABLE_1:
            found, (mean, std) = masses.get(row.name), row.inferred
            ours = "–" if found is None else f"{found.mean:.2f} ± {found.std:.2f}"
            why = "no table of its galaxies" if found is None else "another table of its galaxies; the mocks, as above"
            yield Row("6", f"{row.name}, log10 M200c", f"{mean:.2f} ± {std:.2f}", ours, why)
