"""Recipes of recommendation."""
