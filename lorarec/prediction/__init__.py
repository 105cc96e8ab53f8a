"""Prediction: what predictors share: ranking, diversity, an index of item vectors, baselines."""
