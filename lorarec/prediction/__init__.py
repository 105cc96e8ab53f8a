"""Prediction: what families of answers are made of: ranking, diversity, an index of items, baselines."""
