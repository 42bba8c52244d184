"""Mock galaxy clusters: haloes, their galaxies, and the cylinder around them.

Masses are M200c [h^-1 Msun] as log10_mass [dex], lengths comoving [h^-1 Mpc], velocities [km/s].
"""

from clustermocks.box import observe_box
from clustermocks.boxview import BoxView
from clustermocks.catalogue import Catalogue
from clustermocks.cosmology import MDPL2, Cosmology
from clustermocks.effects import RadialCompleteness
from clustermocks.environment import Neighbours
from clustermocks.halo import HaloGalaxies
from clustermocks.masses import FlatMasses, HaloMassFunction, PowerLawMasses, flatten
from clustermocks.mergers import Mergers
from clustermocks.observation import Observation, lines_of_sight
from clustermocks.shapes import Shapes
from clustermocks.simulator import HaloModel
from clustermocks.spherical_jeans import JeansGalaxies, SphericalJeans
from clustermocks.stored import StoredCatalogue
from clustermocks.thinning import without_richness

__all__ = [
    "MDPL2",
    "BoxView",
    "Catalogue",
    "Cosmology",
    "FlatMasses",
    "HaloGalaxies",
    "HaloMassFunction",
    "HaloModel",
    "JeansGalaxies",
    "Mergers",
    "Neighbours",
    "Observation",
    "PowerLawMasses",
    "RadialCompleteness",
    "Shapes",
    "SphericalJeans",
    "StoredCatalogue",
    "flatten",
    "lines_of_sight",
    "observe_box",
    "without_richness",
]
