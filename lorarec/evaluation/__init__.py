"""Evaluation: predictions for held-out examples, metrics and their intervals, and the protocol they follow."""
