"""Inference with a finished run: the Recommender, its requests, and request and answer files."""
