"""Haloes in equilibrium, their satellites and their surroundings."""
