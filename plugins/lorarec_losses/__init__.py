"""Losses, each found by its name and used by any head whose shapes fit."""
