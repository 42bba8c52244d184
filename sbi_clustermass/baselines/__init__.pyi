from .aperture import Aperture as Aperture
from .baseline import Baseline as Baseline, Fitted as Fitted, Prediction as Prediction
from .caustic import Caustic as Caustic, CausticProfile as CausticProfile, caustic_members as caustic_members
from .cnn import CNN as CNN, DropoutCNN as DropoutCNN
from .constant import Constant as Constant
from .distributions import SupportDistribution as SupportDistribution
from .features import (
    ARMITAGE_2019 as ARMITAGE_2019,
    CALDERON_BERLIND_2019 as CALDERON_BERLIND_2019,
    Features as Features,
)
from .jeans import FittedJeans as FittedJeans, JeansLikelihood as JeansLikelihood
from .likelihood import FittedLikelihood as FittedLikelihood, LearnedLikelihood as LearnedLikelihood
from .m_sigma import MSigma as MSigma
from .published import (
    PublishedMSigma as PublishedMSigma,
    evrard2008 as evrard2008,
    munari2013 as munari2013,
    saro2013 as saro2013,
)
from .regression import (
    BoostedTrees as BoostedTrees,
    KernelRidge as KernelRidge,
    LinearRegression as LinearRegression,
    NeuralNetwork as NeuralNetwork,
    RandomForest as RandomForest,
    Regression as Regression,
    RidgeRegression as RidgeRegression,
)
from .richness import Richness as Richness
from .rivals import BASELINES as BASELINES, RIVALS as RIVALS
from .virial import VirialMass as VirialMass
