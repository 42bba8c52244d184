"""Trained estimators: training, storage, warnings, and the models that others published."""
