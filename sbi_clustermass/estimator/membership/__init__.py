"""Probabilities that galaxies belong to a cluster: what a network sees, its training, and its average over masses."""
