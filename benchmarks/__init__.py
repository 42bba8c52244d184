"""Speeds and accuracies in comparison with a peer or with published numbers, each a script."""
