"""Recipes on pictures."""
