"""Everything done with a recipe or a finished run: train, check, load, evaluate, compare, calibrate, merge."""
