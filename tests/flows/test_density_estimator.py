"""Our networks are sbi's to sbi, although they are built without it."""

import subprocess
import sys

BUILT_BEFORE_SBI = """
import sys
from sbi_clustermass.embeddings import TrialMasses
from sbi_clustermass.flows import Tabulated
from sbi_clustermass.flows.ensemble import Ensemble
from sbi_clustermass.posterior.prior import mass_prior

member = Tabulated(embedding=TrialMasses()).template()
networks = member, member.net, Ensemble([member], (13.0, 15.6))
assert not {"sbi", "nflows", "zuko"} & set(sys.modules)

from sbi.inference import NPE
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import nn

assert not isinstance(nn.Identity(), ConditionalDensityEstimator)
for network in networks:
    NPE(mass_prior(13.0, 15.6)).build_posterior(network)  # raises TypeError unless it is an estimator of sbi's
"""


def test_sbi_accepts_networks_that_were_built_before_it_was_imported():
    done = subprocess.run([sys.executable, "-c", BUILT_BEFORE_SBI], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
