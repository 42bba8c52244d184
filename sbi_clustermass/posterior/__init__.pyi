from .combination import combined as combined
from .joint import Posteriors as Posteriors
from .posteriors import MassPosteriors as MassPosteriors
from .recalibration import Recalibration as Recalibration
