"""Where the flows compute: with fake tensors on a device that is not the CPU, and on a GPU where there is one."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Distribution

from sbi_clustermass.flows import FLOWS, EmbedOnce

LOW, HIGH = 13.5, 15.3
UNFAKED = {
    "maf_rqs": "nflows' splines choose rows by boolean masks, whose number a fake tensor does not know",
    "nsf": "nflows' splines choose rows by boolean masks, whose number a fake tensor does not know",
    "mdn": "sbi's MoG asks whether all its numbers are finite",
    "zuko_bpf": "zuko makes constants from numbers of a fake tensor",
}


def toy(n=20):
    torch.manual_seed(1)
    x = torch.rand(n, 12, 3) * torch.tensor([1.6, 1000, 0]) + torch.tensor([0, 0, 1])
    return LOW + (HIGH - LOW) * torch.rand(n, 1), x


def built(name):
    """One transform and few layers: the others do the same. How an embedding follows the device is tested with it."""
    torch.manual_seed(0)
    flow = FLOWS[name](embedding=nn.Flatten())
    little: dict = {"num_transforms": 1, "trunk": (4,), "blocks": 1, "hidden": (8,)}
    little["hidden_features"] = (8,) if isinstance(getattr(flow, "hidden_features", 0), tuple) else 8
    return replace(flow, **{key: value for key, value in little.items() if hasattr(flow, key)})(*toy())


@pytest.mark.parametrize("name", [name for name in FLOWS if name not in UNFAKED])
def test_a_training_step_stays_on_its_device(name, monkeypatch):
    # torch's checks of a distribution's arguments ask the device for values: zuko's import turns them off, Pyro's on
    monkeypatch.setattr(Distribution, "_validate_args", False)
    mode = FakeTensorMode()
    flow: EmbedOnce = fake_meta(built(name), mode)
    with mode:
        mass, x = torch.rand(10, 1, device="meta"), torch.rand(10, *flow.condition_shape, device="meta")
        loss = flow.truncated_loss(mass, x, low=LOW, high=HIGH).mean()
        loss.backward()
        with torch.no_grad():
            grid = flow.log_prob_grid(x, torch.linspace(LOW, HIGH, 9, device="meta"), within=(LOW, HIGH))
            samples = flow.sample((3,), x)
            of_others = flow.sample((3,), torch.rand(10, *flow.condition_shape))  # sbi's posterior sends none over
    assert {each.device.type for each in (loss, grid, samples, of_others)} == {"meta"}


def fake_meta(flow, mode):
    """Move a built flow to a fake device: Module.to cannot."""
    for module in flow.modules():
        for table in (module._parameters, module._buffers):
            for key, value in table.items():
                if value is None:
                    continue
                fake = mode.from_tensor(value.detach())
                with mode:
                    fake = fake.to("meta")
                table[key] = torch.nn.Parameter(fake) if table is module._parameters else fake
    return flow


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu(name):
    flow, (mass, x) = built(name), toy(50)
    expected = flow.truncated_loss(mass, x, low=LOW, high=HIGH).detach()
    flow = flow.to("cuda")
    found = flow.truncated_loss(mass.cuda(), x.cuda(), low=LOW, high=HIGH)
    found.mean().backward()
    torch.testing.assert_close(found.detach().cpu(), expected, rtol=1e-3, atol=1e-3)  # TF32 matrix products
    assert flow.sample((3,), x.cuda()).device.type == "cuda"
