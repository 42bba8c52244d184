from .catalogue.catalogue import Catalogue as Catalogue
from .catalogue.folder import StoredCatalogue as StoredCatalogue
from .catalogue.provenance import Provenance as Provenance
from .haloes.cosmology import (
    MDPL2 as MDPL2,
    Cosmology as Cosmology,
)
from .haloes.environment import Neighbours as Neighbours
from .haloes.mass_distributions import (
    FlatMasses as FlatMasses,
    HaloMassFunction as HaloMassFunction,
    PowerLawMasses as PowerLawMasses,
    flatten as flatten,
)
from .haloes.mergers import Mergers as Mergers
from .haloes.satellites import HaloGalaxies as HaloGalaxies
from .haloes.triaxiality import Shapes as Shapes
from .mocks.cosmology_prior import CosmologyPrior as CosmologyPrior
from .mocks.halo_model import HaloModel as HaloModel
from .mocks.priors import (
    PhysicsPrior as PhysicsPrior,
    SurveyPrior as SurveyPrior,
)
from .mocks.survey import (
    Footprint as Footprint,
    RadialCompleteness as RadialCompleteness,
)
from .nbody.lightcone import observe_box as observe_box
from .nbody.view import BoxView as BoxView
from .observation import (
    Observation as Observation,
    lines_of_sight as lines_of_sight,
)
from .spherical_jeans.model import (
    JeansGalaxies as JeansGalaxies,
    SphericalJeans as SphericalJeans,
)
from .thinning import without_richness as without_richness

__version__: str
