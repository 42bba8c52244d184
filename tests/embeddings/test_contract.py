"""What every embedding of EMBEDDINGS promises: a new entry is tested by existing."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from sbi_clustermass.embeddings import EMBEDDINGS, embedding_config, embedding_from_config, stages
from sbi_clustermass.embeddings.galaxies import GROUP
from sbi_clustermass.embeddings.sky import takes_sky

# float32 holds 7 digits; sums over up to 300 galaxies in another order, through some ten layers
CLOSE = {"rtol": 1e-4, "atol": 2e-5}
VARIANTS = {f"{name}, sky": (name, {"sky": True}) for name in EMBEDDINGS if "sky" in EMBEDDINGS[name]().config()}
NAMES = (*EMBEDDINGS, *VARIANTS)


def close(name):
    """Tolerances; trial_masses gives log-likelihoods of hundreds, whose differences from their mean are rounded."""
    return CLOSE | {"atol": 1e-3} if name == "trial_masses" else CLOSE


HAS_RICHNESS = [(name, richness) for name in NAMES for richness in (False, True)]


def build(name, **fields):
    kind, own = VARIANTS.get(name, (name, {}))
    torch.manual_seed(0)
    return EMBEDDINGS[kind](**{**own, **fields}).eval()


def shown(name, x):
    """The columns that an embedding takes."""
    return x if takes_sky(build(name)) else x[..., :3]


EVEN = [name for name in NAMES if getattr(build(name), "even", False)]


def small(name):
    """Fields that make an image small: on fake tensors every operation takes milliseconds."""
    return {"bins": 8} if "bins" in build(name).config() else {}


def clusters(*sizes, seed=0, width=None):
    """Padded clusters of these sizes, with correlated distances and velocities, and positions on the sky."""
    rng, x = np.random.default_rng(seed), np.zeros((len(sizes), width or max(sizes), 5), np.float32)
    for row, n in zip(x, sizes, strict=True):
        a, b = rng.standard_normal((2, n))
        row[:n, 0], row[:n, 1], row[:n, 2] = np.abs(0.6 + 0.3 * a), 700 * b + 100 * a, 1
        row[:n, 3:] = row[:n, :1] * positions(n, seed)
    return torch.from_numpy(x)


def positions(n, seed):
    """Directions on the sky, more of them along one axis."""
    angle = np.random.default_rng(seed + 1).vonmises(0.5, 1.0, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def weights(module):
    """What is trained."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def odd_clusters():
    """Sets that a careless embedding divides by zero on."""
    x = clusters(0, 1, 2, 12, 12, 12, 12, width=12)
    x[3, :, :2] = x[3, 0, :2]
    x[4, :, 1] = 0
    x[5, :, [0, 3, 4]] = 0
    x[6, :, 1] *= 1e4
    return x


SOME = clusters(10, 300, 35, 1, 90, seed=3)
REVERSED = torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0])
registered = pytest.mark.parametrize("name", EMBEDDINGS)
embedded = pytest.mark.parametrize("name", NAMES)
with_and_without_richness = pytest.mark.parametrize(("name", "richness"), HAS_RICHNESS)


@registered
def test_every_embedding_is_rebuilt_from_its_description_in_json(name):
    embedding = build(name)
    config = json.loads(json.dumps(embedding_config(embedding)))
    again = embedding_from_config(config)
    assert config["name"] == name
    assert type(again) is type(embedding)
    assert embedding_config(again) == config
    again.load_state_dict(embedding.state_dict())
    x = shown(name, SOME)
    torch.testing.assert_close(again.eval()(x), embedding(x), rtol=0, atol=0)


@registered
def test_every_field_can_be_changed_and_an_unknown_one_is_refused_with_the_nearest_name(name):
    fields = build(name).config()
    for field, value in fields.items():
        other = (not value) if isinstance(value, bool) else 2 * value
        assert embedding_from_config({"name": name, field: other}).config() == {**fields, field: other}
        with pytest.raises(ValueError, match=f"{field} is None"):
            embedding_from_config({"name": name, field: None})
    with pytest.raises(ValueError, match="Did you mean 'richness'"):
        embedding_from_config({"name": name, "richnes": True})


