"""A learner of scenes beside its baselines."""

TASKS = 600
"""Frozen test tasks."""
MOST_EXEMPLARS = 5
