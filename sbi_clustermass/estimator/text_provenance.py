"""Reader of the provenance that model cards of format 2 hold as text; nothing else parses facts out of text."""

from collections.abc import Mapping

from clustermocks.catalogue.text_provenance import literal, provenance_from_text
from clustermocks.io.settings import from_json
from sbi_clustermass.estimator.provenance import Provenance
from sbi_clustermass.training import Training

_OWN = ("training", "loss", "mirror", "training_clusters", "members", "alarm", "alarm_clusters", "kept_aside")
_VERSION = "version_"


def estimator_provenance_from_text(texts: Mapping[str, str]) -> Provenance:
    """Read an estimator's provenance from texts by name."""
    own = {name: text for name, text in texts.items() if name in (*_OWN, "recalibration_clusters")}
    versions = {name.removeprefix(_VERSION): text for name, text in texts.items() if name.startswith(_VERSION)}
    mocks = {name: text for name, text in texts.items() if name not in own and not name.startswith(_VERSION)}
    return Provenance(
        mocks=provenance_from_text(mocks),
        training=_training(own.get("training", "")),
        truncated=own.get("loss") != "plain",
        mirror=own.get("mirror", "True") == "True",
        training_clusters=_count(own, "training_clusters"),
        held_out=_count(own, "kept_aside") or _count(own, "alarm"),
        alarm_clusters=_count(own, "alarm_clusters"),
        recalibration_clusters=_count(own, "recalibration_clusters"),
        versions=versions,
    )


def _training(text: str) -> Training | None:
    """Read the `repr` of the settings; None if it does not have this version's fields."""
    try:
        fields = literal(text)
        if fields.get("augmentation"):  # older versions did not recentre
            fields["augmentation"] = {"recentre": False, **fields["augmentation"]}
        return from_json(Training, fields)
    except (ValueError, SyntaxError, AttributeError):
        return None


def _count(texts: Mapping[str, str], name: str) -> int | None:
    text = texts.get(name, "")
    return int(text) if text.isdecimal() else None
