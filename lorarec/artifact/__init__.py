"""The run folder, written and read; the Recommender that answers from it."""
