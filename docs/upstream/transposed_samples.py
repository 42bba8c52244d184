"""NFlowsFlow.sample_and_log_prob mixes up several conditions.

Seen in sbi 0.27.0 (sbi/neural_nets/estimators/nflows_flow.py). nflows' shape is (condition, sample); `sample` turns
it around, this method reads it as (sample, condition).
Worked around in sbi_clustermass/flows/embed_once.py, `EmbedOnce.sample_and_log_prob`.
"""

import torch
from sbi.neural_nets.net_builders import build_maf

torch.manual_seed(0)
x = 3 * torch.randn(2000, 1)
flow = build_maf(x + 0.1 * torch.randn(2000, 1), x)
optimizer = torch.optim.Adam(flow.parameters(), lr=5e-3)
for _ in range(200):
    optimizer.zero_grad()
    flow.loss(x + 0.1 * torch.randn(2000, 1), x).mean().backward()
    optimizer.step()

conditions = torch.tensor([[-5.0], [5.0]])
with torch.no_grad():
    right = flow.sample((1000,), conditions).mean(0).flatten()
    found = flow.sample_and_log_prob((1000,), conditions)[0].mean(0).flatten()
print(f"mean of the samples at each of two conditions: found {found.tolist()}, right {right.tolist()}")
print("The fault is there." if (found - right).abs().max() > 1 else "The fault is mended.")
