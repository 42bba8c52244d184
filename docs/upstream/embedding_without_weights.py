"""The builders of sbi fail with a bare StopIteration for an embedding network that has no weights.

Seen in sbi 0.27.0 (sbi/utils/nn_utils.py, `check_net_device`, which asks the first parameter for its device).
Worked around in sbi_clustermass/embeddings/galaxies.py, `NoWeights`.
"""

from sbi.neural_nets import posterior_nn
from torch import nn

try:
    posterior_nn("maf", embedding_net=nn.Flatten())
    print("The fault is mended.")
except StopIteration:
    print("posterior_nn('maf', embedding_net=nn.Flatten()): found StopIteration, right: a builder")
    print("The fault is there.")
