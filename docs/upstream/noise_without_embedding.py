"""NFlowsFlow.inverse_transform gives the flow the raw condition: neither z-scored nor embedded.

Seen in sbi 0.27.0 (sbi/neural_nets/estimators/nflows_flow.py). LC2ST_NF uses it. With an embedding that changes the
number of features it fails; else its numbers are wrong.
Worked around in sbi_clustermass/flows/embed_once.py, `EmbedOnce.inverse_transform`.
"""

import torch
from sbi.neural_nets.net_builders import build_maf

torch.manual_seed(0)
x = 5 + 3 * torch.randn(500, 3)
theta = x[:, :1] + torch.randn(500, 1)
flow = build_maf(theta, x, z_score_y="independent")
with torch.no_grad():
    found = flow.inverse_transform(theta, x)
    right = flow.net.transform_to_noise(theta, context=x)
print(f"noise of the first pair: found {found[0, 0]:.4f}, right {right[0, 0]:.4f}")
print("The fault is there." if (found - right).abs().max() > 1e-4 else "The fault is mended.")
