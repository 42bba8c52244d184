"""Spherical clusters in Jeans equilibrium, with their exact likelihood."""
