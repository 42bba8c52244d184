"""Other ways to a cluster's mass, to compare with."""

from sbi_clustermass.baselines.m_sigma import InverseMSigma, MSigma, evrard2008, velocity_dispersion

__all__ = ["InverseMSigma", "MSigma", "evrard2008", "velocity_dispersion"]
