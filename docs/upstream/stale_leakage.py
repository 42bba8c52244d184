"""DirectPosterior.log_prob keeps the leakage factor of the first default observation after `set_default_x`.

Seen in sbi 0.27.0 (sbi/inference/posteriors/direct_posterior.py, `leakage_correction`).
Worked around in sbi_clustermass/flows/exact_leakage.py and by `ClusterNPE.build_posterior`.
"""

import torch
from sbi.inference.posteriors import DirectPosterior
from sbi.neural_nets.net_builders import build_mdn
from sbi.utils import BoxUniform

torch.manual_seed(0)
prior = BoxUniform(torch.zeros(1), torch.ones(1))
x = prior.sample((2000,))
network = build_mdn(x + 0.3 * torch.randn(2000, 1), x)
optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
for _ in range(200):
    optimizer.zero_grad()
    network.loss(x + 0.3 * torch.randn(2000, 1), x).mean().backward()
    optimizer.step()

theta, middle, edge = torch.tensor([[0.9]]), torch.tensor([[0.5]]), torch.tensor([[0.99]])
posterior = DirectPosterior(network, prior)
posterior.set_default_x(middle).log_prob(theta)
with torch.no_grad():
    found = posterior.set_default_x(edge).log_prob(theta).item()
    right = DirectPosterior(network, prior).set_default_x(edge).log_prob(theta).item()
print(f"log_prob at a second default observation: found {found:.3f}, right {right:.3f}")
print("The fault is there." if abs(found - right) > 0.1 else "The fault is mended.")
