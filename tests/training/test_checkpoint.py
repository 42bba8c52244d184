"""Checkpoints: an interrupted training ends in the same weights, bit for bit."""

import numpy as np
import pytest
import torch
from torch import nn

from sbi_clustermass import ClusterNPE, StackedAffine, Training, mass_prior
from sbi_clustermass.training import Augmentation, Checkpoint, DenseDataset, Split, TrainingData, ValidationStep, fit

SUPPORT = (13.0, 15.0)


class Stop(Exception):
    """Somebody pulls the plug."""


class Spread(nn.Module):
    """Log of the number of galaxies and of the scatter of their velocities; with or without something to learn."""

    def __init__(self, learned: bool):
        super().__init__()
        if learned:
            self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        n = x[..., 2].sum(1).clamp(min=1)
        spread = (x[..., 1].square().sum(1) / n).sqrt()
        return torch.stack([n.log(), spread], -1) * getattr(self, "scale", 1.0)


def clusters(seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    theta = rng.uniform(*SUPPORT, (300, 1))
    x = np.ones((300, 20, 3))
    x[..., 0] = rng.random((300, 20))
    x[..., 1] = (theta - 14) * rng.standard_normal((300, 20))
    return torch.tensor(theta, dtype=torch.float32), torch.tensor(x, dtype=torch.float32)


def training(augmentation: Augmentation | None = None) -> Training:
    """Stops improving, and cools down, well before the end."""
    return Training(
        learning_rate=0.02, batch_size=50, patience=30, validate_every=10, max_updates=150, augmentation=augmentation
    )


def run(rule: Training, checkpoint: Checkpoint | None = None, stop_at: int | None = None, *, learned: bool = False):
    """Weights, history and reports."""
    theta, x = clusters()
    torch.manual_seed(0)
    network = StackedAffine(blocks=1, hidden=(8,), embedding=Spread(learned))(theta, x)
    data, looks = TrainingData(DenseDataset(theta, x), Split(torch.arange(250), torch.arange(250, 300))), []

    def progress(look: ValidationStep) -> None:
        looks.append(look)
        if look.update == stop_at:
            raise Stop

    history = fit(network, data, support=SUPPORT, training=rule, progress=progress, checkpoint=checkpoint)
    return network.state_dict(), history, looks


AUGMENTATION = Augmentation(completeness=(0.5, 1.0), velocity_error=(0.0, 0.2), min_galaxies=12)


@pytest.mark.parametrize(("augmentation", "learned"), [(None, False), (AUGMENTATION, True)])
def test_an_interrupted_training_ends_in_the_same_weights_bit_for_bit(tmp_path, augmentation, learned):
    rule = training(augmentation)
    weights, history, looks = run(rule, learned=learned)
    cooling = next(number for number, look in enumerate(looks) if look.end is not None)
    assert 0 < cooling < len(looks) - 2  # otherwise there is nothing to interrupt
    for number, chosen in enumerate([(0, cooling, -2), (cooling + 1,), (-1,)]):
        stops = [looks[look].update for look in chosen]
        checkpoint = Checkpoint(tmp_path / f"{number}.safetensors", {"of": "this"}, every=0.0)
        for stop in stops:
            with pytest.raises(Stop):
                run(rule, checkpoint, stop, learned=learned)
        again, resumed, reports = run(rule, checkpoint, learned=learned)
        assert resumed == history
        assert [look.update for look in reports] == [u for u in history.updates if u > stops[-1]]
        assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_an_interruption_between_two_writes_costs_only_the_work_since_the_last(tmp_path):
    checkpoint = Checkpoint(tmp_path / "state.safetensors", {}, every=1e9)
    with pytest.raises(Stop):
        run(training(), checkpoint, 20)
    assert not list(tmp_path.iterdir())
    weights = run(training(), checkpoint)[0]
    assert [path.name for path in tmp_path.iterdir()] == ["state.safetensors"]  # the end is always written
    again, _, reports = run(training(), checkpoint)
    assert reports == []
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_refused_with_the_cure(tmp_path):
    path = tmp_path / "state.safetensors"
    run(training(), Checkpoint(path, {"data": "a", "flow": "b"}))
    with pytest.raises(ValueError, match=r"data: a there, c asked for\n  try:    the same data"):
        run(training(), Checkpoint(path, {"data": "c", "flow": "b"}))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="delete it, to train from the beginning"):
        run(training(), Checkpoint(path, {"data": "a", "flow": "b"}))


def test_cluster_npe_goes_on_from_a_file_and_refuses_other_simulations(tmp_path):
    path, flow = tmp_path / "state.safetensors", StackedAffine(blocks=1, hidden=(8,), embedding=Spread(False))
    inference = ClusterNPE(mass_prior(*SUPPORT), flow, device="cpu").append_simulations(*clusters())
    weights = inference.train(training(), checkpoint=path).state_dict()
    reports = []
    again = inference.train(training(), checkpoint=path, progress=reports.append).state_dict()
    assert reports == []
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    other = ClusterNPE(mass_prior(*SUPPORT), flow, device="cpu").append_simulations(*clusters(seed=2))
    with pytest.raises(ValueError, match="checkpoint of another training"):
        other.train(training(), checkpoint=path)


def test_a_training_that_diverges_leaves_no_checkpoint_to_diverge_from(tmp_path):
    path = tmp_path / "state.safetensors"
    rule = Training(learning_rate=1e30, batch_size=50, validate_every=10, clip_norm=1e30)
    with pytest.raises(FloatingPointError, match="lower learning rate"):
        run(rule, Checkpoint(path, {}, every=0.0))
    assert not path.exists()


def test_a_look_knows_the_time_left_once_the_end_is_known():
    _, _, looks = run(training())
    assert looks[0].seconds_left is None
    assert looks[-1].seconds_left == 0
    assert "updates/s" in str(looks[-1])
    assert looks[-1].updates_per_second > 0
