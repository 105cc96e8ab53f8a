"""Strict settings, the recipe, its file and its overrides."""
