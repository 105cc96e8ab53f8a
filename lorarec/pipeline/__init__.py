"""Recipe to parts to a trained run, and back from a run folder."""