@with_and_without_richness
def test_there_is_one_row_of_finite_float32_features_for_a_cluster_of_any_number_of_galaxies(name, richness):
    embedding = build(name, richness=richness)
    width = embedding(shown(name, SOME)).shape[1]
    for each in (SOME, odd_clusters(), torch.zeros(3, 0, 5), torch.zeros(3, 7, 5), SOME[:0]):
        x = shown(name, each)
        features = embedding(x)
        assert features.shape == (len(x), width)
        assert features.dtype == torch.float32
        assert features.isfinite().all()
        assert torch.equal(features, embedding(x))
    assert 0 <= getattr(embedding, "shared_scale", 0) <= features.shape[1]


@embedded
def test_a_tensor_that_is_not_a_set_of_galaxies_is_refused(name):
    for x in (torch.zeros(4, 3), torch.zeros(4, 10, 4)):
        with pytest.raises(ValueError, match=r"\(batch, galaxy, [35]\)"):
            build(name)(x)


@with_and_without_richness
@given(n=st.integers(0, 40), extra=st.integers(0, 30), seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_the_order_of_galaxies_and_their_padding_change_nothing(name, richness, n, extra, seed):
    embedding = build(name, richness=richness)
    x = shown(name, clusters(n, 12, seed=seed))
    wider = torch.cat([x, torch.zeros(2, extra, x.shape[2])], 1)
    order = np.random.default_rng(seed).permutation(wider.shape[1])
    torch.testing.assert_close(embedding(wider), embedding(x), **close(name))
    torch.testing.assert_close(embedding(wider[:, order]), embedding(x), **close(name))


@embedded
def test_what_stands_in_the_padding_is_ignored(name):
    dirty = SOME.clone()
    dirty[0, 10:, [0, 3]], dirty[0, 10:, [1, 4]] = torch.nan, 1e30
    torch.testing.assert_close(build(name)(shown(name, dirty)), build(name)(shown(name, SOME)), rtol=0, atol=0)


@embedded
def test_a_galaxy_that_is_not_a_number_makes_features_that_are_not_numbers(name):
    broken = SOME.clone()
    broken[0, 3, 1] = torch.nan
    features = build(name)(shown(name, broken))
    assert features[0].isnan().any()
    assert features[1:].isfinite().all()


@pytest.mark.parametrize("name", EVEN)
@given(n=st.integers(0, 40), seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_velocities_reversed_change_nothing_where_that_is_promised(name, n, seed):
    x, mirrored = (shown(name, clusters(n, 12, seed=seed) * sign) for sign in (1, REVERSED))
    torch.testing.assert_close(build(name)(mirrored), build(name)(x), **close(name))


@pytest.mark.parametrize("name", [name for name in NAMES if takes_sky(build(name))])
@given(n=st.integers(1, 40), angle=st.floats(0, 6.3), reflected=st.booleans(), seed=st.integers(0, 2**16))
@settings(max_examples=10)
def test_a_cluster_turned_or_reflected_on_the_sky_has_the_same_features(name, n, angle, reflected, seed):
    x = clusters(n, 12, seed=seed)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cosine, -sine], [sine, cosine]]) * torch.tensor([1.0, -1.0 if reflected else 1.0])
    turned = torch.cat([x[..., :3], (x[..., 3:].double() @ turn.T).float()], -1)
    torch.testing.assert_close(build(name)(turned), build(name)(x), **close(name))


@pytest.mark.parametrize("name", ["deep_sets", "attention"])
@pytest.mark.parametrize("mirror", [True, False])
def test_velocities_relative_to_each_other_count_and_reversed_together_only_without_mirror(name, mirror):
    embedding, x = build(name, mirror=mirror).double(), shown(name, clusters(10, 35, 2, seed=4)).double()
    some = torch.ones_like(x)
    some[:, ::2, 1] = -1
    # float64: with new weights the second network is nearly linear, and its even part hardly sees the odd features
    assert ((embedding(x * some) - embedding(x)).abs().amax(1) > 1e-7).all()
    assert torch.equal(embedding(x * REVERSED[: x.shape[2]]), embedding(x)) == mirror


