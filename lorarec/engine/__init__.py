"""The loop, evaluation, checkpoints and stock callbacks. Handed built parts; knows no plugin."""
