"""Losses and metrics: predictions and targets to numbers."""
