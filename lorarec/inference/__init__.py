"""What answers from a finished run: a Recommender, its requests, and both from file to file."""
