"""Trained estimators: training, storage, warnings, and published models."""
