"""Names of the embeddings, and their way to a file and back."""

from typing import Any

from torch import nn

from clustermocks.io.registry import check_fields, lookup, split_name
from sbi_clustermass.embeddings.attention import SetTransformer
from sbi_clustermass.embeddings.cnn import ImageCNN
from sbi_clustermass.embeddings.deep_sets import DeepSets
from sbi_clustermass.embeddings.kde import KDEImage, LearnedKDE
from sbi_clustermass.embeddings.kde_cube import CubeCNN
from sbi_clustermass.embeddings.summary import SummaryStatistics
from sbi_clustermass.embeddings.trial_masses import TrialMasses

EMBEDDINGS = {
    "kde": KDEImage,
    "learned_kde": LearnedKDE,
    "cnn": ImageCNN,
    "cnn_3d": CubeCNN,
    "deep_sets": DeepSets,
    "attention": SetTransformer,
    "summary": SummaryStatistics,
    "trial_masses": TrialMasses,
}


def embedding_config(embedding: Any) -> dict[str, object]:
    """Describe an embedding of `EMBEDDINGS` in JSON's types: its name and its fields.

    Raises:
        TypeError: The module is not in `EMBEDDINGS`: it cannot be rebuilt from a file.
    """
    for name, kind in EMBEDDINGS.items():
        if type(embedding) is kind:
            return {"name": name, **embedding.config()}
    raise TypeError(
        f"{type(embedding).__name__} is not one of EMBEDDINGS ({', '.join(sorted(EMBEDDINGS))}), so a saved "
        "estimator could not name it. Add it to EMBEDDINGS, or use the flow with stock NPE or ClusterNPE."
    )


def embedding_from_config(config: object) -> nn.Module:
    """Rebuild an embedding from the result of `embedding_config`, with new weights.

    Raises:
        ValueError: The name or a field is unknown, or the value of a field is out of range.
    """
    name, fields = split_name("embedding", config)
    kind = lookup("embedding", name, EMBEDDINGS)
    check_fields(f"embedding {name!r}", fields, tuple(kind().config()))
    return kind(**fields)
