from .blinding import blinded as blinded, unblinded as unblinded
from .clusters import ObservedClusters as ObservedClusters
from .hierarchical_fit import fit as fit
from .joint_calibration import JointCalibration as JointCalibration
from .likelihood import PopulationLikelihood as PopulationLikelihood
from .masses import (
    MASSES as MASSES,
    CosmologyMassFunction as CosmologyMassFunction,
    MassFunction as MassFunction,
    NormalMasses as NormalMasses,
)
from .model import Population as Population
from .numpyro_model import numpyro_cluster_factor as numpyro_cluster_factor
from .observables import Observable as Observable
from .pooling import pooled as pooled
from .predictive_check import PredictiveCheck as PredictiveCheck, predictive_check as predictive_check
from .problem import Problem as Problem
from .pyro_model import cluster_factor as cluster_factor, population_model as population_model
from .relation import ScalingRelation as ScalingRelation
from .sampling import NUTS as NUTS, SAMPLERS as SAMPLERS, SVI as SVI, Laplace as Laplace
from .selection import (
    AboveCut as AboveCut,
    Everything as Everything,
    KnownSelection as KnownSelection,
    MeasuredSelection as MeasuredSelection,
)
from .self_consistent import fit_self_consistently as fit_self_consistently
from .shrinkage import mass_function_band as mass_function_band, shrink as shrink
from .significance import Significance as Significance
from .survey import Shell as Shell, Survey as Survey
