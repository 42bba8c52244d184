"""The methods by name, and the settings of them that are compared with the flows."""

from sbi_clustermass.baselines.aperture import Aperture
from sbi_clustermass.baselines.baseline import Baseline
from sbi_clustermass.baselines.caustic import Caustic
from sbi_clustermass.baselines.cnn import CNN, DropoutCNN
from sbi_clustermass.baselines.constant import Constant
from sbi_clustermass.baselines.distributions import SupportDistribution
from sbi_clustermass.baselines.jeans import JeansLikelihood
from sbi_clustermass.baselines.likelihood import LearnedLikelihood
from sbi_clustermass.baselines.m_sigma import MSigma
from sbi_clustermass.baselines.published import PublishedMSigma, evrard2008, munari2013, saro2013
from sbi_clustermass.baselines.regression import (
    BoostedTrees,
    KernelRidge,
    LinearRegression,
    NeuralNetwork,
    RandomForest,
    RidgeRegression,
)
from sbi_clustermass.baselines.richness import Richness
from sbi_clustermass.baselines.virial import VirialMass
from sbi_clustermass.likelihood import IMNN, NeuralRatio

BASELINES: dict[str, type[Baseline]] = {
    "constant": Constant,
    "m_sigma": MSigma,
    "m_sigma_published": PublishedMSigma,
    "virial": VirialMass,
    "richness": Richness,
    "aperture": Aperture,
    "caustic": Caustic,
    "jeans": JeansLikelihood,
    "linear": LinearRegression,
    "ridge": RidgeRegression,
    "kernel_ridge": KernelRidge,
    "trees": BoostedTrees,
    "forest": RandomForest,
    "network": NeuralNetwork,
    "sdm": SupportDistribution,
    "cnn": CNN,
    "cnn_dropout": DropoutCNN,
    "likelihood": LearnedLikelihood,
}

# what `clustermass validate` compares: several settings of a method where they answer differently
RIVALS: dict[str, Baseline] = {
    "constant": Constant(),
    "constant_prior": Constant(prior="mass-function"),
    "m_sigma": MSigma(),
    "m_sigma_prior": MSigma(prior="mass-function"),
    "m_sigma_inverse": MSigma(direction="inverse"),
    "m_sigma_inverse_prior": MSigma(direction="inverse", prior="mass-function"),
    "m_sigma_gapper": MSigma(method="gapper", direction="inverse", prior="mass-function"),
    "m_sigma_biweight": MSigma(method="biweight", direction="inverse", prior="mass-function"),
    "m_sigma_clipping": MSigma(interlopers="clipping", direction="inverse", prior="mass-function"),
    "m_sigma_shifting_gapper": MSigma(interlopers="shifting_gapper", direction="inverse", prior="mass-function"),
    "evrard2008": PublishedMSigma(evrard2008, interlopers="clipping"),
    "munari2013": PublishedMSigma(munari2013, interlopers="clipping"),
    "saro2013": PublishedMSigma(saro2013, interlopers="clipping"),
    "virial_uncalibrated": VirialMass(calibrated=False),
    "virial": VirialMass(prior="mass-function"),
    "projected_mass_uncalibrated": VirialMass("projected", calibrated=False),
    "projected_mass": VirialMass("projected", prior="mass-function"),
    "richness": Richness(),
    "richness_prior": Richness(prior="mass-function"),
    "richness_bayes": Richness(direction="inverted", prior="mass-function"),
    "aperture": Aperture(prior="mass-function"),
    "caustic": Caustic(),
    "caustic(.7)": Caustic(filling=0.7),
    "jeans_members": JeansLikelihood(interlopers="none", prior="mass-function"),
    "jeans": JeansLikelihood(prior="mass-function"),
    "jeans_richness": JeansLikelihood(prior="mass-function", richness=True),
    "jeans_mamon2010": JeansLikelihood(interlopers="mamon2010", prior="mass-function"),
    "linear": LinearRegression(),
    "ridge": RidgeRegression(),
    "kernel_ridge": KernelRidge(),
    "trees": BoostedTrees(),
    "forest": RandomForest(),
    "network": NeuralNetwork(),
    "sdm_1d": SupportDistribution(),
    "sdm_2d": SupportDistribution(dimensions=2),
    "sdm_kde_1d": SupportDistribution(distance="kde"),
    "sdm_kde_2d": SupportDistribution(dimensions=2, distance="kde"),
    "sdm_mmd_2d": SupportDistribution(dimensions=2, distance="mmd"),
    "cnn_1d": CNN(dimensions=1),
    "cnn_2d": CNN(),
    "cnn_dropout_1d": DropoutCNN(dimensions=1),
    "cnn_dropout_2d": DropoutCNN(),
    "nle_imnn": LearnedLikelihood(IMNN()),
    "nle_moments": LearnedLikelihood(),
    "nre_moments": LearnedLikelihood(method=NeuralRatio()),
}
