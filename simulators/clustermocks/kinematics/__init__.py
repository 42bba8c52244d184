"""Velocity dispersions, locations and membership of galaxies in clusters."""
