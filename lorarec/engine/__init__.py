"""The training loop, checkpoints and built-in callbacks. Takes built parts and knows no plugin."""
