"""Losses, each selected by its name and used by any head whose shape fits."""
