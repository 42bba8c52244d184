"""MADEMoGWrapper makes zeros on the CPU: the density estimator "made" fails on any other device.

Seen in sbi 0.27.0 (sbi/utils/nn_utils.py, `MADEMoGWrapper._log_prob`). The device here is "meta", which needs no GPU.
Worked around in sbi_clustermass/flows/mixture_flows.py, `MADEFlow.log_prob`.
"""

import torch
from sbi.neural_nets.net_builders import build_made

torch.manual_seed(0)
flow = build_made(torch.randn(20, 2), torch.randn(20, 3), hidden_features=8).to("meta")
try:
    device = flow.log_prob(torch.zeros(1, 5, 2, device="meta"), torch.zeros(5, 3, device="meta")).device
    print(f"log_prob is on {device}")
    print("The fault is mended.")
except (RuntimeError, NotImplementedError) as error:
    print(
        f"log_prob on the device meta: found {type(error).__name__}: {str(error)[:90]}; right: densities on that device"
    )
    print("The fault is there.")
