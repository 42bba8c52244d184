"""The two stages of an embedding: what has no weights is computed once for a training set, the rest is trained."""

from torch import nn


def stages(embedding: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Split an embedding into a fixed and a learned stage: `learned(fixed(x))` is `embedding(x)`.

    An embedding that has both says so with a method `stages()`; any other module is one or the other.
    """
    own = getattr(embedding, "stages", None)
    if own is not None:
        return own()
    learns = any(parameter.requires_grad for parameter in embedding.parameters())
    return (nn.Identity(), embedding) if learns else (embedding, nn.Identity())
