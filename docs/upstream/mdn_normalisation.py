"""The density of "mdn" does not integrate to one where a component is wide.

Seen in sbi 0.27.0 (sbi/neural_nets/estimators/mixture_density_estimator.py): 1e-4 is added to the precision that
weighs distances, but not to its factor, which normalises and samples.
Worked around in sbi_clustermass/flows/mixture_flows.py, `MDNFlow.get_uncorrected_mog`.
"""

import torch
from sbi.neural_nets.net_builders import build_mdn

torch.manual_seed(0)
flow = build_mdn(torch.randn(400, 1), torch.randn(400, 3), z_score_y="none", num_components=1)
grid = torch.linspace(-2000, 2000, 4001)
with torch.no_grad():
    width = flow.net.get_submodule("_unconstrained_diagonal_layer")
    width.weight.zero_()
    width.bias.fill_(-4.6)  # a hundred standard deviations
    found = torch.trapezoid(flow.log_prob(grid[:, None, None], torch.zeros(1, 3))[:, 0].exp(), grid)
print(f"integral of a density of width 100: found {found:.3f}, right 1.000")
print("The fault is there." if (found - 1).abs() > 1e-2 else "The fault is mended.")
