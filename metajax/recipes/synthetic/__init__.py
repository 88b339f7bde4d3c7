"""Recipes on invented tasks, which need no data."""