@embedded
def test_the_features_of_a_cluster_do_not_depend_on_the_others_in_its_batch(name):
    embedding, x = build(name), shown(name, clusters(*range(1, 2 * GROUP), 300))
    torch.testing.assert_close(embedding(x)[[3, -1]], embedding(x[[3, -1]]), **close(name))


@embedded
def test_without_richness_repeating_every_galaxy_changes_nothing_and_with_it_something(name):
    x = shown(name, clusters(250, 400, 330, seed=5))
    twice = torch.cat([x, x], 1)
    # the sample covariance behind an image has N - 1: 1 / 500 of the kernel's area
    near = {"rtol": 5e-3, "atol": 1e-5} if name in ("kde", "learned_kde", "cnn") else close(name)
    without, with_it = build(name, richness=False), build(name, richness=True)
    torch.testing.assert_close(without(twice), without(x), **near)
    assert (with_it(twice) - with_it(x)).abs().amax() > 1e-3


@embedded
def test_the_two_stages_compose_to_the_embedding_share_nothing_and_the_first_has_no_weights(name):
    embedding = build(name, richness=True)
    (fixed, learned), x = stages(embedding), shown(name, SOME)
    torch.testing.assert_close(learned(fixed(x)), embedding(x), rtol=0, atol=0)
    assert not weights(fixed)
    assert len(weights(learned)) == len(weights(embedding))
    assert not set(fixed.modules()) & set(learned.modules())


@embedded
def test_copies_share_no_weights(name):
    embedding, x = build(name), shown(name, SOME)
    copy = deepcopy(embedding)
    before = embedding(x)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(0.1)
    torch.testing.assert_close(embedding(x), before, rtol=0, atol=0)
    assert not weights(copy) or not torch.equal(copy(x), before)


@with_and_without_richness
def test_gradients_are_finite_and_reach_every_weight_even_on_odd_clusters(name, richness):
    embedding = build(name, richness=richness).train()
    for each in (torch.cat([SOME, clusters(5, 7, width=300)]), odd_clusters(), torch.zeros(2, 0, 5)):
        x = shown(name, each)
        features = embedding(x)
        if not features.requires_grad:
            assert not weights(embedding)
            return
        embedding.zero_grad()
        features.square().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in weights(embedding))
        if x.shape[1] == 300:
            assert all(parameter.grad.abs().sum() > 0 for parameter in weights(embedding))


@embedded
def test_every_tensor_follows_the_device_in_both_directions(name):
    """On fake tensors, which complain of a tensor left behind (sbi-notes.md, section 6)."""
    module, mode = build(name, richness=True, **small(name)).train(), FakeTensorMode()
    fake = {n: mode.from_tensor(t.detach()) for n, t in (*module.named_parameters(), *module.named_buffers())}
    with mode:
        state = {
            n: t.to("meta").requires_grad_(t.is_floating_point() and n in dict(module.named_parameters()))
            for n, t in fake.items()
        }
        x = shown(name, torch.rand(2 * GROUP, 30, 5, device="meta"))
        features = torch.func.functional_call(module, state, (x,))
        assert features.device.type == "meta"
        assert features.shape[0] == 2 * GROUP
        if features.requires_grad:
            features.sum().backward()


@registered
def test_its_class_instead_of_an_object_is_refused_where_it_is_called(name):
    kind = EMBEDDINGS[name]
    for call in (lambda: kind(SOME), lambda: kind(SOME[:, 0], SOME), lambda: kind(width=SOME)):
        with pytest.raises(TypeError, match=rf"{kind.__name__} is a class(.|\n)*try:    {kind.__name__}\(\)"):
            call()


def test_an_embedding_without_stages_is_one_or_the_other():
    fixed, learned = stages(nn.Flatten())
    assert isinstance(fixed, nn.Flatten)
    assert isinstance(learned, nn.Identity)
    fixed, learned = stages(nn.Linear(3, 1))
    assert isinstance(fixed, nn.Identity)
    assert isinstance(learned, nn.Linear)
