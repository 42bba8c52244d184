"""Our flows under sbi's strings."""

import pytest
import torch
from sbi.inference import NPE
from sbi.neural_nets import likelihood_nn, posterior_nn
from sbi.neural_nets.factory import model_builders
from torch import nn

from sbi_clustermass import mass_prior, register
from sbi_clustermass.flows import FLOWS, EmbedOnce

pytestmark = pytest.mark.usefixtures("sbis_names_as_before")


def toy(n=60):
    torch.manual_seed(0)
    return 13.5 + 1.8 * torch.rand(n, 1), torch.rand(n, 5, 3).round()


def test_nothing_is_registered_by_importing():
    assert "stacked_affine" not in model_builders
    assert not any(name.startswith("clustermass_") for name in model_builders)


def test_it_can_be_called_again_and_leaves_sbis_own_alone():
    before = dict(model_builders)
    names = register()
    after = dict(model_builders)
    assert register() == names
    assert model_builders == after
    assert {name: model_builders[name] for name in before} == before
    assert set(names) == {name for name in FLOWS if name not in before} | {f"clustermass_{name}" for name in FLOWS}


@pytest.mark.parametrize("string", ["stacked_affine", "clustermass_maf"])
def test_a_string_trains_through_npe(string):
    register()
    inference = NPE(mass_prior(13.5, 15.3), density_estimator=string, show_progress_bars=False)
    trained = inference.append_simulations(*toy()).train(max_num_epochs=1, training_batch_size=20)
    assert isinstance(trained, EmbedOnce)


def test_what_would_be_ignored_is_an_error():
    register()
    with pytest.raises(ValueError, match=r"num_transforms is 3, which has no effect .* Pass an object"):
        posterior_nn("clustermass_maf", num_transforms=3)(*toy())
    with pytest.warns(UserWarning, match="Unknown kwargs"), pytest.raises(TypeError, match="blokcs"):
        posterior_nn("stacked_affine", blokcs=3)(*toy())


@pytest.mark.parametrize("option", ["z_score_theta", "z_score_x"])
@pytest.mark.parametrize("factory", [posterior_nn, likelihood_nn])
def test_a_standardisation_that_would_be_ignored_is_named_as_the_user_wrote_it(factory, option):
    """sbi's builders call theta x and x y, or the other way round for a likelihood."""
    register()
    with pytest.raises(ValueError, match=rf"{option} of [^)]*{factory.__name__}.* is 'none', which has no effect"):
        factory("stacked_affine", **{option: "none"})(*toy())


def test_fields_and_an_embedding_reach_the_flow():
    register()
    learned = nn.Sequential(nn.Flatten(), nn.Linear(15, 4))
    with pytest.warns(UserWarning, match="Unknown kwargs"):
        build = posterior_nn("stacked_affine", embedding_net=learned, hidden=(8,), blocks=2)
    flow = build(*toy())
    assert flow.net.condition_shape == (4,)
    assert flow.embed(toy()[1]).shape == (60, 4)
    assert not flow.summary_is_fixed or flow.summary(toy()[1]).shape == (60, 5, 3)
