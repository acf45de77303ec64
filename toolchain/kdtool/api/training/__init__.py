"""Training of a caller's networks: data set, batches, criteria and training loop."""
