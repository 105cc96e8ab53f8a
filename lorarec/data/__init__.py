"""Interactions, catalog, splits and histories: ids, time and leakage are decided here."""
