"""A checkpoint is continued only by the training that wrote it, however the others look."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from threading import Lock

import numpy as np
import pytest
import torch
from sbi.neural_nets import posterior_nn
from sbi.utils import BoxUniform
from torch import nn

from clustermocks import HaloModel
from sbi_clustermass import (
    MDN,
    Augmentation,
    ClusterNPE,
    DeepSets,
    KDEImage,
    StackedAffine,
    SummaryStatistics,
    Training,
    mass_prior,
)
from sbi_clustermass.training import Storage
from sbi_clustermass.training.checkpoint import Checkpoint
from sbi_clustermass.training.dataset import GalaxyWriter
from sbi_clustermass.training.ensemble_training import train_members
from sbi_clustermass.training.training_set import TrainingSet

LOW, HIGH = 13.0, 15.0
RULE = Training(learning_rate=0.01, batch_size=20, max_updates=4, validate_every=2)
POWER = 1.0  # of `Powers`: a number that is in no object


class Moments(nn.Module):
    """Mean speed to some power, as a user writes it; every way to hold a number."""

    def __init__(self, field=1.0, buffer=1.0, hidden_buffer=1.0, function=torch.abs, weights=0, array=None):
        super().__init__()
        self.field, self.function, self.array = field, function, array
        self.register_buffer("shown", torch.tensor([buffer, 1.0]))
        self.register_buffer("hidden", torch.tensor([hidden_buffer]), persistent=False)
        self.listed = {"a": [torch.tensor(1.0), np.ones(2)]}
        torch.manual_seed(weights)
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        speed = self.function(x[..., 1] * self.field).mean(1, keepdim=True) * self.shown * self.hidden
        return self.layer(speed)


class Powers(nn.Module):
    def forward(self, x):
        return (x[..., 1].abs().mean(1, keepdim=True) + 1) ** POWER


def clusters(parameters=1, seed=1):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(LOW, HIGH, (60, 1))
    x = np.ones((60, 8, 3))
    x[..., 0] = rng.random((60, 8))
    x[..., 1] = 200 * (theta - 12) * rng.standard_normal((60, 8))
    theta = np.concatenate([theta, rng.uniform(0.3, 1.1, (60, parameters - 1))], 1)
    return torch.tensor(theta, dtype=torch.float32), torch.tensor(x, dtype=torch.float32)


def affine(embedding, **fields):
    return StackedAffine(blocks=1, hidden=(4,), embedding=embedding, **fields)


def frozen(values, dtype):
    return nn.Parameter(torch.tensor(values).to(dtype), requires_grad=False)


def hooked(function):
    """An embedding that holds the handle of its hook, which is another for every hook of a process."""
    moments = Moments()
    moments.handle = moments.layer.register_forward_hook(partial(after, function))
    return moments


def after(function, module, inputs, outputs):
    return function(outputs)


def closure(factor, hidden=(4,)):
    def build(theta, x):
        return StackedAffine(blocks=1, hidden=hidden, embedding=KDEImage(factor, bins=4))(theta, x)

    return build


def sbis(hidden_features):
    return posterior_nn("nsf", embedding_net=Moments(), hidden_features=hidden_features, num_transforms=1)


def updates(path, flow, *, prior=None, rule=RULE, seed=1, parameters=1, groups=None):
    """Number of validations of a training with this checkpoint: none if it continues from the end of the same."""
    inference = ClusterNPE(mass_prior(LOW, HIGH) if prior is None else prior, flow, device="cpu")
    reports = []
    inference.append_simulations(*clusters(parameters, seed)).train(
        rule, groups=groups, checkpoint=path, progress=reports.append
    )
    return len(reports)


def power(value, exponent):
    return value.abs() ** exponent


PLAIN = replace(RULE, truncated=False)
THIN = replace(RULE, augmentation=Augmentation(completeness=(0.8, 1.0), min_galaxies=5))
BOX = BoxUniform(torch.tensor([LOW, 0.2]), torch.tensor([HIGH, 1.2]))
# what is trained, and what another training is that looks like it; each is made anew
OTHERS = {
    "a field of an embedding": [{"flow": partial(affine, KDEImage(f, bins=4))} for f in (0.15, 0.8)],
    "a field of a flow": [{"flow": partial(affine, KDEImage(bins=4), activation=a)} for a in ("tanh", "elu")],
    "a number of components": [{"flow": partial(MDN, embedding=SummaryStatistics(), trunk=(4,), num_components=n)}
                               for n in (2, 3)],
    "a field of a user's embedding": [{"flow": lambda f=f: affine(Moments(field=f))} for f in (1.0, 2.0)],
    "its weights": [{"flow": lambda w=w: affine(Moments(weights=w))} for w in (0, 1)],
    "its buffer": [{"flow": lambda b=b: affine(Moments(buffer=b))} for b in (1.0, 1.00001)],
    "its buffer that is not saved": [{"flow": lambda b=b: affine(Moments(hidden_buffer=b))} for b in (1.0, 2.0)],
    "its function": [{"flow": lambda f=f: affine(Moments(function=f))} for f in (torch.abs, torch.square)],
    "its anonymous function": [{"flow": lambda: affine(Moments(function=lambda v: v.abs() * 2))},
                               {"flow": lambda: affine(Moments(function=lambda v: v.abs() * 3))}],
    "its partial function": [{"flow": lambda e=e: affine(Moments(function=partial(power, exponent=e)))}
                             for e in (1.0, 2.0)],
    "its array of words": [{"flow": lambda w=w: affine(Moments(array=np.array(w)))} for w in (["R", "v"], ["R", "u"])],
    "its array of objects": [{"flow": lambda n=n: affine(Moments(array=np.array([n, None])))} for n in (1, 2)],
    "its array of complex numbers": [{"flow": lambda n=n: affine(Moments(array=np.array([n])))} for n in (1j, 2j)],
    "its array of days": [{"flow": lambda d=d: affine(Moments(array=np.array([d], "M8[D]")))} for d in (1, 2)],
    "its array in reverse": [{"flow": lambda n=n: affine(Moments(array=np.arange(n)[::-1]))} for n in (4, 5)],
    "its array of another machine": [{"flow": lambda n=n: affine(Moments(array=np.array([n], ">f4")))} for n in (1, 2)],
    "its buffer of bfloat16": [{"flow": lambda b=b: affine(Moments(array=torch.tensor([b], dtype=torch.bfloat16)))}
                               for b in (1.0, 2.0)],
    "its weight of bfloat16": [{"flow": lambda b=b: affine(Moments(array=frozen([b], torch.bfloat16)))}
                               for b in (1.0, 2.0)],
    "its weight of eight bits": [{"flow": lambda b=b: affine(Moments(array=frozen([b], torch.float8_e5m2)))}
                                 for b in (1.0, 2.0)],
    "its complex buffer": [{"flow": lambda b=b: affine(Moments(array=torch.tensor([b]).conj()))} for b in (1j, 2j)],
    "its complex weight": [{"flow": lambda b=b: affine(Moments(array=frozen([b], torch.complex64)))} for b in (1j, 2j)],
    "its conjugate weight": [{"flow": lambda b=b: affine(Moments(array=frozen([b], torch.complex64).conj()))}
                             for b in (1j, 2j)],
    "its layer without a size": [{"flow": lambda n=n: affine(nn.Sequential(nn.Flatten(), nn.LazyLinear(n)))}
                                 for n in (2, 3)],
    "a hook on its layer": [{"flow": lambda h=h: affine(hooked(h))} for h in (torch.abs, torch.square)],
    "what a builder closes over": [{"flow": partial(closure, f)} for f in (0.15, 0.8)],
    "widths that a builder closes over": [{"flow": partial(closure, 0.3, h)} for h in ((4,), (5,))],
    "an option of sbi's builder": [{"flow": partial(sbis, n), "rule": PLAIN} for n in (5, 6)],
    "the support": [{"prior": mass_prior(low, HIGH)} for low in (LOW, 12.0)],
    "the prior's box": [{"prior": BoxUniform(BOX.low, BOX.high + e), "parameters": 2} for e in (0.0, 1e-5)],
    "the groups": [{"groups": np.arange(60) // 2}, {"groups": np.arange(60) // 3}],
    "the data": [{"seed": seed} for seed in (1, 2)],
    "the loss": [{"rule": RULE}, {"rule": PLAIN}],
    "the seed": [{"rule": replace(RULE, seed=seed)} for seed in (0, 1)],
    "an augmentation": [{"rule": RULE}, {"rule": THIN}],
}  # fmt: skip


@pytest.mark.parametrize("what", OTHERS)
def test_another_training_is_refused_and_the_same_made_anew_is_continued(what, tmp_path):
    one, other = ({"flow": lambda: affine(KDEImage(bins=4)), **each} for each in OTHERS[what])
    path = tmp_path / "state.safetensors"
    assert updates(path, **one | {"flow": one["flow"]()}) > 0
    assert updates(path, **one | {"flow": one["flow"]()}) == 0
    with pytest.raises(ValueError, match="checkpoint of another training"):
        updates(path, **other | {"flow": other["flow"]()})


def test_code_that_is_in_no_object_shows_in_the_losses(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    updates(path, affine(Powers()))
    assert updates(path, affine(Powers())) == 0
    monkeypatch.setattr(sys.modules[__name__], "POWER", 0.5)
    with pytest.raises(ValueError, match="initial loss: other numbers"):
        updates(path, affine(Powers()))


def test_the_message_names_what_differs_and_is_short(tmp_path):
    path = tmp_path / "state.safetensors"
    updates(path, affine(KDEImage(0.15, bins=4)))
    with pytest.raises(ValueError, match=r"flow\.embedding\.factor: 0\.15 there, 0\.8 asked for"):
        updates(path, affine(KDEImage(0.8, bins=4)))
    with pytest.raises(ValueError, match=r"and \d+ more\n  try:") as raised:
        updates(path, MDN(embedding=KDEImage(0.8, bins=4)))
    assert str(raised.value).count("\n") < 10


def test_weights_that_an_embedding_of_ours_happens_to_have_do_not_count(tmp_path):
    """It is built anew from its fields, with the training's seed."""
    path = tmp_path / "state.safetensors"
    for made, reports in ((1, 2), (2, 0)):
        torch.manual_seed(made)
        assert updates(path, affine(DeepSets(4, 1, features=2))) == reports


