"""Training steps: what one optimizer step does with its micro-batches."""
