"""Evaluation: what a model predicts for held-out examples, its metrics and their intervals, under which rules."""