def test_what_cannot_be_told_from_another_is_refused(tmp_path):
    def build(theta, x):
        network = affine(KDEImage(bins=4))(theta, x)
        network.lock = Lock()
        return network

    with pytest.raises(TypeError, match=r"network\.lock is a _thread\.lock"):
        updates(tmp_path / "state.safetensors", build)


def per_channel():
    return torch.quantize_per_channel(torch.ones(3, 3), torch.ones(3), torch.zeros(3), 0, torch.quint8)


@pytest.mark.parametrize("register", [False, True])
@pytest.mark.parametrize(
    ("held", "kind"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), "quantised"),
        (per_channel, "quantised"),
        (lambda: torch.ones(3, dtype=torch.complex128), "strided tensor of torch.complex128"),
        (lambda: torch.ones(3, dtype=torch.complex32), "strided tensor of torch.complex32"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "nested"),
    ],
)
def test_a_tensor_that_no_checkpoint_can_hold_is_refused_by_its_name(held, kind, register, tmp_path):
    embedding = nn.Flatten()
    if register:
        embedding.register_buffer("held", held())
    else:
        embedding.held = held()
    with pytest.raises(TypeError, match=rf"embedding\.held is a {kind}(.|\n)*try: "):
        updates(tmp_path / "state.safetensors", affine(embedding))
    assert not list(tmp_path.iterdir())


