"""The run folder: its layout, writing, reading, and the model card."""
