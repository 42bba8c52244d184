"""NPE(density_estimator="a misspelt name") fails only when it trains, after all simulations were run.

Seen in sbi 0.27.0 (sbi/neural_nets/factory.py, `posterior_nn`).
`ClusterNPE(density_estimator=...)` refuses an unknown name at once (sbi_clustermass/training/npe.py).
"""

import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform

try:
    NPE(BoxUniform(torch.zeros(1), torch.ones(1)), density_estimator="nfs", show_progress_bars=False)
    print("NPE(density_estimator='nfs'): found no error, right: an error that names the choices")
    print("The fault is there.")
except (NotImplementedError, ValueError, KeyError) as error:
    print(f"NPE(density_estimator='nfs'): {error}")
    print("The fault is mended.")
