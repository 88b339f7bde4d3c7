"""Recipes of language."""
