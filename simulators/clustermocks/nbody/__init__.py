"""Readers of N-body catalogues, and periodic boxes of haloes and galaxies to be observed by `clustermocks.observe_box`.

Masses are M200c [h^-1 Msun], lengths comoving [h^-1 Mpc], velocities physical and peculiar [km/s].
"""

from clustermocks.nbody.boxes import ArrayBox, Box, StoredBox
from clustermocks.nbody.rockstar import RockstarHDF5, RockstarHlist
from clustermocks.nbody.schema import Kind, Reader
from clustermocks.nbody.store import convert
from clustermocks.nbody.subfind import Subfind
from clustermocks.nbody.uchuu import UchuuUM
from clustermocks.nbody.universemachine import UniverseMachineBinary, UniverseMachineText

READERS: dict[str, type[Reader]] = {
    "rockstar_hlist": RockstarHlist,
    "rockstar_hdf5": RockstarHDF5,
    "universemachine_binary": UniverseMachineBinary,
    "universemachine_text": UniverseMachineText,
    "uchuu_um": UchuuUM,
    "subfind": Subfind,
}

__all__ = [
    "READERS",
    "ArrayBox",
    "Box",
    "Kind",
    "Reader",
    "RockstarHDF5",
    "RockstarHlist",
    "StoredBox",
    "Subfind",
    "UchuuUM",
    "UniverseMachineBinary",
    "UniverseMachineText",
    "convert",
]
