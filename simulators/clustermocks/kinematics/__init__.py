"""Velocities of galaxies in clusters: locations, dispersions, removal of interlopers. Arrays only."""
