"""NPE.train(max_num_epochs=n) trains for n + 1 epochs.

Seen in sbi 0.27.0 (sbi/inference/trainers/base.py: `while self.epoch <= max_num_epochs`).
`ClusterNPE.train(max_num_epochs=n)` trains for n (sbi_clustermass/training/sbi_options.py).
"""

import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform

torch.manual_seed(0)
prior = BoxUniform(torch.zeros(1), torch.ones(1))
theta = prior.sample((200,))
inference = NPE(prior, density_estimator="mdn", show_progress_bars=False)
inference.append_simulations(theta, theta + torch.randn(200, 1)).train(max_num_epochs=3, training_batch_size=50)
found = inference.summary["epochs_trained"][-1]
print(f"epochs trained with max_num_epochs=3: found {found}, right 3")
print("The fault is there." if found != 3 else "The fault is mended.")
