from .estimators import (
    METHODS as METHODS,
    NeuralLikelihood as NeuralLikelihood,
    NeuralRatio as NeuralRatio,
    SummaryLikelihood as SummaryLikelihood,
)
from .information import Information as Information, WindowFits as WindowFits
from .summaries import (
    IMNN as IMNN,
    SUMMARIES as SUMMARIES,
    FrozenSummaries as FrozenSummaries,
    Moments as Moments,
    Summaries as Summaries,
    train_summaries as train_summaries,
)
