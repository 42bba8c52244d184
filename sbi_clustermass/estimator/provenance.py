"""The provenance of a trained estimator: its mocks, its training, and the versions of the software."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import final

from clustermocks.catalogue.provenance import Provenance as MockProvenance
from sbi_clustermass.training import Training

BUDGET = "error_budget"  # the note that says what errors are made of


@final
@dataclass(frozen=True)
class Provenance:
    """How an estimator was made.

    Attributes:
        mocks: How the training set was made.
        training: Settings of the training; None if unknown.
        truncated: Whether the loss was that of the density truncated to the prior's range.
        mirror: Whether every cluster was shown a second time with reversed velocities.
        training_clusters: Number of clusters in the training set.
        held_out: Number of mocks requested to be held out of the training, for alarm and recalibration.
        alarm_clusters: Number of mocks that the alarm was fitted to.
        recalibration_clusters: Number of mocks that the recalibration was fitted to.
        membership_clusters: Number of mocks that the membership was trained on.
        versions: Versions of packages at training, by name.
        notes: Further facts by name, as text for a reader.
    """

    mocks: MockProvenance = field(default_factory=MockProvenance)
    training: Training | None = None
    truncated: bool = True
    mirror: bool = True
    training_clusters: int | None = None
    held_out: int | None = None
    alarm_clusters: int | None = None
    recalibration_clusters: int | None = None
    membership_clusters: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)

    def as_text(self) -> dict[str, str]:
        """List all facts except the settings of the training and the versions, by name, as text for a reader."""
        from clustermocks.simulators import provenance_as_text  # every simulator, which an inference does not need

        facts = {
            **provenance_as_text(self.mocks),
            "alarm_clusters": self.alarm_clusters,
            "recalibration_clusters": self.recalibration_clusters,
            "membership_clusters": self.membership_clusters,
            "kept_aside": self.held_out,
            "alarm": None if self.alarm_clusters is None else self.held_out,
            **self.notes,
        }
        return {name: str(value) for name, value in facts.items() if value is not None}