def test_complex_weights_are_trained_and_continued_from_half_way_as_without_a_stop(tmp_path, monkeypatch):
    """They are those of Fourier transforms; torch's fused optimiser has none for them."""
    path = tmp_path / "state.safetensors"
    inference = ClusterNPE(mass_prior(LOW, HIGH), affine(Waves()), device="cpu").append_simulations(*clusters())
    expected = inference.train(RULE).state_dict()

    def stop(step):
        raise KeyboardInterrupt

    monkeypatch.setattr("sbi_clustermass.training.npe.Checkpoint", partial(Checkpoint, every=0))
    with pytest.raises(KeyboardInterrupt):
        inference.train(RULE, checkpoint=path, progress=stop)
    reports = []
    found = inference.train(RULE, checkpoint=path, progress=reports.append).state_dict()
    assert len(reports) == 1
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    (name,) = (name for name, value in found.items() if value.is_complex())
    assert not torch.equal(found[name], Waves().weight)


class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(5, dtype=torch.complex64))

    def forward(self, x):
        return torch.fft.irfft(torch.fft.rfft(x[..., 1] / 500, n=8) * self.weight, n=8)


def test_an_ensemble_with_other_hosts_is_another_training(tmp_path):
    theta, x = clusters()
    writer = GalaxyWriter(Storage(torch.device("cpu")))
    writer.append_padded(x)
    catalogue = HaloModel.ho2019().simulate([14.5], seed=1)  # not used by the training itself
    one, other = (
        TrainingSet(catalogue, (LOW, HIGH), writer.finish(theta), np.arange(60) // n, Storage(torch.device("cpu")))
        for n in (2, 3)
    )
    flow, looks = affine(KDEImage(bins=4)), []
    train_members(one, flow, RULE, members=1, checkpoint=tmp_path)
    train_members(one, flow, RULE, members=1, checkpoint=tmp_path, progress=looks.append)
    assert not looks
    with pytest.raises(ValueError, match="split: "):
        train_members(other, flow, RULE, members=1, checkpoint=tmp_path)


@pytest.mark.slow
def test_another_process_with_other_threads_continues(tmp_path):
    path = tmp_path / "state.safetensors"
    code = (
        "import torch; from tests.training.test_identity import *\n"
        f"print(updates('{path}', MDN(embedding=Moments(function=lambda v: v.abs()))),"
        f" updates('{path}2', closure(0.3)), updates('{path}3', sbis(5), rule=PLAIN))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]
    assert [each.split() for each in found] == [["2"] * 3, ["0"] * 3]
