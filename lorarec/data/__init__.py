"""Interactions, catalogue, splits and histories: ids, time and leakage are settled here."""
