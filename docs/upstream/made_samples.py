"""Samples of "made" do not follow its density: a dummy first parameter is 0 in the density, but drawn when sampling.

Seen in sbi 0.27.0 (sbi/utils/nn_utils.py, `MADEMoGWrapper._log_prob` and `_sample`).
Worked around in sbi_clustermass/flows/mixture_flows.py, `MADEFlow.sample`.
"""

import torch
from sbi.neural_nets.net_builders import build_made

torch.manual_seed(0)
x = torch.randn(400, 3)
flow = build_made(x[:, :1] + torch.randn(400, 1), x, z_score_y="none", hidden_features=20)
grid = torch.linspace(-12, 12, 4801)
with torch.no_grad():
    for parameter in flow.parameters():
        parameter *= 2  # weights as large as after training
    samples = flow.sample((20_000,), x[:1])[:, 0, 0]
    density = flow.log_prob(grid[:, None, None], x[:1])[:, 0].exp()
cdf = torch.cumulative_trapezoid(density, grid)[::20]
found = ((samples[:, None] < grid[1::20]).float().mean(0) - cdf).abs().max()
print(f"Kolmogorov-Smirnov distance of 20 000 samples from their density: found {found:.3f}, right: below .014")
print("The fault is there." if found > 0.014 else "The fault is mended.")
